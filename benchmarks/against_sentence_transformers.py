"""Compares speed and memory with sentence-transformers on the same work, machine, model and recipe.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/against_sentence_transformers.py
    python benchmarks/against_sentence_transformers.py --only training encode --alternations 3
    python benchmarks/against_sentence_transformers.py --only training --busy
    python benchmarks/against_sentence_transformers.py --only training --avx2

Each row alternates between the two (ours, theirs, ours, theirs …) and gives the medians and the median of the ratios. Theirs
runs in float32, in float32 with torch.set_float32_matmul_precision("medium"), and in bfloat16 (bf16=True in training); the
ratio is that to its fastest setting of the same precision. bfloat16 is left out where the processor has no instructions for it.
--busy: beside another process that keeps one core busy, both sides as they come. --avx2: as on a processor without AVX-512.
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
THEIR_SETTINGS = {"float32": ("float32", "medium"), "bfloat16": ("bfloat16",)}  # by the precision that they are compared in
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
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

    precision: float32, medium, tf32 or bfloat16.
    columns: other data than the STS benchmark's scored pairs. make_loss: model → loss, else CosineSimilarityLoss.
    """
    import pandas as pd
    import torch
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
    if precision == "medium":
        torch.set_float32_matmul_precision("medium")
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


def work(system: str, precision: str, encoder: Path, batch_size: int, steps: int, started: float) -> dict[str, float]:
    """Measure one training in this process: pairs a second, seconds from `started` to the first step, peak memory."""
    clock = StepClock(steps, batch_size)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        (train_ours if system == "ours" else train_theirs)(encoder, clock, Path(folder), precision=precision)
    return {
        "pairs_per_second": clock.pairs_per_second(),
        "seconds_to_ready": (clock.ready or clock.begin) - started,
        "seconds_to_first_step": clock.begin - started,
        "peak_memory_bytes": peak_of_this_process(),
    }


def peak_of_this_process() -> int:
    """Bytes. Not by getrusage, which counts what the parent held when this process was started."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(1024 * int(line.split()[1]) for line in status.read_text(encoding="ascii").splitlines() if "VmHWM" in line)
    import torch

    from connection.encoder.device import peak_memory_bytes

    return peak_memory_bytes(torch.device("cpu")) or 0


def in_a_process(system: str, precision: str, encoder: Path, batch_size: int, steps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", system, precision, str(encoder), str(batch_size), str(steps)]
    result = subprocess.run([*command, str(time.time())], capture_output=True, text=True, encoding="utf-8", check=False)
    if result.returncode:
        sys.exit(result.stderr)
    return json.loads(result.stdout.splitlines()[-1])


@contextlib.contextmanager
def busy(core_is_busy: bool) -> Iterator[None]:
    """A process that computes without pause, while the `with` lasts."""
    if not core_is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


# ------------------------------------------------------------------------------------------------------------- comparisons


def processor() -> str:
    """The processor's name, and what matters of its instructions."""
    import torch

    from connection.encoder.packed.processor import PROCESSOR_FACTS

    facts = PROCESSOR_FACTS.read_text(encoding="utf-8") if PROCESSOR_FACTS.is_file() else ""
    model = next((line.split(":", 1)[1].strip() for line in facts.splitlines() if line.startswith("model name")), "a processor")
    words = set(facts.split())
    has = [name for name in ("avx512_bf16", "avx512_vnni", "amx_bf16") if name in words]
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, {', '.join(has) or 'none of its extensions'}"


def precisions() -> list[str]:
    """float32, and bfloat16 where the processor has it."""
    from connection.encoder.packed.processor import has_bfloat16

    return ["float32", *["bfloat16"] * has_bfloat16()]


