"""Compares speed and memory with sentence-transformers on the same work, machine, model and recipe.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/against_sentence_transformers.py
    python benchmarks/against_sentence_transformers.py --only training encode --alternations 3

Each row alternates between the two (ours, theirs, ours, theirs …) and gives the medians and the median of the ratios.
Each training runs in its own process: ours is the training script itself, theirs SentenceTransformerTrainer with
CosineSimilarityLoss; the first steps are not counted. bert-base, klue/roberta-base and multilingual-e5-small have their shapes
but random weights, and the tokens of all-MiniLM-L6-v2.
Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2 (downloadBert.py). Writes benchmarks/results/. About 20 minutes
on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

MINILM = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
UNCOUNTED_STEPS = 4
ROWS = ("start", "training", "bert-base", "roberta-base", "e5-small", "encode", "evaluation")


# --------------------------------------------------------------------------------------- training, in a process of its own


class Enough(Exception):
    """Raised after the last step to be measured."""


class StepClock:
    """The times at which steps began and ended. Raises Enough after `steps` steps, of which the `uncounted` first do not count.

    wait: waits for the device; called at the first and at the last time that is counted.
    """

    def __init__(self, steps: int, batch_size: int, wait: Callable[[], None] | None = None, uncounted: int = UNCOUNTED_STEPS):
        self.steps, self.batch_size, self.wait, self.uncounted = steps, batch_size, wait, uncounted
        self.other = 0.0  # seconds of what is no step, such as evaluations, after the first time that counts
        self.ready: float | None = None  # when data and model were loaded
        self.begin: float | None = None  # when the first step began
        self.ends: list[float] = []

    def end(self) -> None:
        if self.wait and len(self.ends) + 1 in (self.uncounted, self.steps):
            self.wait()
        self.ends.append(time.perf_counter())
        if len(self.ends) == self.steps:
            raise Enough

    def pairs_per_second(self) -> float:
        counted = self.ends[self.uncounted - 1 :]
        return self.batch_size * (len(counted) - 1) / (counted[-1] - counted[0] - self.other)


def epochs_for(clock: StepClock) -> int:
    """Enough epochs of the STS benchmark's 5,749 pairs for all steps."""
    return -(-clock.steps // (5749 // clock.batch_size))


def flag(name: str, value: object) -> list[str]:
    """A flag's words on the command line."""
    return [f"--{name}", *map(str, value)] if isinstance(value, tuple) else [f"--{name}={value}"]


def train_ours(
    encoder: Path, clock: StepClock, folder: Path, device: str = "cpu", precision: str = "float32", **data: object
) -> None:
    """Run the training script; stop it when it logs the last step to be measured.

    data: flags of other data than the STS benchmark's scored pairs, and of the loss, each with _ for -; a tuple is words.
    """
    import bertFineTuningWithConnectionData as script
    import connection.run.folder
    from connection.training import checks, evaluation, record, resume

    log, refuse_broken_encoder, backward = connection.run.folder.Run.log, checks.refuse_broken_encoder, script.backward

    def log_and_stop(run: object, line: dict) -> None:
        log(run, line)
        if "split" not in line:
            clock.end()

    def untimed(function: Callable) -> Callable:
        """The function, whose time is not that of a step."""

        def call(*arguments: object, **named: object) -> object:
            began = time.perf_counter()
            result = function(*arguments, **named)
            clock.other += (time.perf_counter() - began) * (len(clock.ends) >= clock.uncounted)
            return result

        return call

    def note_begin(*arguments: object, **named: object) -> object:
        clock.begin = clock.begin or time.time()
        return backward(*arguments, **named)

    def note_ready(*arguments: object) -> None:
        clock.ready = time.time()
        refuse_broken_encoder(*arguments)

    lines = (STSB / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "few.csv").write_text("".join(lines[:6]), encoding="utf-8")
    flags = {"encoder": encoder, "train-file": STSB / "train.csv", "dev-file": folder / "few.csv", "test-file": ""}
    flags |= {"output": folder / "run", "epochs": epochs_for(clock), "batch-size": clock.batch_size}
    flags |= {"device": device, "precision": precision} | {name.replace("_", "-"): value for name, value in data.items()}
    with (
        contextlib.suppress(Enough),
        mock.patch.object(connection.run.folder.Run, "log", log_and_stop),
        mock.patch.object(checks, "refuse_broken_encoder", note_ready),
        mock.patch.object(script, "backward", note_begin),
        mock.patch.object(evaluation, "evaluate", untimed(evaluation.evaluate)),
        mock.patch.object(record, "record_evaluation", untimed(record.record_evaluation)),
        mock.patch.object(resume, "save_training", untimed(resume.save_training)),
    ):
        script.main([word for name, value in flags.items() for word in flag(name, value)])


def train_theirs(
    encoder: Path,
    clock: StepClock,
    folder: Path,
    device: str = "cpu",
    precision: str = "float32",
    columns: dict[str, list] | None = None,
    make_loss: Callable | None = None,
) -> None:
    """Run SentenceTransformerTrainer with the same recipe. Evaluates, saves and logs nothing.

    columns: other data than the STS benchmark's scored pairs. make_loss: model → loss, else CosineSimilarityLoss.
    """
    import pandas as pd
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_step_begin(self, *arguments: object, **keywords: object) -> None:
            clock.begin = clock.begin or time.time()

        def on_step_end(self, *arguments: object, **keywords: object) -> None:
            clock.end()

    if columns is None:
        train = pd.read_csv(STSB / "train.csv", keep_default_na=False)
        columns = {name: train[name].tolist() for name in ("sentence1", "sentence2")} | {"score": (train["score"] / 5).tolist()}
    model = SentenceTransformer(str(encoder), device=device, local_files_only=True)
    model.max_seq_length = 128
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "theirs"),
        num_train_epochs=epochs_for(clock),
        per_device_train_batch_size=clock.batch_size,
        learning_rate=2e-5,
        warmup_steps=0.1,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        use_cpu=device == "cpu",
        bf16=precision == "bfloat16",
        tf32=True if precision == "tf32" else None,
        disable_tqdm=True,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        loss=(make_loss or CosineSimilarityLoss)(model),
        callbacks=[Steps()],
    )
    with contextlib.suppress(Enough):
        trainer.train()


