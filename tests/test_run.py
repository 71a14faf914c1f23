"""The folder of a run: what a start decides, what is set aside, what is written whole."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from connection import UserMistake
from connection.run import Run, Start, decide, describe_run, differences, set_aside

CONSTANTS = {"EPOCHS": 4, "SEED": 42, "OUTPUT": "a", "DEVICE": "auto", "THREADS": 0, "START_OVER": False, "TRAIN_FILE": "x"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,score\na,b,1\n", encoding="utf-8")
    return path


def describe(data: Path, **changes: object) -> dict:
    return describe_run(CONSTANTS | changes, {"TRAIN_FILE": {data.name: data}, "TEST_FILE": {}})


def leave(output: Path, description: dict, *, complete: bool) -> None:
    run = Run(output, description)
    run.log({"step": 1})
    if complete:
        run.write_json("summary.json", {})
    run.close()


def test_a_start_begins_where_nothing_is(tmp_path: Path, data: Path) -> None:
    assert decide(tmp_path / "new" / "run", describe(data), start_over=False) is Start.BEGIN
    (tmp_path / "empty").mkdir()
    assert decide(tmp_path / "empty", describe(data), start_over=False) is Start.BEGIN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "pairs.csv"]  # only looked at


@pytest.mark.parametrize(
    ("complete", "changes", "start_over", "expected"),
    [
        (True, {}, False, Start.DONE),
        (True, {"EPOCHS": 5}, False, Start.SET_ASIDE),
        (True, {}, True, Start.SET_ASIDE),
        (False, {}, False, Start.SET_ASIDE),  # until checkpoints exist it is begun again
        (False, {"EPOCHS": 5}, True, Start.SET_ASIDE),
        (True, {"OUTPUT": "b", "DEVICE": "cpu", "THREADS": 2}, False, Start.DONE),
    ],
)
def test_what_a_start_does(
    tmp_path: Path, data: Path, complete: bool, changes: dict, start_over: bool, expected: Start
) -> None:
    leave(tmp_path / "run", describe(data), complete=complete)
    assert decide(tmp_path / "run", describe(data, **changes), start_over=start_over) is expected


def test_an_unfinished_run_with_changes_is_refused_with_the_difference(tmp_path: Path, data: Path) -> None:
    leave(tmp_path / "run", describe(data), complete=False)
    data.write_text("sentence1,sentence2,score\na,b,2\n", encoding="utf-8")
    with pytest.raises(UserMistake) as mistake:
        decide(tmp_path / "run", describe(data, EPOCHS=5), start_over=False)
    text = str(mistake.value)
    assert "EPOCHS was 4 and is 5" in text
    assert "TRAIN_FILE names other content than before: pairs.csv" in text
    assert all(way in text for way in ("Put them back", "another OUTPUT", "START_OVER = True"))


def test_a_file_counts_by_its_content_not_by_its_place(tmp_path: Path, data: Path) -> None:
    before = describe(data)
    elsewhere = tmp_path / "moved" / "pairs.csv"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(data.read_bytes())
    assert differences(before, describe(elsewhere, TRAIN_FILE="moved/pairs.csv")) == []


def test_a_foreign_folder_is_never_touched(tmp_path: Path, data: Path) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / "chapter1.txt").write_text("mine", encoding="utf-8")
    (output / "settings.json").write_text('{"constants": {}}', encoding="utf-8")
    for start_over in (False, True):
        with pytest.raises(UserMistake, match="no run of this project"):
            decide(output, describe(data), start_over=start_over)
    with pytest.raises(UserMistake, match="is a file"):
        decide(data, describe(data), start_over=True)
    assert (output / "chapter1.txt").read_text(encoding="utf-8") == "mine"


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path, data: Path, monkeypatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    description = describe(data)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserMistake, match="cannot be written: Permission denied"):
        decide(tmp_path / "run", description, start_over=False)


def test_old_runs_are_set_aside_under_the_first_free_number(tmp_path: Path, data: Path) -> None:
    for number in (1, 2, 3):
        leave(tmp_path / "run", describe(data, SEED=number), complete=True)
        assert set_aside(tmp_path / "run") == tmp_path / f"run-{number}"
    seeds = [json.loads((tmp_path / f"run-{n}" / "settings.json").read_text())["constants"]["SEED"] for n in (1, 2, 3)]
    assert seeds == [1, 2, 3]
    assert not (tmp_path / "run").exists()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, data: Path) -> None:
    run = Run(tmp_path / "run", describe(data))
    run.write_json("summary.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        run.write_json("summary.json", {"a": math.nan})
    assert json.loads((run.folder / "summary.json").read_text(encoding="utf-8")) == {"a": 1}
    with pytest.raises(ValueError, match="JSON"):
        run.log({"loss": math.inf})
    run.close()


def test_best_is_swapped_whole(tmp_path: Path, data: Path) -> None:
    run = Run(tmp_path / "run", describe(data))

    def save(text: str):
        def write(folder: Path) -> None:
            folder.mkdir()
            (folder / "model").write_text(text, encoding="utf-8")

        return write

    def fail(folder: Path) -> None:
        folder.mkdir()
        raise OSError(28, "No space left on device")

    run.keep_best(save("first"))
    with pytest.raises(UserMistake, match="best cannot be written: No space left on device"):
        run.keep_best(fail)
    assert (run.best / "model").read_text(encoding="utf-8") == "first"
    run.keep_best(save("second"))
    assert (run.best / "model").read_text(encoding="utf-8") == "second"
    run.close()
    assert sorted(path.name for path in run.folder.iterdir()) == ["best", "metrics.jsonl", "settings.json"]
