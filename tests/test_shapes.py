"""Runs on pairs without scores: belonging together, with negatives, with a class, and a second file beside scored pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs
import safetensors.torch

import bertFineTuningWithConnectionData as script
import bertScoringWithConnectionData as scoring_script
from connection import UserMistake
from connection.training.losses.softmax import class_logits
from ConnectionBert import ConnectionBert

SHAPES = {
    "together": {"score_column": ""},
    "negatives": {"score_column": "", "negative_columns": ("negative",)},
    "classes": {"label_column": "label"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shapes")
    counts = {"train": 60, "dev": 30, "test": 30}
    return {name: runs.write_shapes(folder / f"{name}.csv", count, seed) for seed, (name, count) in enumerate(counts.items())}


@pytest.fixture(scope="module")
def without_dropout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder whose loss depends on the rows only."""
    bert = runs.make_bert(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return runs.write_encoder(tmp_path_factory.mktemp("encoders") / "without-dropout", bert)


def read(output: Path) -> tuple[dict, list[dict]]:
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return summary, [line for line in map(json.loads, lines) if "split" in line]


def test_questions_and_answers(
    tmp_path: Path, tiny_encoder: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = SHAPES["negatives"] | {"epochs": 3, "learning_rate": 5e-3}
    output = runs.trained(script, tiny_encoder, files, tmp_path / "run", **changes)
    summary, evaluations = read(output)
    told = capsys.readouterr().out
    assert summary["loss"] == "in_batch" and summary["metric"] == "mrr_at_10"
    names = {"mrr_at_10", "recall_at_1", "recall_at_10", "triplet_accuracy", "random_similarity", "interval"}
    assert set(summary["before"]["dev"]) == names and set(summary["after"]["test"]) == names | {"gain"}
    best = max(evaluations, key=lambda line: line["mrr_at_10"])
    assert summary["best_step"] == best["step"] and summary["after"]["dev"]["mrr_at_10"] == best["mrr_at_10"]
    assert summary["after"]["dev"]["mrr_at_10"] > summary["before"]["dev"]["mrr_at_10"] + 0.1
    assert "No scores (SCORE_COLUMN is empty): each row's sentences belong together; 60 different sentence1, 30 diff" in told
    assert "Its negatives: 48 sentences, up to 1 a row; 12 rows without any." in told
    assert "Dev MRR@10" in told and "dev MRR@10 " in told and "recall@10" in told
    table = pd.read_csv(output / "predictions-dev.csv", keep_default_na=False)
    added = ["predicted_before", "predicted_after", "rank_before", "rank_after", "found_after"]
    assert table.columns.tolist() == ["sentence1", "sentence2", "negative", "label", *added]
    encoder = ConnectionBert.load(output / "best")
    candidates = list(dict.fromkeys([*table["sentence2"], *(text for text in table["negative"] if text)]))
    vectors, sides = encoder.encode(candidates), encoder.encode(table["sentence1"].tolist())
    similarities = sides @ vectors.T / np.linalg.norm(sides, axis=1)[:, None] / np.linalg.norm(vectors, axis=1)
    for row, (second, rank, found) in enumerate(table[["sentence2", "rank_after", "found_after"]].itertuples(index=False)):
        own = similarities[row, candidates.index(second)]
        assert rank == 1 + (similarities[row] > own).sum()
        assert found == ("" if rank == 1 else candidates[int(similarities[row].argmax())])
    assert not (output / "best" / "calibration.json").exists()
    card = (output / "best" / "README.md").read_text(encoding="utf-8")
    assert "| | pairs | MRR@10 before | after | recall@1 before | after |" in card and "| LOSS | in_batch |" in card
    scores = tmp_path / "scores.csv"
    runs.run_script(scoring_script, encoder=output / "best", pairs_file=files["dev"], output_file=scores, device="cpu")
    np.testing.assert_allclose(pd.read_csv(scores)["similarity"], table["predicted_after"], atol=1e-5)
    runs.trained(script, tiny_encoder, files, output, **changes)
    assert "This run is complete and nothing has changed since" in capsys.readouterr().out


def test_classes(tmp_path: Path, tiny_encoder: Path, files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    output = runs.trained(script, tiny_encoder, files, tmp_path / "run", **SHAPES["classes"], epochs=3)
    summary, evaluations = read(output)
    told = capsys.readouterr().out
    assert summary["loss"] == "softmax" and summary["metric"] == "accuracy"
    assert summary["after"]["dev"]["accuracy"] > summary["before"]["dev"]["accuracy"] + 0.2
    assert summary["best_step"] == max(evaluations, key=lambda line: line["accuracy"])["step"]
    assert "Its classes:\n long  " in told and "dev accuracy " in told and "Dev accuracy" in told
    assert json.loads((output / "best" / "labels.json").read_text(encoding="utf-8")) == ["long", "short"]
    weights = safetensors.torch.load_file(output / "best" / "loss.safetensors")
    table, encoder = pd.read_csv(output / "predictions-test.csv"), ConnectionBert.load(output / "best")
    added = ["predicted_before", "predicted_after", "class_before", "class_after"]
    assert table.columns.tolist() == ["sentence1", "sentence2", "negative", "label", *added]
    import torch

    sides = [torch.from_numpy(encoder.encode(table[side].tolist())) for side in ("sentence1", "sentence2")]
    found = class_logits(sides, weights["softmax.weight"], weights["softmax.bias"]).argmax(dim=1)
    assert [["long", "short"][number] for number in found.tolist()] == table["class_after"].tolist()
    scores = tmp_path / "scores.csv"
    flags = {"encoder": output / "best", "pairs_file": files["test"], "output_file": scores, "device": "cpu"}
    runs.run_script(scoring_script, **flags, label_column="label")
    scored, told = pd.read_csv(scores), capsys.readouterr().out
    assert scored["class_predicted"].tolist() == table["class_after"].tolist()
    assert scored.columns.tolist()[-3:] == ["similarity", "class_predicted", "class_probability"]
    low, high = summary["after"]["test"]["interval"]
    assert f"Accuracy {summary['after']['test']['accuracy']:.4f} [{low:.2f}, {high:.2f}], " in told
    accuracy = (table["class_after"] == table["label"]).mean()
    assert summary["after"]["test"]["accuracy"] == pytest.approx(accuracy)
    assert summary["data"]["scores"]["labels"] == ["long", "short"]


def test_a_second_file_of_pairs_that_belong_together(
    tmp_path: Path,
    without_dropout: Path,
    files: dict[str, Path],
    pairs_files: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    losses = {}
    for name, changes in {
        "plain": {},
        "with": {"positives_file": files["train"]},
        "half": {"positives_file": files["train"], "positives_weight": 0.5},
    }.items():
        output = runs.trained(script, without_dropout, pairs_files, tmp_path / name, epochs=1, **changes)
        lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses[name] = [line["loss"] for line in map(json.loads, lines) if "split" not in line]
    assert len(losses["plain"]) == len(losses["with"]) == 8
    assert losses["with"][0] - losses["plain"][0] == pytest.approx(2 * (losses["half"][0] - losses["plain"][0]), rel=1e-4)
    summary, _ = read(tmp_path / "with")
    assert summary["metric"] == "spearman" and summary["data"]["positives"] == 60
    assert set(summary["overlap"]) == {"train", "dev", "test", "positives and dev", "positives and test"}
    assert "Positives 60 pairs from" in capsys.readouterr().out
    with pytest.raises(UserMistake, match='has no column "other"') as mistake:
        runs.trained(
            script, without_dropout, pairs_files, tmp_path / "x", positives_file=files["train"], sentence1_column="other"
        )
    assert not (tmp_path / "x").exists() and "POSITIVES_FILE" not in str(mistake.value)
    with pytest.raises(UserMistake, match="POSITIVES_FILE goes with scored pairs or classes"):
        runs.trained(script, without_dropout, files, tmp_path / "x", positives_file=files["dev"], score_column="")


def test_in_batch_of_scored_pairs_takes_those_that_belong_together(
    tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]
) -> None:
    output = runs.trained(script, tiny_encoder, pairs_files, tmp_path / "run", epochs=1, loss="cosine + 0.1 * in_batch")
    assert read(output)[0]["metric"] == "spearman"
    with pytest.raises(UserMistake, match=r"no score is at least 5\.1, so no pair belongs together for in_batch\. Low"):
        runs.trained(script, tiny_encoder, pairs_files, tmp_path / "x", loss="cosine + in_batch", positive_score=5.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"score_column": "", "loss": "cosine"},
            r'LOSS is "cosine", but cosine does not learn from pairs that belong together',
        ),
        ({"score_column": "", "loss": "triplet"}, r"Losses that do: in_batch\. Take one of them, or name NEGATIVE_COLUMNS"),
        ({"label_column": "label", "loss": "cosent"}, r"does not learn from pairs with a class.*Losses that do: softmax\."),
        (
            {**SHAPES["negatives"], "loss": "triplet"},
            r"triplet learns from rows with a negative, and 12 rows have none .*, on lines 6, 11, 16, 21, 26, …",
        ),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_with_those_that_do(
    tmp_path: Path, tiny_encoder: Path, files: dict[str, Path], changes: dict, message: str
) -> None:
    with pytest.raises(UserMistake, match=message):
        runs.trained(script, tiny_encoder, files, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_a_step_in_parts_of_memory_ends_near_the_whole(tmp_path: Path, files: dict[str, Path], without_dropout: Path) -> None:
    """Without dropout both compute the same gradients."""
    weights = []
    for size in (0, 3):
        changes = SHAPES["together"] | {"memory_batch_size": size, "epochs": 1, "learning_rate": 1e-4}
        output = runs.trained(script, without_dropout, files, tmp_path / f"run-{size}", **changes)
        weights.append(safetensors.torch.load_file(output / "best" / "model.safetensors"))
    for name, weight in weights[0].items():
        # The gradient of the key's bias is 0 but for rounding, which AdamW makes as large as any other.
        atol = 1e-4 if name.endswith("key.bias") else 2e-5
        np.testing.assert_allclose(weight, weights[1][name], atol=atol, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        *SHAPES.values(),
        SHAPES["negatives"] | {"loss": "in_batch(scale=10, both=True)", "memory_batch_size": 3},
        SHAPES["classes"] | {"dimensions": (8,), "memory_batch_size": 5},
        SHAPES["together"] | {"dev_file": None, "dev_share": 0.2},
    ],
    ids=lambda changes: " ".join(map(str, changes)),
)
def test_a_run_of_each_shape_is_resumed_to_the_byte(
    tmp_path: Path, tiny_encoder: Path, files: dict[str, Path], changes: dict
) -> None:
    without_dev = "dev_file" in changes
    used = {name: path for name, path in files.items() if name != "dev"} if without_dev else files
    flags = {name: "" if value is None else value for name, value in changes.items()}
    runs.check_training(script, tiny_encoder, used, tmp_path, **flags, batch_size=6 if without_dev else 8)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["", "cosent + 0.1 * in_batch"])
def test_a_run_with_positives_is_resumed_to_the_byte(
    tmp_path: Path, tiny_encoder: Path, files: dict[str, Path], pairs_files: dict[str, Path], loss: str
) -> None:
    changes = {"positives_file": files["train"], "loss": loss, "memory_batch_size": 4}
    runs.check_training(script, tiny_encoder, pairs_files, tmp_path, **changes)


@pytest.mark.slow
def test_triplets_are_resumed_to_the_byte(tmp_path: Path, tiny_encoder: Path, files: dict[str, Path]) -> None:
    full = {}
    for name, path in files.items():
        table = pd.read_csv(path, keep_default_na=False)
        full[name] = tmp_path / path.name
        table[table["negative"] != ""].to_csv(full[name], index=False)
    changes = SHAPES["negatives"] | {"loss": "triplet(margin=0.5)", "batch_size": 6}
    runs.check_training(script, tiny_encoder, full, tmp_path, **changes)