def work(system: str, encoder: Path, batch_size: int, steps: int, started: float) -> dict[str, float]:
    """Measure one training in this process: pairs a second, seconds from `started` to the first step, peak memory."""
    from connection.encoder.device import peak_memory_bytes

    clock = StepClock(steps, batch_size)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        (train_ours if system == "ours" else train_theirs)(encoder, clock, Path(folder))
    import torch

    return {
        "pairs_per_second": clock.pairs_per_second(),
        "seconds_to_ready": (clock.ready or clock.begin) - started,
        "seconds_to_first_step": clock.begin - started,
        "peak_memory_bytes": peak_memory_bytes(torch.device("cpu")),
    }


def in_a_process(system: str, encoder: Path, batch_size: int, steps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", system, str(encoder), str(batch_size), str(steps), str(time.time())]
    result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


# ------------------------------------------------------------------------------------------------------------- comparisons


def alternate(ours: Callable[[], float], theirs: Callable[[], float], times: int) -> list[tuple[float, float]]:
    return [(ours(), theirs()) for _ in range(times)]


def row(name: str, unit: str, pairs: list[tuple[float, float]], *, less_is_better: bool = False) -> dict[str, object]:
    """The medians of both sides and of the ratios ours / theirs. less_is_better: a ratio below 1 is in our favour."""
    ours, theirs = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    result = {"row": name, "unit": unit, "ours": statistics.median(ours), "theirs": statistics.median(theirs)}
    result |= {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    result["less_is_better"] = less_is_better
    print(as_line(result), flush=True)
    return result


def as_line(result: dict) -> str:
    return "| {row}, {unit} | {ours:.3g} | {theirs:.3g} | **{ratio:.2f}** ({lowest:.2f} to {highest:.2f}) |".format(**result)


def product_peaks() -> dict[str, float]:
    """The peak GFLOP/s of torch's and oneDNN's matrix products, over shapes of BERT's feed-forward layer and a square one."""
    import torch

    from connection.encoder.packed.products import linear

    peaks = {"torch": 0.0, "onednn": 0.0}
    for tokens, inner, outer in ((460, 384, 1536), (460, 768, 3072), (1024, 1024, 1024)):
        states, weight = torch.randn(tokens, inner), torch.randn(outer, inner)
        for name, product in (("torch", lambda x, w: x @ w.t()), ("onednn", linear)):
            times = []
            for _ in range(15):
                began = time.perf_counter()
                product(states, weight)
                times.append(time.perf_counter() - began)
            peaks[name] = max(peaks[name], 2e-9 * tokens * inner * outer / statistics.median(times))
    return peaks


def compare_training(name: str, encoder: Path, parameters: float, batch_size: int, steps: int, times: int) -> list[dict]:
    """parameters: the number of parameters in the encoder's layers; each takes 6 operations per token and step."""
    import pandas as pd

    from ConnectionBert import ConnectionBert

    ours, theirs, peaks = [], [], []
    for _ in range(times):
        ours.append(in_a_process("ours", encoder, batch_size, steps))
        peaks.append(product_peaks())
        theirs.append(in_a_process("theirs", encoder, batch_size, steps))
    label = f"{name}, batch {batch_size}"
    units = {
        "pairs_per_second": (f"training {label}", "pairs a second", False),
        "peak_memory_bytes": (f"training {label}", "peak memory in bytes", True),
        "seconds_to_ready": (f"start {label}", "seconds until data and model are loaded", True),
        "seconds_to_first_step": (f"start {label}", "seconds to the first step", True),
    }
    rows = []
    for key, (title, unit, less) in units.items():
        pairs = [(a[key], b[key]) for a, b in zip(ours, theirs, strict=True)]
        rows.append(row(title, unit, pairs, less_is_better=less))
    table = pd.read_csv(STSB / "train.csv", keep_default_na=False)
    tokens, _ = ConnectionBert.load(encoder, quiet=True).tokenize([*table["sentence1"], *table["sentence2"]])
    tokens_a_pair = sum(map(len, tokens)) / len(table)
    for peak in ("onednn", "torch"):
        shares = [6e-9 * parameters * tokens_a_pair * a["pairs_per_second"] / b[peak] for a, b in zip(ours, peaks, strict=True)]
        shares_theirs = [
            6e-9 * parameters * tokens_a_pair * a["pairs_per_second"] / b[peak] for a, b in zip(theirs, peaks, strict=True)
        ]
        unit = f"share of the peak of {peak}'s products ({statistics.median(p[peak] for p in peaks):.0f} GFLOP/s)"
        rows.append(row(f"training {label}", unit, list(zip(shares, shares_theirs, strict=True))))
    return rows


def compare_use(times: int, only: list[str]) -> Iterator[dict]:
    """Compare `encode` on the dev sentences, and an evaluation of the dev pairs, in one process."""
    import pandas as pd
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    from connection.training.evaluation import evaluate
    from connection.training.objective import Objective
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

    dev = pd.read_csv(STSB / "dev.csv", keep_default_na=False)
    sides, scores = (dev["sentence1"].tolist(), dev["sentence2"].tolist()), dev["score"] / 5
    ours = ConnectionBert.load(MINILM, max_tokens=128, quiet=True)
    theirs = SentenceTransformer(str(MINILM), device="cpu", local_files_only=True)
    theirs.max_seq_length = 128
    sentences = [*sides[0], *sides[1]]
    dataset = ConnectionDataset(*sides, scores.to_numpy(), ours.tokenize)
    evaluator = EmbeddingSimilarityEvaluator(*sides, scores.tolist(), main_similarity="cosine")

    def rate(count: int, function: Callable[[], object]) -> Callable[[], float]:
        def measure() -> float:
            began = time.perf_counter()
            function()
            return count / (time.perf_counter() - began)

        measure()  # warm-up, not counted
        return measure

    encodes = [lambda: ours.encode(sentences), lambda: theirs.encode(sentences, show_progress_bar=False)]
    evaluations = [lambda: evaluate(ours, dataset, Objective("cosine", ours.dimension)), lambda: evaluator(theirs)]
    if "encode" in only:
        pairs = alternate(*(rate(len(sentences), f) for f in encodes), times)
        yield row("encode MiniLM-L6, the dev sentences", "sentences a second", pairs)
    if "evaluation" in only:
        pairs = alternate(*(rate(len(dev), f) for f in evaluations), times)
        yield row("one evaluation MiniLM-L6, the dev pairs", "pairs a second", pairs)


# The name of a shape → transformers' model, what differs from its default configuration, parameters in the layers.
SHAPES = {
    "bert-base": ("BertModel", {}, 85.05e6),
    "roberta-base": (
        "RobertaModel",
        {"vocab_size": 32_000, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5, "pad_token_id": 0},
        85.05e6,
    ),
    "e5-small": ("BertModel", {"vocab_size": 250_037, "hidden_size": 384, "intermediate_size": 1536}, 21.3e6),
}


def write_shape(name: str, folder: Path) -> Path:
    """Write a model of this shape with random weights, and the vocabulary of all-MiniLM-L6-v2."""
    import shutil

    import torch
    import transformers

    model_class, changes, _ = SHAPES[name]
    torch.manual_seed(0)
    model = getattr(transformers, model_class)
    model(model.config_class(**changes)).save_pretrained(folder)
    shutil.copy(MINILM / "vocab.txt", folder)
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--alternations", type=int, default=5)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        system, encoder, batch_size, steps, started = options.work
        print(json.dumps(work(system, Path(encoder), int(batch_size), int(steps), float(started))))
        return
    if not (STSB / "train.csv").is_file() or not (MINILM / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    print("| | this project | sentence-transformers | ours / theirs, median (lowest to highest) |\n| --- | --- | --- | --- |")
    rows: list[dict] = []
    if "start" in options.only and "training" not in options.only:
        rows += compare_training("MiniLM-L6", MINILM, 10.65e6, 16, UNCOUNTED_STEPS + 2, options.alternations)
    if "training" in options.only:
        for batch_size, steps in ((16, 40), (32, 25)):
            rows += compare_training("MiniLM-L6", MINILM, 10.65e6, batch_size, steps, options.alternations)
    for name, (_, _, parameters) in SHAPES.items():
        if name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                encoder = write_shape(name, Path(folder))
                rows += compare_training(f"{name}'s shape", encoder, parameters, 16, 12, options.alternations)
    rows += compare_use(options.alternations, options.only)
    path = ROOT / "benchmarks" / "results" / "against_sentence_transformers.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
