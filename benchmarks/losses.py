"""Compares the training speed of each loss with sentence-transformers' of the same name, at several batch sizes.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/losses.py
    python benchmarks/losses.py --losses in_batch triplet --batch-sizes 64 --alternations 5
    python benchmarks/losses.py --alone

The data are the STS benchmark's 5,749 training pairs in the shape that the loss takes: with their scores; with yes/no labels (a
score of at least 3); with one of three classes by score; as pairs that belong together, for triplet with the next row's
sentence2 as a negative. Each training runs in a process of its own, ours and theirs in turn; all-MiniLM-L6-v2.
Theirs runs in float32 with and without torch.set_float32_matmul_precision("medium"), and the faster counts.
--alone: the losses without an encoder, in this process: milliseconds of a value and its gradient for drawn embeddings of 384
numbers; for in_batch and triplet with ours the choice of the candidates too. Under a minute.
Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2 (downloadBert.py). Writes benchmarks/results/. About 45 minutes on
two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from against_sentence_transformers import (
    MINILM,
    ROOT,
    STSB,
    THEIR_SETTINGS,
    StepClock,
    peak_of_this_process,
    train_ours,
    train_theirs,
)

# The loss of this project → the class of sentence-transformers, and the column that it needs beside the sentences.
LOSSES = {
    "cosine": ("CosineSimilarityLoss", "score"),
    "cosent": ("CoSENTLoss", "score"),
    "angle": ("AnglELoss", "score"),
    "contrastive": ("ContrastiveLoss", "yes"),
    "online_contrastive": ("OnlineContrastiveLoss", "yes"),
    "in_batch": ("MultipleNegativesRankingLoss", ""),
    "triplet": ("TripletLoss", "negative"),
    "softmax": ("SoftmaxLoss", "class"),
}
COUNTED_PAIRS = 400  # at least, and at least three steps
FEW = 40  # pairs of dev, whose evaluations are not counted


def write_table(column: str, folder: Path) -> tuple[dict[str, list], dict[str, object]]:
    """Write train.csv and dev.csv. Returns the columns for theirs and the flags for ours."""
    import pandas as pd

    table = pd.read_csv(STSB / "train.csv", keep_default_na=False)
    data = table[["sentence1", "sentence2"]].copy()
    flags: dict[str, object] = {"score_column": ""}
    if column == "score":
        data["score"] = table["score"] / 5
        flags = {"score_range": (0, 1)}
    elif column == "yes":
        data["label"] = (table["score"] >= 3).astype(int)
        flags = {"score_column": "label", "score_range": (0, 1)}
    elif column == "class":
        data["label"] = (table["score"] // 2).astype(int)  # 0, 1 or 2
        flags = {"label_column": "label"}
    elif column == "negative":
        data["negative"] = [*table["sentence2"][1:], table["sentence2"][0]]
        flags |= {"negative_columns": "negative"}
    data.to_csv(folder / "train.csv", index=False)
    data.head(FEW).to_csv(folder / "dev.csv", index=False)
    columns = {name: data[name].tolist() for name in data}
    return columns, flags | {"train_file": folder / "train.csv", "dev_file": folder / "dev.csv"}


def work(system: str, loss: str, batch_size: int) -> dict[str, float]:
    """Measure one training in this process: pairs a second and peak memory."""
    from sentence_transformers.sentence_transformer import losses

    name, column = LOSSES[loss]

    def make_loss(model: Any) -> Any:
        more = {"sentence_embedding_dimension": 384, "num_labels": 3} if loss == "softmax" else {}
        return getattr(losses, name)(model, **more)

    uncounted = 4 if batch_size <= 32 else 2
    clock = StepClock(uncounted + max(3, -(-COUNTED_PAIRS // batch_size)), batch_size, uncounted=uncounted)
    with tempfile.TemporaryDirectory() as path, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(path)
        columns, flags = write_table(column, folder)
        if system == "ours":
            train_ours(MINILM, clock, folder, loss=loss, **flags)
        else:
            train_theirs(MINILM, clock, folder, precision=system, columns=columns, make_loss=make_loss)
    return {"pairs_per_second": clock.pairs_per_second(), "peak_memory_bytes": peak_of_this_process()}


def in_a_process(system: str, loss: str, batch_size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", system, loss, str(batch_size)]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


def compare(loss: str, batch_size: int, times: int) -> dict[str, Any]:
    """The medians of both sides, of the ratios ours / theirs, and of the peak memory's."""
    settings = ("ours", *THEIR_SETTINGS["float32"])
    found = [{system: in_a_process(system, loss, batch_size) for system in settings} for _ in range(times)]
    best = max(settings[1:], key=lambda system: statistics.median(one[system]["pairs_per_second"] for one in found))
    rounds = [[one["ours"], one[best]] for one in found]
    ours, theirs = (statistics.median(pair[side]["pairs_per_second"] for pair in rounds) for side in (0, 1))
    speeds, memories = ([pair[0][key] / pair[1][key] for pair in rounds] for key in ("pairs_per_second", "peak_memory_bytes"))
    result = {
        "loss": loss,
        "batch_size": batch_size,
        "ours": ours,
        "theirs": theirs,
        "best": best,
        "ratios": speeds,
        "memory": memories,
    }
    spread = f"**{statistics.median(speeds):.2f}** ({min(speeds):.2f} to {max(speeds):.2f})"
    print(
        f"| {loss} | {batch_size} | {ours:.3g} | {theirs:.3g} ({best}) | {spread} | {statistics.median(memories):.2f} |",
        flush=True,
    )
    return result


