"""Compares figures on dev with sentence-transformers, with the same recipe for both, loss by loss.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/accuracy.py --epochs 4 --seeds 42
    python benchmarks/accuracy.py --losses cosine cosent angle --seeds 1 2 3 --batch-size 32 --learning-rate 5e-5
    python benchmarks/accuracy.py --data together --seeds 1 2 3 --batch-size 64
    python benchmarks/accuracy.py --data helpdesk --seeds 1 2 3 --epochs 8 --batch-size 64

--data: "stsb", the STS benchmark with its scores (dev Spearman); "together", its pairs with a score of at least 4, without it
(dev MRR@10); "helpdesk", the sample data/helpdesk-*.csv (dev MRR@10).
Recipe: all-MiniLM-L6-v2, learning rate 2e-5 with 10 % warm-up, no weight decay, gradient clipping 1.0, dropout of the encoder's
config, at most 128 tokens. Dev is evaluated after every epoch. For in_batch, theirs has its NO_DUPLICATES sampler.
Needs all-MiniLM-L6-v2 (downloadBert.py) and, but for the help desk, the STS benchmark (data/README.md). Writes
benchmarks/results/, after each run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
SYSTEMS = ("this project", "sentence-transformers")
# The loss of this project → the class of sentence-transformers.
LOSSES = {
    "cosine": "CosineSimilarityLoss",
    "cosent": "CoSENTLoss",
    "angle": "AnglELoss",
    "in_batch": "MultipleNegativesRankingLoss",
}
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")
BELONGS = 4  # the least score of a pair that belongs together


def write_data(data: str, folder: Path) -> dict[str, Any]:
    """Write train.csv and dev.csv into a folder. Returns the flags of this project for them."""
    import pandas as pd

    columns = ("question", "answer") if data == "helpdesk" else ("sentence1", "sentence2")
    for name in ("train", "dev"):
        source = ROOT / "data" / f"helpdesk-{name}.csv" if data == "helpdesk" else STSB / f"{name}.csv"
        table = pd.read_csv(source, keep_default_na=False)
        if data == "together":
            table = table[table["score"] >= BELONGS]
        table[[*columns, *(["score"] if data == "stsb" else [])]].to_csv(folder / f"{name}.csv", index=False)
    return {
        "train-file": folder / "train.csv",
        "dev-file": folder / "dev.csv",
        "test-file": "",
        "sentence1-column": columns[0],
        "sentence2-column": columns[1],
        "score-column": "score" if data == "stsb" else "",
    }


def ours(options: argparse.Namespace, loss: str, seed: int, folder: Path) -> dict[str, list[float]]:
    """The figure of dev before training and after each epoch, and the similarity of unrelated sentences."""
    import bertFineTuningWithConnectionData as script

    flags = write_data(options.data, folder) | {
        "encoder": ENCODER,
        "max-tokens": 128,
        "output": folder / "ours",
        "epochs": options.epochs,
        "batch-size": options.batch_size,
        "learning-rate": options.learning_rate,
        "loss": loss,
        "seed": seed,
        "precision": options.precision,
    }
    script.main([f"--{name}={value}" for name, value in flags.items()])
    lines = [json.loads(line) for line in (folder / "ours" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    dev = [line for line in lines if "split" in line]
    key = "spearman" if options.data == "stsb" else "mrr_at_10"
    return {"figure": [line[key] for line in dev], "random": [line["random_similarity"] for line in dev]}


def theirs(options: argparse.Namespace, loss: str, seed: int, folder: Path) -> dict[str, list[float]]:
    """The same with SentenceTransformerTrainer and its evaluators."""
    import pandas as pd
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.sampler import BatchSamplers
    from sentence_transformers.sentence_transformer import losses

    write_data(options.data, folder)
    train, dev = (pd.read_csv(folder / f"{name}.csv", keep_default_na=False) for name in ("train", "dev"))
    model = SentenceTransformer(str(ENCODER), device="cpu", local_files_only=True)
    model.max_seq_length = 128
    evaluator, key = their_evaluator(dev)
    before = evaluator(model)[key]
    if "score" in train:
        train["score"] /= 5
    trainer = SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(
            output_dir=str(folder / "theirs"),
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            warmup_steps=0.1,
            seed=seed,
            eval_strategy="epoch",
            save_strategy="no",
            logging_strategy="epoch",
            report_to="none",
            use_cpu=True,
            batch_sampler=BatchSamplers.NO_DUPLICATES if loss == "in_batch" else BatchSamplers.BATCH_SAMPLER,
        ),
        train_dataset=Dataset.from_pandas(train, preserve_index=False),
        loss=getattr(losses, LOSSES[loss])(model),
        evaluator=evaluator,
    )
    trainer.train()
    logged = [line for line in trainer.state.log_history if any(name.endswith(key) for name in line)]
    return {
        "figure": [before] + [next(value for name, value in line.items() if name.endswith(key)) for line in logged],
        "random": [],
    }


def their_evaluator(dev: Any) -> tuple[Any, str]:
    """The evaluator of a table of pairs, and the name of its figure."""
    from sentence_transformers.sentence_transformer.evaluation import (
        EmbeddingSimilarityEvaluator,
        InformationRetrievalEvaluator,
    )

    first, second = dev.columns[:2]
    if "score" in dev:
        scores = (dev["score"] / 5).tolist()
        evaluator = EmbeddingSimilarityEvaluator(dev[first].tolist(), dev[second].tolist(), scores, main_similarity="cosine")
        return evaluator, "spearman_cosine"
    queries = {text: text for text in dev[first]}
    relevant = {text: set(dev[second][dev[first] == text]) for text in queries}
    return InformationRetrievalEvaluator(queries, {text: text for text in dev[second]}, relevant), "cosine_mrr@10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=("stsb", "together", "helpdesk"), default="stsb")
    parser.add_argument("--losses", nargs="+", help="as LOSS; theirs is left out for one that it does not have")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--precision", default="float32", help="PRECISION of this project; theirs is float32")
    parser.add_argument("--only", choices=SYSTEMS, help="run only one of the two")
    options = parser.parse_args()
    if not (ENCODER / "model.safetensors").is_file() or (options.data != "helpdesk" and not (STSB / "train.csv").is_file()):
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    results: list[dict[str, Any]] = []
    path = ROOT / "benchmarks" / "results" / f"accuracy-{options.data}.json"
    path.parent.mkdir(exist_ok=True)
    for name in [options.only] if options.only else SYSTEMS:
        for loss in options.losses or ["cosine" if options.data == "stsb" else "in_batch"]:
            for seed in options.seeds if name == SYSTEMS[0] or loss in LOSSES else []:
                with tempfile.TemporaryDirectory() as folder:
                    run = ours if name == SYSTEMS[0] else theirs
                    results.append({"system": name, "loss": loss, "seed": seed} | run(options, loss, seed, Path(folder)))
                path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print_table(results, options.epochs)


def print_table(results: list[dict[str, Any]], epochs: int) -> None:
    """Print the figures of each run after each epoch, and the means of the seeds."""
    print("\n| | loss | seed | before | " + " | ".join(f"epoch {epoch}" for epoch in range(1, epochs + 1)) + " | unrelated |")
    print("| --- " * (epochs + 5) + "|")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["system"], result["loss"]), []).append(result)
    for (system, loss), runs in groups.items():
        for run in runs:
            print(_row(system, loss, str(run["seed"]), run["figure"], run["random"][-1:]))
        if len(runs) > 1:
            figures, unrelated = (zip(*(run[name] for run in runs), strict=True) for name in ("figure", "random"))
            print(_row(system, loss, "mean", list(map(statistics.mean, figures)), list(map(statistics.mean, unrelated))[-1:]))


def _row(system: str, loss: str, seed: str, figures: list[float], unrelated: list[float]) -> str:
    cells = [system, loss, seed, *(f"{x:.4f}" for x in figures), *([f"{unrelated[0]:.3f}"] if unrelated else ["–"])]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
