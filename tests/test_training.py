"""The training script, run whole on a tiny BERT: what it leaves, that it learns, that it repeats itself to the byte."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
import torch
from runs import without_clocks

import bertFineTuningWithConnectionData as script
import connection.encoder.device
import connection.encoder.packed.products
import connection.training.evaluation
import connection.training.losses.cosine
import connection.training.progress
import connection.training.resume
from connection import UserMistake
from connection.reading.shape import Shape
from connection.training.correlations import average_precision, spearman
from connection.training.job import Job
from connection.training.losses import fitting
from connection.training.losses.cosine import cosine_loss
from connection.training.optimizer import AdamW
from ConnectionBert import ConnectionBert

ROOT = Path(script.__file__).resolve().parent
Train = Callable[..., Path]


@pytest.fixture
def train(tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Train:
    """Run the script with flags (given as keywords) on tiny files; returns OUTPUT."""

    def run(output: str = "run", **changes: object) -> Path:
        flags = {f"{name}_file": path for name, path in pairs_files.items()} | runs.FINISHED
        runs.run_script(script, **flags | {"encoder": tiny_encoder, "output": tmp_path / output} | changes)
        return tmp_path / output

    return run


def read_metrics(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def read_summary(output: Path) -> dict:
    return json.loads((output / "summary.json").read_text(encoding="utf-8"))


def script_spearman(monkeypatch: pytest.MonkeyPatch, series: list[float]) -> list[dict[str, torch.Tensor]]:
    """Let the evaluations of dev give this series (before training first), and keep the weights of each."""
    weights: list[dict[str, torch.Tensor]] = []
    real = connection.training.evaluation.evaluate

    def evaluate(encoder: ConnectionBert, *arguments: object, **named: object) -> connection.training.evaluation.Evaluation:
        evaluation = real(encoder, *arguments, **named)
        if len(weights) < len(series):
            evaluation.figures["spearman"] = series[len(weights)]
            weights.append({name: weight.clone() for name, weight in encoder.weights().items()})
        return evaluation

    monkeypatch.setattr(connection.training.evaluation, "evaluate", evaluate)
    return weights


def assert_best_is(output: Path, weights: dict[str, torch.Tensor]) -> None:
    best = ConnectionBert.load(output / "best").weights()
    assert best.keys() == weights.keys()
    assert all(torch.equal(best[name], weights[name]) for name in best)


def test_what_a_run_leaves(train: Train, pairs_files: dict[str, Path], capsys: pytest.CaptureFixture) -> None:
    output = train()
    names = "settings.json metrics.jsonl summary.json best report.html predictions-dev.csv predictions-test.csv"
    assert {path.name for path in output.iterdir()} == set(names.split())
    summary = read_summary(output)
    keys = "encoder device loss seed learning_rate metric steps best_step before after pairs overlap data train_seconds "
    keys += "evaluation_seconds loading_seconds saving_seconds pairs_per_second tokens_per_second peak_memory_bytes"
    assert set(summary) == set(keys.split())
    assert summary["pairs"] == {"train": 60, "dev": 40, "test": 40}
    assert summary["encoder"] == "tiny" and summary["steps"] == 2 * math.ceil(60 / 8)  # the last, smaller batch too
    for when in ("before", "after"):
        assert {name: set(metrics) for name, metrics in summary[when].items()} == {
            name: {"spearman", "pearson", "interval", "random_similarity"} | ({"gain"} if when == "after" else set())
            for name in ("dev", "test")
        }
    assert summary["pairs_per_second"] == pytest.approx(120 / summary["train_seconds"])
    steps = [line for line in read_metrics(output) if "split" not in line]
    assert [line["step"] for line in steps] == list(range(1, 17))
    assert [line["epoch"] for line in steps] == [1] * 8 + [2] * 8
    assert set(steps[0]) == {"step", "epoch", "loss", "learning_rate", "gradient_norm", "pairs_per_second"}
    evaluations = [line for line in read_metrics(output) if "split" in line]
    assert [line["step"] for line in evaluations] == [0, 8, 16]
    assert set(evaluations[0]) == {"step", "epoch", "split", "spearman", "pearson", "loss", "random_similarity"}
    best = max(evaluations, key=lambda line: line["spearman"])
    assert (summary["best_step"], summary["after"]["dev"]["spearman"]) == (best["step"], best["spearman"])
    told = capsys.readouterr()
    for text in ("Device: CPU", "======== Epoch 2 / 2 ========", "Elapsed: 0:00:0", "Training loss  Dev loss  Dev Spearman"):
        assert text in told.out
    assert "it/s" not in told.err and "pair/s" not in told.err  # no bars where nobody watches


def test_predictions_are_the_users_columns_and_two_more(finished_run: Path, pairs_files: dict[str, Path]) -> None:
    output = finished_run
    for name in ("dev", "test"):
        with (output / f"predictions-{name}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with pairs_files[name].open(encoding="utf-8", newline="") as file:
            given = list(csv.DictReader(file))
        assert list(rows[0]) == ["sentence1", "sentence2", "score", "predicted_before", "predicted_after"]
        assert [{key: row[key] for key in given[0]} for row in rows] == given
        scores = np.array([float(row["score"]) for row in rows])
        for when in ("before", "after"):
            predicted = np.array([float(row[f"predicted_{when}"]) for row in rows])
            assert spearman(predicted, scores) == pytest.approx(read_summary(output)[when][name]["spearman"], abs=1e-6)


def test_it_learns(train: Train) -> None:
    output = train(epochs=6)
    losses = [line["loss"] for line in read_metrics(output) if "split" not in line]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])
    summary = read_summary(output)
    for name in ("dev", "test"):
        assert summary["after"][name]["spearman"] > summary["before"][name]["spearman"] + 0.03


def test_two_runs_give_the_same_bytes_and_another_seed_others(finished_run: Path, train: Train) -> None:
    first, second, third = finished_run, train("second"), train("third", seed=7)
    assert (first / "best/model.safetensors").read_bytes() == (second / "best/model.safetensors").read_bytes()
    assert (first / "predictions-test.csv").read_bytes() == (second / "predictions-test.csv").read_bytes()
    assert [without_clocks(x) for x in read_metrics(first)] == [without_clocks(x) for x in read_metrics(second)]
    assert without_clocks(read_summary(first)) == without_clocks(read_summary(second))
    assert [x["loss"] for x in read_metrics(first)] != [x["loss"] for x in read_metrics(third)]


def test_evaluating_more_often_does_not_move_the_training(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        connection.training.progress.Best, "offer", lambda self, step, score: True
    )  # best/ holds the last weights
    once, often = train("once"), train("often", evaluations_per_epoch=4)
    assert [x["step"] for x in read_metrics(often) if "split" in x] == [0, 2, 4, 6, 8, 10, 12, 14, 16]
    assert (once / "best/model.safetensors").read_bytes() == (often / "best/model.safetensors").read_bytes()
    trained = [[without_clocks(x) for x in read_metrics(run) if "split" not in x] for run in (once, often)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize(
    ("series", "best"),
    [([0.1, 0.3, 0.7, 0.5], 2), ([0.5, 0.7, 0.7, 0.2], 1), ([0.9, 0.3, 0.7, 0.5], 0), ([math.nan, 0.1, math.nan, 0.0], 1)],
)
def test_the_best_weights_are_kept_and_reloaded(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, series: list[float], best: int
) -> None:
    weights = script_spearman(monkeypatch, series)
    output = train(epochs=3, test_file="")
    assert read_summary(output)["best_step"] == 8 * best
    assert_best_is(output, weights[best])
    assert ("no evaluation was better" in capsys.readouterr().out) is (best == 0)


def test_without_any_spearman_the_last_weights_are_kept_and_it_says_why(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    weights = script_spearman(monkeypatch, [math.nan] * 3)
    monkeypatch.setattr(connection.training.evaluation.Evaluation, "why_undefined", lambda self: "all similarities are equal")
    output = train(test_file="")
    summary = read_summary(output)
    assert summary["best_step"] is None and summary["best_step_undefined"] == "all similarities are equal"
    assert_best_is(output, weights[-1])
    assert read_metrics(output)[0]["spearman"] is None
    assert "best/ holds the last weights" in capsys.readouterr().out


def test_patience_stops_after_so_many_evaluations_without_a_better_one(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = script_spearman(monkeypatch, [0.1, 0.5, 0.4, 0.5, 0.9])
    output = train(epochs=4, patience=2, test_file="")
    assert read_summary(output)["steps"] == 24  # of 32
    assert_best_is(output, weights[1])


def test_no_epochs_only_evaluates(train: Train) -> None:
    output = train(epochs=0)
    summary = read_summary(output)
    assert (summary["steps"], summary["best_step"], summary["pairs_per_second"]) == (0, 0, None)
    for name in ("dev", "test"):
        assert summary["after"][name] == summary["before"][name] | {"gain": [0, 0]}
    assert len(read_metrics(output)) == 1


def test_without_test_and_dev_files(train: Train, capsys: pytest.CaptureFixture) -> None:
    output = train(test_file="", dev_file="", dev_share=0.2)
    summary = read_summary(output)
    assert summary["before"]["test"] is None and summary["after"]["test"] is None
    assert summary["steps"] == 2 * 6  # 48 of 60 pairs are left
    assert not (output / "predictions-test.csv").exists()
    assert len((output / "predictions-dev.csv").read_text(encoding="utf-8").splitlines()) == 13


def test_pairs_of_which_the_encoder_sees_nothing_are_named(
    train: Train, pairs_files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """In every set, by file and line."""
    files = {}
    for name, path in pairs_files.items():
        files[name] = tmp_path / path.name
        files[name].write_text(path.read_text(encoding="utf-8") + "ж,a cat,2\n", encoding="utf-8")
    train(**{f"{name}_file": path for name, path in files.items()}, epochs=0)
    told = capsys.readouterr().out
    for name, count in (("train", 61), ("dev", 41), ("test", 41)):
        assert f"Warning: in 1 of {count} {name} pairs, a sentence is nothing but [UNK]: " in told
        assert f"\n  {files[name]}:{count + 1}  ж\n" in told


def test_a_loss_that_is_not_finite_stops_before_the_weights_move(
    train: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = []

    def poisoned(embeddings: Sequence[torch.Tensor], scores: torch.Tensor) -> torch.Tensor:
        loss = cosine_loss(embeddings, scores)
        if not loss.requires_grad:  # an evaluation
            return loss
        steps.append(loss)
        return loss * math.nan if len(steps) == 3 else loss

    moved = []
    real_step = AdamW.step
    monkeypatch.setattr(AdamW, "step", lambda self, *a, **k: (moved.append(1), real_step(self, *a, **k))[1])
    monkeypatch.setattr(connection.training.losses.cosine, "cosine_loss", poisoned)
    with pytest.raises(
        UserMistake, match=r"Step 3: the loss is nan .* Lower LEARNING_RATE, .* on lines (\d+, ){5}… of .*train\.csv"
    ):
        train()
    assert len(moved) == 2
    assert not (tmp_path / "run" / "summary.json").exists()


def test_an_encoder_whose_vectors_are_not_finite_is_refused_before_training(
    train: Train, tmp_path: Path, bert_factory: Callable, encoder_writer: Callable
) -> None:
    bert = bert_factory()
    bert.embeddings.word_embeddings.weight.data.fill_(3e38)  # finite, but not its variance
    with pytest.raises(UserMistake, match="before any training, this encoder gives vectors that are not finite"):
        train(encoder=encoder_writer(tmp_path / "huge", bert))
    assert not (tmp_path / "run" / "summary.json").exists()


def test_too_little_memory_is_one_sentence(train: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB …")

    monkeypatch.setattr(ConnectionBert, "forward", out_of_memory)
    with pytest.raises(UserMistake, match=r"BATCH_SIZE \(8\) or MAX_TOKENS \(128\)"):
        train()


def test_bfloat16_trains_where_the_cpu_has_it_and_says_where_float32_is_faster_or_is_used(
    train: Train, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device, products = connection.encoder.device, connection.encoder.packed.products
    seconds, losses, said = {torch.float32: 1.0}, [], []
    monkeypatch.setattr(device, "_product_seconds", lambda device, dtype: seconds[dtype])
    for name, has, ratio in (("half", True, 0.5), ("slow", True, 3.0), ("without", False, 0.5)):
        for module in (device, products):
            monkeypatch.setattr(module, "has_bfloat16", lambda has=has: has)
        seconds[torch.bfloat16] = ratio
        losses.append([x["loss"] for x in read_metrics(train(name, precision="bfloat16")) if "split" not in x])
        said.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("PRECISION is")])
    full = [x["loss"] for x in read_metrics(train("full")) if "split" not in x]
    half, slow, without = losses
    assert half == slow != full == without and np.allclose(half, full, atol=0.05)
    assert not said[0] and len(said[1]) == len(said[2]) == 1
    assert "in bfloat16 takes 3.0 times as long as in float32" in said[1][0] and "float32 is used" in said[2][0]


@pytest.fixture
def yes_no_files(tmp_path: Path, pairs_files: dict[str, Path]) -> dict[str, Path]:
    """The pairs with the scores 0 and 5 only."""
    files = {}
    for name, path in pairs_files.items():
        header, *rows = [line.rsplit(",", 1) for line in path.read_text(encoding="utf-8").splitlines()]
        files[name] = tmp_path / f"yes-no-{name}.csv"
        lines = [",".join(header), *(f"{pair},{5 * (float(score) > 2.5):.0f}" for pair, score in rows)]
        files[name].write_text("\n".join(lines) + "\n", encoding="utf-8")
    return files


def test_a_sum_of_losses_trains_and_is_named(train: Train) -> None:
    summary = read_summary(train(loss="cosine + 0.01 * cosent(scale=10)"))
    assert summary["loss"] == "cosine + 0.01 * cosent(scale=10)"
    steps = [[x["loss"] for x in read_metrics(train(name, loss=loss)) if "split" not in x]
             for name, loss in (("a", "cosine"), ("b", "cosine + 0.01 * cosent"), ("c", "cosent"))]  # fmt: skip
    assert steps[0][0] < steps[1][0] < steps[2][0]
    assert steps[1][0] == pytest.approx(steps[0][0] + 0.01 * steps[2][0], rel=1e-6)


def test_the_first_numbers_of_an_embedding_are_trained_and_evaluated(
    train: Train, capsys: pytest.CaptureFixture[str], tiny_encoder: Path, pairs_files: dict[str, Path]
) -> None:
    output = train(dimensions=(4, 8), loss="cosine")
    summary = read_summary(output)
    lengths = summary["after"]["test"]["spearman_by_length"]
    assert list(lengths) == ["4", "8"] and list(summary["before"]["dev"]["spearman_by_length"]) == ["4", "8"]
    table = pd.read_csv(pairs_files["test"])
    first, second = (ConnectionBert.load(output / "best").encode(table[side].tolist()) for side in ("sentence1", "sentence2"))
    cosines = torch.cosine_similarity(*(torch.from_numpy(x[:, :4]).double() for x in (first, second))).numpy()
    assert lengths["4"] == pytest.approx(spearman(cosines, table["score"].to_numpy()), abs=1e-3)
    assert "Test Spearman of the first numbers of an embedding: 4: " in capsys.readouterr().out
    steps = [[x["loss"] for x in read_metrics(path) if "split" not in x] for path in (output, train("full"))]
    assert 2 * steps[1][0] < steps[0][0] < 6 * steps[1][0]  # a sum of three
    with pytest.raises(UserMistake, match=r"DIMENSIONS has 64, but the embeddings of .*tiny have 32 numbers"):
        train("long", dimensions=(8, 64))


def test_labels_are_learnt_and_other_scores_refused_with_the_losses_that_fit(
    train: Train,
    yes_no_files: dict[str, Path],
    tmp_path: Path,
    pairs_files: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = {f"{name}_file": path for name, path in yes_no_files.items()}
    output = train(loss="online_contrastive(margin=0.4)", **labels)
    summary = read_summary(output)
    assert summary["loss"] == "online_contrastive(margin=0.4)"
    table = pd.read_csv(output / "predictions-dev.csv")
    expected = average_precision(table["predicted_after"].to_numpy(), table["score"].to_numpy() == 5)
    assert summary["after"]["dev"]["average_precision"] == pytest.approx(expected, abs=1e-6)
    assert 0 < summary["before"]["test"]["f1"] <= 1
    best = next(x for x in reversed(read_metrics(output)) if "split" in x)
    assert {"average_precision", "f1"} <= best.keys()
    assert "Dev  average precision " in capsys.readouterr().out
    with pytest.raises(UserMistake) as refused:
        train("other", loss="cosine + contrastive", **labels | {"dev_file": pairs_files["dev"]})
    assert re.fullmatch(
        r'LOSS is "cosine \+ contrastive", and contrastive learns from yes/no labels: every score must be 0 or 5 '
        r"\(SCORE_RANGE\), but .*dev\.csv, line \d+, has [\d.]+\. "
        r"Losses that learn from such scores: cosine, cosent, angle, in_batch\.",
        str(refused.value),
    )
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize("loss", [*fitting(Shape.SCORED), "cosine + 0.01 * cosent(scale=30)", "cosent + 0.1 * in_batch"])
@pytest.mark.parametrize("dimensions", [(), (8, 16)])
def test_a_run_of_each_loss_is_resumed_to_the_byte(
    tiny_encoder: Path, yes_no_files: dict[str, Path], tmp_path: Path, loss: str, dimensions: tuple[int, ...]
) -> None:
    changes = {"loss": loss, "learning_rate": 1e-3} | ({"dimensions": dimensions} if dimensions else {})
    runs.check_training(script, tiny_encoder, yes_no_files, tmp_path / "run", **changes)


@pytest.mark.slow
def test_a_start_imports_neither_transformers_layers_nor_torchs_compiler(
    tiny_encoder: Path, pairs_files: dict[str, Path], tmp_path: Path
) -> None:
    """Each takes about a second (benchmarks/README.md)."""
    flags = [f"--{name}-file={path}" for name, path in pairs_files.items()] + [f"--encoder={tiny_encoder}"]
    program = f"""