def alone(loss: str, batch_size: int, times: int = 40) -> tuple[float, float]:
    """The medians of milliseconds, ours and theirs."""
    import numpy as np
    import torch
    from sentence_transformers.sentence_transformer import losses

    from connection.training.candidates import KnownPairs, Parts, candidates_of, gather
    from connection.training.losses import LOSSES as OURS
    from connection.training.objective import Objective

    sides = [torch.randn(batch_size, 384, requires_grad=True) for _ in range(3)]
    number = np.arange(3 * batch_size).reshape(3, -1)
    known = KnownPairs(number[:2].T, 3 * batch_size)
    labels = torch.arange(batch_size) % (3 if loss == "softmax" else 2)
    targets = torch.rand(batch_size) if LOSSES[loss][1] == "score" else labels.float()
    objective, negatives = (
        Objective(loss, 384, classes=3),
        number[2:].T if loss == "triplet" else np.empty((batch_size, 0), int),
    )

    def ours() -> None:
        together = None
        if OURS[loss].chooses:
            together = gather(torch.cat(sides), candidates_of(number[0], number[1], negatives, known))
        torch.autograd.grad(objective(Parts((sides[0], sides[1]), targets, together)), sides[:2])

    class Model(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, features: Any) -> Any:
            return features

    more = {"sentence_embedding_dimension": 384, "num_labels": 3} if loss == "softmax" else {}
    module = getattr(losses, LOSSES[loss][0])(Model(), **more)

    def theirs() -> None:
        columns = [{"sentence_embedding": side} for side in (sides if loss == "triplet" else sides[:2])]
        given = labels if LOSSES[loss][1] in ("yes", "class") else targets
        torch.autograd.grad(module(columns, given), sides[:2])

    def milliseconds(step: Any) -> float:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            step()
            taken.append(1e3 * (time.perf_counter() - began))
        return statistics.median(taken[times // 4 :])

    return milliseconds(ours), milliseconds(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[16, 64, 256])
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        system, loss, batch_size = options.work
        print(json.dumps(work(system, loss, int(batch_size))))
        return
    if options.alone:
        print("| loss | batch | ours, ms | theirs, ms |\n| --- | --- | --- | --- |")
        for batch_size in options.batch_sizes:
            for loss in options.losses:
                print("| {} | {} | {:.2f} | {:.2f} |".format(loss, batch_size, *alone(loss, batch_size)), flush=True)
        return
    if not (STSB / "train.csv").is_file() or not (MINILM / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    print("| loss | batch | ours, pairs a second | theirs | ours / theirs (lowest to highest) | memory, ours / theirs |")
    print("| --- | --- | --- | --- | --- | --- |")
    results = []
    path = ROOT / "benchmarks" / "results" / "losses.json"
    path.parent.mkdir(exist_ok=True)
    for batch_size in options.batch_sizes:
        for loss in options.losses:
            results.append(compare(loss, batch_size, options.alternations))
            path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