def row(name: str, unit: str, ours: list[float], theirs: dict[str, list[float]], *, less_is_better: bool = False) -> dict:
    """The medians of both sides and of the ratios ours / theirs. theirs: by setting, of which the best one counts.

    less_is_better: a ratio below 1 is in our favour.
    """
    medians = {setting: statistics.median(values) for setting, values in theirs.items()}
    best = (min if less_is_better else max)(medians, key=medians.__getitem__)
    ratios = [a / b for a, b in zip(ours, theirs[best], strict=True)]
    result = {"row": name, "unit": unit, "ours": statistics.median(ours), "theirs": medians, "best": best}
    result |= {"ratio": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    print(as_line(result), flush=True)
    return result


def as_line(result: dict) -> str:
    theirs = ", ".join(f"{setting} {value:.3g}" for setting, value in result["theirs"].items())
    ratio = "**{ratio:.2f}** ({lowest:.2f} to {highest:.2f})".format(**result)
    return f"| {result['row']}, {result['unit']} | {result['ours']:.3g} | {theirs} | {ratio} |"


def product_peaks(precision: str) -> dict[str, float]:
    """The peak GFLOP/s of torch's and oneDNN's matrix products, over shapes of BERT's feed-forward layer and a square one.

    Of both, in bfloat16: those of torch, which has no others.
    """
    import torch

    from connection.encoder.packed.products import works

    def by_onednn(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if dtype == torch.float32 and works():
            return torch.ops.mkldnn._linear_pointwise(states, weight, None, "none", [], "")
        return states @ weight.t()

    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    peaks = {"torch": 0.0, "onednn": 0.0}
    for tokens, inner, outer in ((460, 384, 1536), (460, 768, 3072), (1024, 1024, 1024)):
        states, weight = torch.randn(tokens, inner, dtype=dtype), torch.randn(outer, inner, dtype=dtype)
        for name, product in (("torch", lambda x, w: x @ w.t()), ("onednn", by_onednn)):
            times = []
            for _ in range(15):
                began = time.perf_counter()
                product(states, weight)
                times.append(time.perf_counter() - began)
            peaks[name] = max(peaks[name], 2e-9 * tokens * inner * outer / statistics.median(times))
    return peaks


def compare_training(
    name: str, encoder: Path, parameters: float, batch_size: int, steps: int, options: argparse.Namespace
) -> list[dict]:
    """parameters: the number of parameters in the encoder's layers; each takes 6 operations per token and step."""
    rows = []
    for precision in options.precisions:
        ours: list[dict[str, float]] = []
        theirs: dict[str, list[dict[str, float]]] = {setting: [] for setting in THEIR_SETTINGS[precision]}
        peaks = []
        for _ in range(options.alternations):
            with busy(options.busy):
                ours.append(in_a_process("ours", precision, encoder, batch_size, steps))
                for setting, found in theirs.items():
                    found.append(in_a_process("theirs", setting, encoder, batch_size, steps))
            peaks.append(product_peaks(precision))
        label = f"{name}, batch {batch_size}, {precision}" + ", beside other work" * options.busy
        units = {
            "pairs_per_second": (f"training {label}", "pairs a second", False),
            "peak_memory_bytes": (f"training {label}", "peak memory in bytes", True),
            "seconds_to_ready": (f"start {label}", "seconds until data and model are loaded", True),
            "seconds_to_first_step": (f"start {label}", "seconds to the first step", True),
        }
        for key, (title, unit, less) in units.items():
            sides = {setting: [one[key] for one in found] for setting, found in theirs.items()}
            rows.append(row(title, unit, [one[key] for one in ours], sides, less_is_better=less))
        work_of_a_pair = 6e-9 * parameters * tokens_a_pair(encoder)
        for kind in ("onednn", "torch"):
            sides = [
                [work_of_a_pair * one["pairs_per_second"] / peak[kind] for one, peak in zip(found, peaks, strict=True)]
                for found in (ours, *theirs.values())
            ]
            unit = f"share of the peak of {kind}'s products ({statistics.median(peak[kind] for peak in peaks):.0f} GFLOP/s)"
            rows.append(row(f"training {label}", unit, sides[0], dict(zip(theirs, sides[1:], strict=True))))
    return rows


def tokens_a_pair(encoder: Path) -> float:
    import pandas as pd

    from ConnectionBert import ConnectionBert

    table = pd.read_csv(STSB / "train.csv", keep_default_na=False)
    tokens, _ = ConnectionBert.load(encoder, quiet=True).tokenize([*table["sentence1"], *table["sentence2"]])
    return sum(map(len, tokens)) / len(table)


def compare_use(options: argparse.Namespace) -> Iterator[dict]:
    """Compare `encode` on the dev sentences, and an evaluation of the dev pairs, in one process."""
    import pandas as pd
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    from connection.encoder.packed.products import products_in
    from connection.training.evaluation import evaluate
    from connection.training.objective import Objective
    from ConnectionBert import ConnectionBert
    from ConnectionDataset import ConnectionDataset

    dev = pd.read_csv(STSB / "dev.csv", keep_default_na=False)
    sides, scores = (dev["sentence1"].tolist(), dev["sentence2"].tolist()), dev["score"] / 5
    ours = ConnectionBert.load(MINILM, max_tokens=128, quiet=True)
    sentences = [*sides[0], *sides[1]]
    dataset = ConnectionDataset(*sides, scores.to_numpy(), ours.tokenize)
    evaluator = EmbeddingSimilarityEvaluator(*sides, scores.tolist(), main_similarity="cosine")

    def rate(count: int, function: Callable[[], object], *, matmul: str = "highest") -> float:
        torch.set_float32_matmul_precision(matmul)
        began = time.perf_counter()
        function()
        taken = time.perf_counter() - began
        torch.set_float32_matmul_precision("highest")
        return count / taken

    def in_ours(precision: str, function: Callable[[], object]) -> Callable[[], object]:
        def call() -> object:
            with products_in(precision, ours.device):
                return function()

        return call

    for precision in options.precisions:
        kind = {"dtype": torch.bfloat16} if precision == "bfloat16" else {}
        theirs = SentenceTransformer(str(MINILM), device="cpu", local_files_only=True, model_kwargs=kind)
        theirs.max_seq_length = 128
        tasks = {
            "encode": (
                len(sentences), "encode MiniLM-L6, the dev sentences", "sentences a second",
                lambda: ours.encode(sentences), lambda theirs=theirs: theirs.encode(sentences, show_progress_bar=False),
            ),
            "evaluation": (
                len(dev), "one evaluation MiniLM-L6, the dev pairs", "pairs a second",
                lambda: evaluate(ours, dataset, Objective("cosine", ours.dimension)), lambda theirs=theirs: evaluator(theirs),
            ),
        }  # fmt: skip
        for name in (name for name in tasks if name in options.only):
            count, title, unit, call_ours, call_theirs = tasks[name]
            call_ours = in_ours(precision, call_ours)
            found: dict[str, list[float]] = {side: [] for side in ("ours", *THEIR_SETTINGS[precision])}
            for _ in range(options.alternations + 1):
                for side, values in found.items():
                    function = call_ours if side == "ours" else call_theirs
                    values.append(rate(count, function, matmul="medium" if side == "medium" else "highest"))
            own, *others = (values[1:] for values in found.values())  # the first is a warm-up
            yield row(f"{title}, {precision}", unit, own, dict(zip(THEIR_SETTINGS[precision], others, strict=True)))


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
    parser.add_argument(
        "--batch-sizes", nargs="+", type=int, choices=(16, 32), default=[16, 32], help="of MiniLM-L6's training"
    )
    parser.add_argument("--precisions", nargs="+", choices=THEIR_SETTINGS, help="both, where the processor has bfloat16")
    parser.add_argument("--busy", action="store_true", help="beside a process that keeps one core busy")
    parser.add_argument("--avx2", action="store_true", help="without AVX-512, for both sides")
    parser.add_argument("--work", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        system, precision, encoder, batch_size, steps, started = options.work
        print(json.dumps(work(system, precision, Path(encoder), int(batch_size), int(steps), float(started))))
        return
    if not (STSB / "train.csv").is_file() or not (MINILM / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    if options.avx2 and not os.environ.keys() >= AVX2.keys():  # before torch is loaded, for this process too
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | AVX2)
    options.precisions = options.precisions or precisions()
    print(f"{processor()}, {os.cpu_count()} cores\n")
    print("| | this project | sentence-transformers | ours / its best, median (lowest to highest) |\n| --- | --- | --- | --- |")
    rows: list[dict] = []
    if "start" in options.only and "training" not in options.only:
        rows += compare_training("MiniLM-L6", MINILM, 10.65e6, 16, UNCOUNTED_STEPS + 2, options)
    if "training" in options.only:
        for batch_size, steps in ((size, {16: 40, 32: 25}[size]) for size in options.batch_sizes):
            rows += compare_training("MiniLM-L6", MINILM, 10.65e6, batch_size, steps, options)
    for name, (_, _, parameters) in SHAPES.items():
        if name in options.only:
            with tempfile.TemporaryDirectory() as folder:
                encoder = write_shape(name, Path(folder))
                rows += compare_training(f"{name}'s shape", encoder, parameters, 16, 12, options)
    rows += compare_use(options)
    path = ROOT / "benchmarks" / "results" / "against_sentence_transformers.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
