"""Compares dev Spearman on the STS benchmark with sentence-transformers, with the same recipe for both.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/accuracy.py --epochs 4 --seeds 42
    python benchmarks/accuracy.py --epochs 1 --seeds 1 2 3 --only "this project"
    python benchmarks/accuracy.py --epochs 1 --seeds 1 --loss cosent

Recipe: all-MiniLM-L6-v2, the loss named (default: mean squared error of the cosine), batch 16, learning rate 2e-5 with 10 %
warm-up, no weight decay, gradient clipping 1.0, dropout of the encoder's config, at most 128 tokens. Dev is evaluated after
every epoch.
Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2 (downloadBert.py). Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

ENCODER = ROOT / "transformers" / "bert" / "all-MiniLM-L6-v2"
SYSTEMS = ("this project", "sentence-transformers")
# The loss of this project → the class of sentence-transformers.
LOSSES = {"cosine": "CosineSimilarityLoss", "cosent": "CoSENTLoss", "angle": "AnglELoss"}
STSB = Path(os.environ.get("STSB") or ROOT / "data" / "stsb")


def ours(options: argparse.Namespace, seed: int, folder: Path) -> list[float]:
    """Dev Spearman before training and after each epoch."""
    import bertFineTuningWithConnectionData as script

    flags = {
        "encoder": ENCODER,
        "train-file": STSB / "train.csv",
        "dev-file": STSB / "dev.csv",
        "test-file": "",
        "output": folder / "ours",
        "epochs": options.epochs,
        "batch-size": options.batch_size,
        "learning-rate": options.learning_rate,
        "loss": options.loss,
        "seed": seed,
    }
    script.main([part for name, value in flags.items() for part in (f"--{name}", str(value))])
    lines = [json.loads(line) for line in (folder / "ours" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["spearman"] for line in lines if "split" in line]


def theirs(options: argparse.Namespace, seed: int, folder: Path) -> list[float]:
    """The same with SentenceTransformerTrainer and EmbeddingSimilarityEvaluator."""
    import pandas as pd
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    train, dev = (pd.read_csv(STSB / name, keep_default_na=False) for name in ("train.csv", "dev.csv"))
    model = SentenceTransformer(str(ENCODER), device="cpu", local_files_only=True)
    model.max_seq_length = 128
    evaluator = EmbeddingSimilarityEvaluator(
        dev["sentence1"].tolist(), dev["sentence2"].tolist(), (dev["score"] / 5).tolist(), main_similarity="cosine"
    )
    key = "spearman_cosine"
    before = evaluator(model)[key]
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
        ),
        train_dataset=Dataset.from_dict(
            {
                "sentence1": train["sentence1"].tolist(),
                "sentence2": train["sentence2"].tolist(),
                "score": (train["score"] / 5).tolist(),
            }
        ),
        loss=getattr(losses, LOSSES[options.loss])(model),
        evaluator=evaluator,
    )
    trainer.train()
    logged = [line for line in trainer.state.log_history if any(name.endswith(key) for name in line)]
    return [before] + [next(value for name, value in line.items() if name.endswith(key)) for line in logged]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--loss", choices=LOSSES, default="cosine")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--only", choices=SYSTEMS, help="run only one of the two")
    options = parser.parse_args()
    if not (STSB / "train.csv").is_file() or not (ENCODER / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    results = []
    for seed in options.seeds:
        for name in [options.only] if options.only else SYSTEMS:
            run = ours if name == SYSTEMS[0] else theirs
            with tempfile.TemporaryDirectory() as folder:
                results.append({"system": name, "seed": seed, "dev_spearman": run(options, seed, Path(folder))})
    path = ROOT / "benchmarks" / "results" / "accuracy.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print("\n| | seed | before | " + " | ".join(f"epoch {epoch}" for epoch in range(1, options.epochs + 1)) + " |")
    print("| --- " * (options.epochs + 3) + "|")
    for result in results:
        print(f"| {result['system']} | {result['seed']} | " + " | ".join(f"{x:.4f}" for x in result["dev_spearman"]) + " |")


if __name__ == "__main__":
    main()