import sys
import bertFineTuningWithConnectionData as script
script.main({[*flags, f"--output={tmp_path / 'run'}", "--epochs=1", "--device=cpu"]!r})
print(sorted({{"transformers", "transformers.modeling_utils", "torch._dynamo", "sympy"}} & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert ran.stdout.splitlines()[-1] == "['transformers']"


def test_a_finished_run_answers_before_anything_slow_is_imported_or_read(train: Train, tmp_path: Path) -> None:
    output = train()
    settings = json.loads((output / "settings.json").read_text(encoding="utf-8"))["constants"]
    flags = [
        f"--{name.lower().replace('_', '-')}={settings[name]}" for name in ("ENCODER", "TRAIN_FILE", "DEV_FILE", "TEST_FILE")
    ]
    flags += [f"--output={output}", *(f"--{name.replace('_', '-')}={value}" for name, value in runs.FINISHED.items())]
    program = f"""
import sys
import bertFineTuningWithConnectionData as script
script.main({flags!r})
print(sorted({{"torch", "transformers", "pandas", "numpy"}} & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
    )
    first, second = ran.stdout.splitlines()
    assert first.startswith("This run is complete and nothing has changed") and second == "[]"


def test_where_no_evaluation_is_better_best_holds_the_initial_weights(
    train: Train, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_spearman(monkeypatch, [0.9, 0.1, 0.2, 0.9])
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    real = connection.training.resume.restore_initial

    def change_first(job: Job, load: Callable) -> None:
        assert not (tmp_path / "run" / "best").exists()
        with (encoder / "config.json").open("a", encoding="utf-8") as file:
            file.write("\n")
        real(job, load)

    with monkeypatch.context() as patch:
        patch.setattr(connection.training.resume, "restore_initial", change_first)
        with pytest.raises(UserMistake, match=r"ENCODER: the files in .*encoder have changed .* Put the old files back"):
            train(encoder=encoder)
    shutil.copyfile(tiny_encoder / "config.json", encoder / "config.json")
    best = ConnectionBert.load(train(encoder=encoder) / "best").weights()
    initial = ConnectionBert.load(tiny_encoder).weights()
    assert read_summary(tmp_path / "run")["best_step"] == 0
    assert all(torch.equal(weight, best[name]) for name, weight in initial.items())


def test_the_second_start(train: Train, capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    output = train()
    files = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    train()
    assert f"This run is complete and nothing has changed since: {output}" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == files
    train(epochs=1)
    assert read_summary(output)["steps"] == 8 and read_summary(tmp_path / "run-1")["steps"] == 16
    (output / "summary.json").unlink()  # as if it had been killed
    with pytest.raises(UserMistake, match="EPOCHS was 1 and is 2"):
        train()
    train(epochs=1)  # goes on in its place
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("run")) == ["run", "run-1"]
    train(start_over=True)
    assert read_summary(output)["steps"] == 16 and read_summary(tmp_path / "run-2")["steps"] == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "nowhere"}, "nowhere does not exist"),
        ({"train_file": "none.csv"}, "There is no file"),
        ({"score_column": "label"}, 'no column "label"'),
        ({"score_range": "0 1"}, "outside SCORE_RANGE"),
        ({"device": "cuda:7"}, "DEVICE"),
        ({"output": "file"}, "is a file"),
        ({"score_column": "sentence1"}, "SENTENCE1_COLUMN and SCORE_COLUMN name the same column"),
        ({"epochs": "1000001"}, "at most 1,000,000"),
        ({"overlap": "refuse", "dev_file": "train"}, 'OVERLAP is "refuse"'),
    ],
)
def test_mistakes_are_told_before_weights_are_loaded_or_files_written(
    train: Train,
    tmp_path: Path,
    tiny_encoder: Path,
    pairs_files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict,
    message: str,
) -> None:
    changes = dict(changes)
    if changes.get("encoder") == "normal":
        ConnectionBert.load(tiny_encoder).save(tmp_path / "normal")
        changes["encoder"] = tmp_path / "normal"
    if changes.get("dev_file") == "train":
        changes["dev_file"] = pairs_files["train"]
    if changes.get("output") == "file":
        (tmp_path / "file").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(ConnectionBert, "load", lambda *a, **k: pytest.fail("weights were loaded"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserMistake, match=message):
        if "score_range" in changes:
            low, high = changes.pop("score_range").split()
            monkeypatch.setattr(script, "SCORE_RANGE", (float(low), float(high)))
        train(**changes)
    assert sorted(tmp_path.iterdir()) == before
