"""The bar: the STS benchmark with the embedded encoder. One epoch of three seeds takes minutes, hence slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bertFineTuningWithConnectionData as script
import connection.training.evaluation


def run(output: Path, encoder: Path, stsb: Path, **changes: object) -> dict:
    flags = {"encoder": encoder, "train-file": stsb / "train.csv", "dev-file": stsb / "dev.csv", "output": output} | changes
    script.main(["--test-file", "", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))])
    return json.loads((output / "summary.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_untrained_it_is_where_sentence_transformers_puts_it(
    tmp_path: Path, minilm: Path, stsb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dev is evaluated once: without training, what comes after it would be the same figures, in 8 s."""
    evaluate, seen = connection.training.evaluation.evaluate, []
    monkeypatch.setattr(
        connection.training.evaluation,
        "evaluate",
        lambda *given, **named: seen[0] if seen else seen.append(evaluate(*given, **named)) or seen[0],
    )
    summary = run(tmp_path / "run", minilm, stsb, epochs=0)
    assert summary["before"]["dev"]["spearman"] == pytest.approx(0.8672, abs=5e-5)
    repeats, shared = summary["overlap"]["train"], summary["overlap"]["dev"]
    assert (repeats["exact_duplicates"], repeats["pairs_with_several_scores"]) == (43, 15)
    assert (shared["exact_pairs"], shared["sentences"]) == (6, 249)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_epoch_reaches_the_bar(tmp_path: Path, minilm: Path, stsb: Path, seed: int) -> None:
    assert run(tmp_path / "run", minilm, stsb, epochs=1, seed=seed)["after"]["dev"]["spearman"] >= 0.890
