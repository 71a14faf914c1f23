"""What best/ holds beside the encoder, its card and its calibration; and TensorBoard's event files where asked for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import runs

import bertFineTuningWithConnectionData as script
from connection import UserMistake
from connection.run import tensorboard_events
from connection.training.calibration import Calibration
from ConnectionBert import ConnectionBert


@pytest.fixture(scope="module")
def flags(tiny_encoder: Path, pairs_files: dict[str, Path]) -> list[str]:
    return [*runs.file_flags(pairs_files), *runs.flags(encoder=tiny_encoder, **runs.FINISHED)]


@pytest.fixture
def output(finished_run: Path) -> Path:
    return finished_run


def test_the_card_holds_the_figures_and_no_sentence(output: Path, pairs_files: dict[str, Path]) -> None:
    card = (output / "best" / "README.md").read_text(encoding="utf-8")
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    for name in ("dev", "test"):
        before, after = (summary[when][name] for when in ("before", "after"))
        cells = [f"{each['spearman']:.4f} [{each['interval'][0]:.2f}, {each['interval'][1]:.2f}]" for each in (before, after)]
        cells += [f"{each['pearson']:.4f}" for each in (before, after)]
        assert f"| {name} | 40 | {' | '.join(cells)} |" in card
    assert "Trained on 60 pairs in 16 steps" in card and f"after step {summary['best_step']}." in card
    assert "# tiny, fine-tuned" in card and "scores from 0 to 5" in card and "| LEARNING_RATE | 0.001 |" in card
    sentences = pd.concat([pd.read_csv(path) for path in pairs_files.values()])
    for sentence in (*sentences["sentence1"], *sentences["sentence2"]):
        assert len(sentence) < 8 or sentence not in card
    assert str(output.parent) not in card and "/" + pairs_files["train"].name not in card  # nor where files lie


def test_the_lines_on_the_card_work(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    card = (output / "best" / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(output)
    ours, theirs = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    exec(compile(ours, "README.md", "exec"), {})
    similarity = float(capsys.readouterr().out)
    pytest.importorskip("sentence_transformers", reason="the oracle is not installed")
    exec(compile(theirs, "README.md", "exec"), {})
    assert float(re.search(r"-?\d\.\d+", capsys.readouterr().out).group()) == pytest.approx(similarity, abs=1e-4)


def test_the_calibration_is_that_of_dev(output: Path) -> None:
    dev = pd.read_csv(output / "predictions-dev.csv")
    fitted = Calibration.fit(dev["predicted_after"].to_numpy(), dev["score"].to_numpy() / 5, (0, 5))
    kept = Calibration.load(output / "best")
    assert np.allclose(kept.scores, fitted.scores, atol=1e-5) and kept.score_range == (0, 5)
    error = np.abs(kept(dev["predicted_after"].to_numpy()) - dev["score"]).mean()
    assert error <= np.abs(5 * dev["predicted_after"] - dev["score"]).mean()


def test_another_training_can_start_from_best(output: Path, flags: list[str], tmp_path: Path) -> None:
    assert script.main([*flags, f"--encoder={output / 'best'}", f"--output={tmp_path / 'next'}", "--epochs=0"]) == 0
    assert (output / "best" / "model.safetensors").read_bytes() == (tmp_path / "next/best/model.safetensors").read_bytes()


def test_event_files_hold_the_metrics_and_do_not_change_the_run(output: Path, flags: list[str], tmp_path: Path) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    folder = tmp_path / "run"
    assert script.main([*flags, f"--output={folder}", "--tensorboard"]) == 0
    events = accumulators.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    for tag, metric, split in (("train/loss", "loss", None), ("dev/spearman", "spearman", "dev")):
        wanted = [(line["step"], line[metric]) for line in lines if line.get("split") == split]
        assert [event.step for event in events.Scalars(tag)] == [step for step, _ in wanted]
        assert np.allclose([event.value for event in events.Scalars(tag)], [value for _, value in wanted])
    assert "train/learning_rate" in events.Tags()["scalars"] and "train/step" not in events.Tags()["scalars"]
    assert (folder / "best/model.safetensors").read_bytes() == (output / "best/model.safetensors").read_bytes()
    assert not (output / "tensorboard").exists()
    before = sorted(path.name for path in tmp_path.iterdir())
    assert script.main([*flags, f"--output={folder}", "--no-tensorboard"]) == 0  # no other run for that
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_tensorboard_that_is_missing_is_told_before_weights_are_loaded(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard_events, "is_installed", lambda package: package != "tensorboard")
    monkeypatch.setattr(ConnectionBert, "load", lambda *a, **k: pytest.fail("weights were loaded"))
    with pytest.raises(UserMistake, match=r"TENSORBOARD is True, but .* is not installed.*requirements-extra\.txt"):
        script.main([*flags, f"--output={tmp_path / 'run'}", "--tensorboard"])
    assert not list(tmp_path.iterdir())


def test_a_run_without_tensorboard_does_not_import_it() -> None:
    code = "import sys, connection.run.folder; sys.exit('tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(script.__file__).parent, check=False).returncode == 0
