"""Checks this project on a CUDA card against the CPU, then compares its speed and memory with sentence-transformers.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/cuda.py
    python benchmarks/cuda.py --small          # the same program on the CPU, with small sizes: whether it works, not figures

First whether it is right: vectors, gradients and ten steps beside the CPU's; a run that is killed and resumed beside one that
is not. Then pairs a second of training and sentences a second of `encode`, memory, and the share of the card's peak, for
the shapes of all-MiniLM-L6-v2 and bert-base with random weights. Both sides train in one process, in turn, each by its own
program: ours the training script, theirs SentenceTransformerTrainer with CosineSimilarityLoss, in the same precision. Its
unpadded attention needs the package kernels or flash_attn, and is compared where one is installed.
Needs the STS benchmark (data/README.md) and the vocabulary of all-MiniLM-L6-v2. At most eight minutes on an H100. Writes
benchmarks/results/cuda.json.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import io
import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import against_sentence_transformers as rival
from against_sentence_transformers import ROOT, STSB, StepClock, train_ours, train_theirs

PRECISIONS = ("float32", "tf32", "bfloat16")
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
MINILM = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6, "num_attention_heads": 12}


def write_shapes(folder: Path, *, small: bool) -> dict[str, tuple[Path, float]]:
    """The encoders, by name: the folder and the number of parameters in the layers."""
    shapes = {"small": SMALL} if small else {"MiniLM-L6": MINILM, "bert-base": {}}
    written = {}
    for name, changes in shapes.items():
        hidden, inner = changes.get("hidden_size", 768), changes.get("intermediate_size", 3072)
        parameters = changes.get("num_hidden_layers", 12) * (4 * hidden**2 + 2 * hidden * inner)
        rival.SHAPES[name] = ("BertModel", changes, parameters)
        written[name] = rival.write_shape(name, folder / name), float(parameters)
    return written


# ------------------------------------------------------------------------------------------------------- whether it is right


def check_vectors_and_gradients(encoder: Path, device: Any) -> None:
    """Print the largest differences between the card and the CPU, with dropout 0."""
    import numpy as np
    import torch

    from connection.training.losses.cosine import cosine_loss
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import TokenisedPair, pack_pairs

    random = np.random.default_rng(0)
    sides = [[random.integers(1000, 20_000, size=n).astype(np.int32) for n in random.integers(3, 60, size=32)] for _ in "12"]
    batch = pack_pairs([TokenisedPair(*pair, score, 0) for *pair, score in zip(*sides, random.random(32), strict=True)])
    results = []
    for name in ("cpu", str(device)):
        model = without_dropout(ConnectionBert.load(encoder, quiet=True)).to(name).train()
        vectors = model.encode_tokens([*sides[0], *sides[1]])
        loss = cosine_loss(model(batch.to(torch.device(name))).chunk(2), batch.scores.to(name))
        loss.backward()
        named = {key: x.grad.cpu() for key, x in model.named_parameters() if x.grad is not None}
        results.append((vectors, named))
    (vectors, gradients), (other_vectors, other_gradients) = results
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    print(f"vectors: largest difference of unit vectors {np.abs((vectors - other_vectors) / lengths).max():.1e}")
    relative = {key: float((x - other_gradients[key]).norm() / (x.norm() + 1e-8)) for key, x in gradients.items()}
    worst = max(relative, key=lambda key: 0 if key.endswith("key.bias") else relative[key])
    print(f"gradients of {len(relative)} weights: largest relative difference {relative[worst]:.1e} ({worst})")


def without_dropout(encoder: Any) -> Any:
    encoder.bert.config.hidden_dropout_prob = encoder.bert.config.attention_probs_dropout_prob = 0.0
    return encoder


def check_steps(encoder: Path, device: str, folder: Path) -> None:
    """Print how far ten losses of the training script on the card are from those on the CPU, without dropout."""
    plain = folder / "still"
    plain.mkdir()
    for file in encoder.iterdir():
        (plain / file.name).write_bytes(file.read_bytes())
    config = json.loads((plain / "config.json").read_text(encoding="utf-8"))
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (plain / "config.json").write_text(json.dumps(config), encoding="utf-8")
    losses = []
    for name in ("cpu", device):
        output = folder / f"steps-{name.partition(':')[0]}"
        run_script(plain, output, rows=160, flags={"device": name, "epochs": 1, "batch-size": 16}, check=True)
        records = map(json.loads, (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        losses.append([record["loss"] for record in records if "split" not in record])
    differences = [abs(a - b) for a, b in zip(*losses, strict=True)]
    print(
        f"{len(differences)} steps: losses {losses[0][0]:.4f} to {losses[0][-1]:.4f}, largest difference {max(differences):.1e}"
    )


def check_resume(encoder: Path, device: str, folder: Path) -> None:
    """Kill a run in its second epoch and start it again; print whether it ends with the bytes of a run that was not killed."""
    flags = {"device": device, "epochs": 3, "batch-size": 16, "checkpoints-per-epoch": 4}
    run_script(encoder, folder / "whole", rows=960, flags=flags, check=True)
    process = run_script(encoder, folder / "killed", rows=960, flags=flags)
    metrics = folder / "killed" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_bytes().count(b"\n") > 90):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    killed = process.wait()
    run_script(encoder, folder / "killed", rows=960, flags=flags, check=True)
    digests = [
        hashlib.sha256((folder / name / "best" / "model.safetensors").read_bytes()).hexdigest() for name in ("whole", "killed")
    ]
    same = "the same bytes" if digests[0] == digests[1] else "OTHER BYTES"
    print(f"resume: a run ended with status {killed} and resumed has {same} as one that was not")


def run_script(encoder: Path, output: Path, *, rows: int, flags: dict[str, Any], check: bool = False) -> Any:
    """Start the training script on the first rows of the STS benchmark; wait for it if `check`."""
    lines = (STSB / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    train, dev = output.parent / f"train-{rows}.csv", output.parent / "dev.csv"
    train.write_text("".join(lines[: rows + 1]), encoding="utf-8")
    dev.write_text("".join([lines[0], *lines[3000:3200]]), encoding="utf-8")
    options = {"encoder": encoder, "train-file": train, "dev-file": dev, "test-file": "", "output": output} | flags
    command = [sys.executable, str(ROOT / "bertFineTuningWithConnectionData.py")]
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    if check:
        told = process.communicate()[0]
        if process.returncode:
            sys.exit(told)
    return process


# ------------------------------------------------------------------------------------------------------------- speed, memory


def measure(train: Any, encoder: Path, batch_size: int, steps: int, device: str, precision: str) -> dict[str, float]:
    """Pairs a second and peak memory of one training in this process."""
    import torch

    cuda = torch.device(device).type == "cuda"
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    clock = StepClock(2 * steps, batch_size, torch.cuda.synchronize if cuda else None, uncounted=steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(encoder, clock, Path(folder), device=device, precision=precision)
    torch.set_float32_matmul_precision("highest")
    memory = torch.cuda.max_memory_allocated() if cuda else 0
    return {"pairs_per_second": clock.pairs_per_second(), "memory": memory}


def peaks(device: str) -> dict[str, float]:
    """TFLOP/s of a large matrix product in each precision."""
    import torch

    size, found = (8192, {}) if device != "cpu" else (512, {})
    for precision in PRECISIONS:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        x = torch.randn(size, size, device=device, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32)
        times = []
        for _ in range(8):
            began = time.perf_counter()
            y = x @ x
            float(y[0, 0])  # waits for the card
            times.append(time.perf_counter() - began)
        found[precision] = 2e-12 * size**3 / statistics.median(times[2:])
    torch.set_float32_matmul_precision("highest")
    return found


def compare_training(shapes: dict, device: str, options: argparse.Namespace) -> list[dict]:
    highest = peaks(device)
    print("peaks: " + ", ".join(f"{name} {value:.3g} TFLOP/s" for name, value in highest.items()))
    print(
        "| training | precision | ours, pairs a second | theirs | ours / theirs | GB, ours, theirs | share of peak, ours |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    found = []
    for name, (encoder, parameters) in shapes.items():
        length = rival.tokens_a_pair(encoder)
        for batch_size in options.batches:
            steps = options.steps or max(14, 1600 // (batch_size + 4))  # as many again are not counted
            for precision in options.precisions:
                sides = []
                for train in (train_ours, train_theirs):
                    rounds = [measure(train, encoder, batch_size, steps, device, precision) for _ in range(options.rounds)]
                    sides.append({key: statistics.median(x[key] for x in rounds) for key in rounds[0]})
                ours, theirs = sides
                share = 6e-12 * parameters * length * ours["pairs_per_second"] / highest[precision]
                row = {"encoder": name, "batch": batch_size, "precision": precision, "ours": ours, "theirs": theirs}
                found.append(row | {"share": share})
                ratio = ours["pairs_per_second"] / theirs["pairs_per_second"]
                print(
                    f"| {name}, batch {batch_size} | {precision} | {ours['pairs_per_second']:,.0f} | "
                    f"{theirs['pairs_per_second']:,.0f} | **{ratio:.2f}** | "
                    f"{ours['memory'] / 1e9:.2f}, {theirs['memory'] / 1e9:.2f} | {share:.3f} |",
                    flush=True,
                )
    return found


def compare_encode(shapes: dict, device: str, times: int) -> list[dict]:
    """Sentences a second of `encode`, float32, on the STS benchmark's distinct sentences of train."""
    import pandas as pd
    import torch
    from sentence_transformers import SentenceTransformer

    from ConnectionBert import ConnectionBert

    table = pd.read_csv(STSB / "train.csv", keep_default_na=False)
    sentences = list(dict.fromkeys([*table["sentence1"], *table["sentence2"]]))[: 300 if device == "cpu" else None]
    found = []
    for name, (encoder, _) in shapes.items():
        ours = ConnectionBert.load(encoder, quiet=True).to(torch.device(device))
        theirs = SentenceTransformer(str(encoder), device=device, local_files_only=True)
        ours_seconds, theirs_seconds = [], []
        for _ in range(times + 1):
            for seconds, encode in (
                (ours_seconds, lambda ours=ours: ours.encode(sentences)),
                (theirs_seconds, lambda theirs=theirs: theirs.encode(sentences, batch_size=256, show_progress_bar=False)),
            ):
                began = time.perf_counter()
                encode()
                seconds.append(time.perf_counter() - began)
        rates = [len(sentences) / statistics.median(seconds[1:]) for seconds in (ours_seconds, theirs_seconds)]
        print(
            f"encode {name}: {rates[0]:,.0f} sentences a second, theirs {rates[1]:,.0f} at its batch 256: "
            f"**{rates[0] / rates[1]:.2f}**"
        )
        found.append({"encoder": name, "encode": rates})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="on the CPU, with small sizes")
    parser.add_argument("--only", nargs="+", choices=("right", "training", "encode"), default=["right", "training", "encode"])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 512])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--steps", type=int, help="counted steps")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.small:
        options.batches, options.precisions, options.steps = [16], ["float32", "bfloat16"], 6
    import torch

    if not options.small and not torch.cuda.is_available():
        sys.exit("Skipped: there is no CUDA card. --small runs the same program on the CPU.")
    if not (STSB / "train.csv").is_file() or not (rival.MINILM / "vocab.txt").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    device = "cpu" if options.small else "cuda:0"
    card = "CPU" if options.small else torch.cuda.get_device_name(0)
    print(f"{card}, torch {torch.__version__}, Python {sys.version.split()[0]}")
    results: list[dict] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shapes = write_shapes(folder, small=options.small)
        first = next(iter(shapes.values()))[0]
        if "right" in options.only:
            check_vectors_and_gradients(first, torch.device(device))
            check_steps(first, device, folder)
            check_resume(first, device, folder)
        if "encode" in options.only:
            results += compare_encode(shapes, device, 2)
        if "training" in options.only:
            results += compare_training(shapes, device, options)
    path = ROOT / "benchmarks" / "results" / "cuda.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"card": card, "rows": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
