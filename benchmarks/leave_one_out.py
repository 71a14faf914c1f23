"""Measures how much longer a training step takes without each optimisation, with the others in use.

    python benchmarks/leave_one_out.py --batch-size 16 --steps 40

Every variant runs a step on every batch, in turn, in one process; the ratio is the median over the batches.
Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2 (downloadBert.py). Prints a table and writes no file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pandas as pd
import torch

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import PackedPairs

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
UNCOUNTED = 4


def variants() -> dict[str, list[tuple]]:
    """Optimisation → the changes that switch it off, each an object, the name of an attribute, and its other value."""
    import connection.encoder.packed.attention_plan
    import connection.encoder.packed.forward
    import connection.encoder.packed.products
    from ConnectionBert import ConnectionBert

    return {
        "nothing": [],
        "oneDNN's products": [(connection.encoder.packed.products, "has_onednn", lambda: False)],
        "the layer by hand": [(ConnectionBert, "by_hand", False)],
        "rows that occur": [],  # uses a second encoder, whose whole table is trained
        "masks from 16 bits": [(connection.encoder.packed.forward, "draw_masks", bernoulli)],
        "near lengths together": [(connection.encoder.packed.attention_plan, "GROUP_COST", 0)],
        "far lengths apart": [(connection.encoder.packed.attention_plan, "GROUP_COST", 10**9)],
        "rows filled up": [(connection.encoder.packed.forward, "row_count", lambda tokens: tokens)],
    }


def bernoulli(shapes: list[tuple[int, ...]], probability: float) -> list[torch.Tensor]:
    return [torch.empty(*shape).bernoulli_(1 - probability).div_(1 - probability) for shape in shapes]


def step_seconds(encoder: ConnectionBert, optimizer: torch.optim.Optimizer, batch: PackedPairs) -> float:
    from connection.training.losses.cosine import cosine_loss
    from connection.training.optimizer import clip_gradients

    torch.manual_seed(0)
    began = time.perf_counter()
    cosine_loss(encoder(batch).chunk(2), batch.scores).backward()
    clip_gradients(encoder.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - began


def main() -> None:
    from connection.training.optimizer import make_optimizer
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset, epoch_loader

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    if not (STSB / "train.csv").is_file() or not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    table = pd.read_csv(STSB / "train.csv", keep_default_na=False)
    encoders = [ConnectionBert.load(ENCODER, max_tokens=128, quiet=True).train() for _ in range(2)]
    dataset = ConnectionDataset(
        table["sentence1"].tolist(), table["sentence2"].tolist(), (table["score"] / 5).to_numpy(), encoders[0].tokenize
    )
    encoders[0].train_rows_of(dataset.ids)
    optimizers = [make_optimizer(encoder, 0.0) for encoder in encoders]
    tried = variants()
    seconds: dict[str, list[float]] = {name: [] for name in tried}
    batches = epoch_loader(dataset, options.batch_size, 42, 1)
    for number, batch in enumerate(itertools.islice(batches, options.steps)):
        for name, changes in tried.items():
            whole_table = name == "rows that occur"
            patches = [mock.patch.object(*change) for change in changes]
            for patch in patches:
                patch.start()
            took = step_seconds(encoders[whole_table], optimizers[whole_table], batch)
            for patch in patches:
                patch.stop()
            if number >= UNCOUNTED:
                seconds[name].append(took)
    print("| without | milliseconds a step | times as long |\n| --- | --- | --- |")
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds["nothing"], strict=True))
        print(f"| {name} | {1000 * statistics.median(times):.1f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
