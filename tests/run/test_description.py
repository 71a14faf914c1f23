"""Starts are compared by effective values: a run of an older version is left alone, or goes on as it was begun."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import bertFineTuningWithConnectionData as script
from connection.constants import KINDS, TRAINING_DEFAULTS
from connection.disk.files import sha256
from connection.run import description as described
from connection.run.description import (
    BY_CONTENT,
    BY_EFFECT,
    HARMLESS,
    differences,
    fingerprints,
    read_description,
)
from connection.run.start import adopt_unfinished, is_complete
from connection.script.settings import Settings, read_settings

KEPT = Path(__file__).with_name("settings-format-1.json")  # as the version before FORMAT 2 wrote it, paths shortened
Run = Callable[..., Path]


def shipped() -> Settings:
    return read_settings(script.__file__, vars(script), KINDS, [])


def make_now(**changes: object) -> dict:
    """A description of today with the files of the kept one."""
    constants = shipped().as_json() | changes
    effective = {"POOLING": "mean", "MAX_TOKENS": 256, "ENCODING": "utf-8", "SEPARATOR": ",", "DECIMAL": ".", "SHEET": ""}
    effective |= {name: changes.get(name, "") for name in BY_EFFECT}
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    return {"constants": constants, "effective": effective, "defaults": TRAINING_DEFAULTS, "sha256": kept["sha256"]}


@pytest.fixture
def before(tmp_path: Path) -> dict:
    shutil.copy(KEPT, tmp_path / "settings.json")
    found = read_description(tmp_path)
    assert found is not None
    return found


def test_the_defaults_as_shipped_are_those_of_the_script() -> None:
    constants = shipped().as_json()
    paths = {name for name, kind in KINDS.items() if kind.is_path}
    assert {name: value for name, value in constants.items() if name not in paths} == TRAINING_DEFAULTS


def test_a_run_of_format_1_is_the_same_run(before: dict) -> None:
    assert "effective" not in json.loads(KEPT.read_text(encoding="utf-8"))
    assert differences(before, make_now()) == []
    assert differences(before, make_now(EPOCHS=5, SEED=1)) == ["EPOCHS was 4 and is 5", "SEED was 42 and is 1"]


@pytest.mark.parametrize("name", sorted(TRAINING_DEFAULTS.keys() - HARMLESS - BY_CONTENT))
def test_a_constant_that_an_older_version_did_not_know_makes_no_other_run(name: str, before: dict) -> None:
    before["constants"].pop(name, None)  # that version had not all of them
    assert differences(before, make_now()) == []
    other = 7 if TRAINING_DEFAULTS[name] != 7 else 8
    was = make_now()["effective"].get(name, TRAINING_DEFAULTS[name])
    assert differences(before, make_now(**{name: other})) == [f"{name} was {was!r} and is {other}"]


def test_what_an_older_version_did_counts_where_it_is_not_the_default_of_today(
    before: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(described.ABSENT, "AVERAGING", 0.5)
    now = make_now(AVERAGING=0.0)
    now["defaults"] = now["defaults"] | {"AVERAGING": 0.0}
    assert differences(before, now) == ["AVERAGING was 0.5 and is 0.0"]


def test_what_was_left_to_the_program_counts_as_what_it_came_to(before: dict) -> None:
    assert differences(before, make_now(POOLING="mean")) == []  # "" then, which came to mean
    assert differences(before, make_now(POOLING="cls")) == ["POOLING was 'mean' and is 'cls'"]
    recorded = before | {"effective": {"POOLING": "cls"}}
    assert differences(recorded, make_now(POOLING="cls")) == []


def test_a_default_that_has_changed_since_makes_no_other_run(before: dict) -> None:
    now = make_now()
    assert (before["constants"]["MAX_TOKENS"], now["constants"]["MAX_TOKENS"]) == (128, 0)
    assert differences(before, now) == []
    before["constants"]["MAX_TOKENS"] = 64  # chosen by the person: no default
    assert differences(before, now) == ["MAX_TOKENS was 64 and is 256"]  # what 0 came to
    before["constants"]["MAX_TOKENS"] = 256
    assert differences(before, now) == []


def test_an_unfinished_run_goes_on_with_the_defaults_that_it_was_begun_with(
    tmp_path: Path, before: dict, capsys: pytest.CaptureFixture
) -> None:
    defaults = TRAINING_DEFAULTS | {"SCORE_RANGE": [0, 1]}
    settings = shipped()
    settings.OUTPUT, settings.SCORE_RANGE, settings.EPOCHS = tmp_path, (0, 1), 9
    adopt_unfinished(settings, defaults)
    assert (settings.MAX_TOKENS, settings.SCORE_RANGE, settings.EPOCHS) == (128, (0, 5), 9)  # 9 was chosen: it is no default
    printed = capsys.readouterr().out
    assert "MAX_TOKENS: the unfinished run in OUTPUT keeps 128, the default when it began (now 0)." in printed
    settings.MAX_TOKENS, settings.START_OVER = 0, True
    adopt_unfinished(settings, defaults)
    assert settings.MAX_TOKENS == 0


def test_a_finished_run_is_not_touched_by_that(tmp_path: Path, before: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connection.run.start.is_complete", lambda output, description: True)
    settings = shipped()
    settings.OUTPUT = tmp_path
    adopt_unfinished(settings, TRAINING_DEFAULTS)
    assert settings.MAX_TOKENS == 0


@pytest.fixture
def run(tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Run:
    def start(*flags: str) -> Path:
        files = [f"--{name}-file={path}" for name, path in pairs_files.items()]
        script.main(
            [
                f"--encoder={tiny_encoder}",
                *files,
                f"--output={tmp_path / 'run'}",
                "--batch-size=32",
                "--keep-checkpoints",
                *flags,
            ]
        )
        return tmp_path / "run"

    return start


def as_format_1(output: Path, without: str = "PATIENCE") -> None:
    """Rewrite a run of today as a version before wrote it, which had a constant less and MAX_TOKENS at 128: settings.json, and
    the fingerprints in its checkpoints."""
    path = output / "settings.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    names = kept["constants"].keys() - {without}
    description["constants"] = {name: description["constants"][name] for name in names} | {"MAX_TOKENS": 128}
    old = {name: description[name] for name in kept} | {"format": 1}
    path.write_text(json.dumps(old), encoding="utf-8")
    for manifest in output.glob("checkpoints/*/MANIFEST.json"):
        content = json.loads(manifest.read_text(encoding="utf-8"))
        content["run"] = fingerprints(old)
        manifest.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def test_a_finished_run_of_the_version_before_is_left_alone(run: Run, capsys: pytest.CaptureFixture) -> None:
    output = run("--epochs=1")
    as_format_1(output)
    sums = {path: sha256(path) for path in output.rglob("*") if path.is_file()}
    assert run("--epochs=1") == output and "nothing has changed since" in capsys.readouterr().out
    assert run("--epochs=1", "--pooling=mean", "--max-tokens=128") and "nothing has changed since" in capsys.readouterr().out
    assert {path: sha256(path) for path in output.rglob("*") if path.is_file()} == sums


def test_a_finished_run_of_the_version_before_keeps_its_checkpoints(run: Run) -> None:
    """That version had no KEEP_CHECKPOINTS; what it left is not deleted by an upgrade."""
    output = run("--epochs=1")
    as_format_1(output, without="KEEP_CHECKPOINTS")
    run("--epochs=1", "--no-keep-checkpoints")
    assert (output / "checkpoints" / "step-00000002" / "MANIFEST.json").is_file()


def test_a_finished_run_deletes_its_checkpoints_and_a_later_start_finishes_it(run: Run, capsys: pytest.CaptureFixture) -> None:
    output = run("--epochs=1")
    kept = sorted(path.name for path in (output / "checkpoints").iterdir())
    assert kept and (output / "summary.json").is_file()
    (output / "checkpoints" / ".old-step-00000001").mkdir()  # of a deletion that a kill cut short
    (output / "checkpoints" / "notes.txt").write_text("mine", encoding="utf-8")
    run("--epochs=1", "--no-keep-checkpoints")
    assert "nothing has changed since" in capsys.readouterr().out
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["notes.txt"]
    (output / "checkpoints" / "notes.txt").unlink()
    run("--epochs=1", "--no-keep-checkpoints")
    assert not (output / "checkpoints").exists()
    other = run("--epochs=2", "--no-keep-checkpoints")  # from its beginning
    assert (other / "summary.json").is_file() and not (other / "checkpoints").exists()


def test_a_finished_run_that_lost_a_part_is_set_aside_and_never_overwritten(run: Run, capsys: pytest.CaptureFixture) -> None:
    """Without its checkpoints it cannot resume; to start again in its place would replace best/."""
    output = run("--epochs=1", "--no-keep-checkpoints")
    weights = sha256(output / "best" / "model.safetensors")
    (output / "predictions-dev.csv").unlink()
    run("--epochs=1", "--no-keep-checkpoints")
    assert f"The earlier run in {output} is now in {output}-1" in capsys.readouterr().out
    assert sha256(Path(f"{output}-1") / "best" / "model.safetensors") == weights
    assert (output / "predictions-dev.csv").is_file()


def test_an_unfinished_run_of_the_version_before_goes_on(run: Run, result: Callable, capsys: pytest.CaptureFixture) -> None:
    output = run("--epochs=2")
    golden = result(output)
    (output / "summary.json").unlink()
    shutil.rmtree(output / "checkpoints" / "step-00000004")
    as_format_1(output)
    run("--epochs=2")
    printed = capsys.readouterr().out
    assert "Resuming after step 2" in printed
    assert "MAX_TOKENS: the unfinished run in OUTPUT keeps 128, the default when it began (now 0)." in printed
    assert is_complete(output, read_description(output) or {})
    assert {name for name, content in result(output).items() if golden.get(name) != content} <= manifests(golden) | {
        "report.html"
    }


def manifests(golden: dict[str, object]) -> set[str]:
    return {name for name in golden if name.endswith("MANIFEST.json")}
