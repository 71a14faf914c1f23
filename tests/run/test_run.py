"""The folder of a run: what a start decides, what is set aside, what is written whole."""

from __future__ import annotations

import collections
import hashlib
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors

import connection.disk.claim
import connection.disk.files
import connection.run.folder
from connection import UserMistake
from connection.disk.checkpoints import Checkpoints
from connection.disk.claim import claimed
from connection.disk.files import Digests, check_space, set_aside, sha256
from connection.reading.formats.text.csv_output import Style
from connection.run.description import describe_run, differences, fingerprints
from connection.run.folder import Run
from connection.run.start import Decision, decide

ROOT = Path(connection.run.folder.__file__).resolve().parents[2]

CONSTANTS = {"EPOCHS": 4, "SEED": 42, "OUTPUT": "a", "DEVICE": "auto", "THREADS": 0, "START_OVER": False, "TRAIN_FILE": "x"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2,score\na,b,1\n", encoding="utf-8")
    return path


def describe(data: Path, **changes: object) -> dict:
    return describe_run(CONSTANTS | changes, {}, {}, {"TRAIN_FILE": {data.name: sha256(data)}, "TEST_FILE": {}})


def open_run(output: Path, description: dict) -> Run:
    return Run(output, description, Checkpoints(output / "checkpoints", fingerprints(description)))


def leave(output: Path, description: dict, *, complete: bool) -> None:
    run = open_run(output, description)
    run.log({"step": 1})
    if complete:
        run.keep_best(write_best)
        run.write_table("predictions-dev.csv", ["sentence1"], [], Style())
        run.write_json("summary.json", {})
    run.close()


def write_best(folder: Path) -> None:
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text("{}", encoding="utf-8")


def test_a_start_begins_where_nothing_is(tmp_path: Path, data: Path) -> None:
    assert decide(tmp_path / "new" / "run", describe(data), {}, start_over=False) is Decision.BEGIN
    (tmp_path / "empty").mkdir()
    assert decide(tmp_path / "empty", describe(data), {}, start_over=False) is Decision.BEGIN
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "pairs.csv"]  # only looked at


@pytest.mark.parametrize(
    ("complete", "changes", "start_over", "expected"),
    [
        (True, {}, False, Decision.DONE),
        (True, {"EPOCHS": 5}, False, Decision.SET_ASIDE),
        (True, {}, True, Decision.SET_ASIDE),
        (False, {}, False, Decision.CONTINUE),
        (False, {}, True, Decision.SET_ASIDE),
        (False, {"EPOCHS": 5}, True, Decision.SET_ASIDE),
        (True, {"OUTPUT": "b", "DEVICE": "cpu", "THREADS": 2, "CHECKPOINTS_PER_EPOCH": 3}, False, Decision.DONE),
    ],
)
def test_what_a_start_does(
    tmp_path: Path, data: Path, complete: bool, changes: dict, start_over: bool, expected: Decision
) -> None:
    leave(tmp_path / "run", describe(data), complete=complete)
    assert decide(tmp_path / "run", describe(data, **changes), {}, start_over=start_over) is expected


@pytest.mark.parametrize("name", ["best/model.safetensors", "predictions-dev.csv", "summary.json"])
def test_a_run_that_lacks_a_part_or_whose_summary_is_cut_is_not_complete(tmp_path: Path, data: Path, name: str) -> None:
    leave(tmp_path / "run", describe(data), complete=True)
    (tmp_path / "run" / name).write_bytes(b"")
    (tmp_path / "run" / "checkpoints" / "step-00000001").mkdir(parents=True)  # it can resume
    assert decide(tmp_path / "run", describe(data), {}, start_over=False) is Decision.CONTINUE


def test_leftovers_of_a_start_that_wrote_nothing_do_not_make_a_folder_foreign(tmp_path: Path, data: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".settings.json.tmp").write_text("{", encoding="utf-8")
    assert decide(tmp_path / "run", describe(data), {}, start_over=False) is Decision.BEGIN


def test_a_folder_that_holds_what_is_read_is_not_renamed(tmp_path: Path, data: Path) -> None:
    leave(tmp_path / "run", describe(data), complete=True)
    inner = tmp_path / "run" / "best" / "pairs.csv"
    inner.write_bytes(data.read_bytes())
    with pytest.raises(UserMistake, match=r"OUTPUT: .* holds the files of TRAIN_FILE and would be renamed"):
        decide(tmp_path / "run", describe(data, EPOCHS=5), {"TRAIN_FILE": {"pairs.csv": inner}}, start_over=False)


@pytest.mark.parametrize("odd", ["[]", '"text"', '{"constants": [], "sha256": {}}', '{"sha256": {"a": 1}}', "[" * 100_000])
def test_odd_settings_are_foreign(tmp_path: Path, data: Path, odd: str) -> None:
    (tmp_path / "run").mkdir()
    odd = odd.replace('{"', '{"made_by": "bertFineTuningWithConnectionData", "', 1)
    (tmp_path / "run" / "settings.json").write_text(odd, encoding="utf-8")
    with pytest.raises(UserMistake, match="no run of this project"):
        decide(tmp_path / "run", describe(data), {}, start_over=False)


def test_a_second_start_on_one_output_is_refused_and_the_claim_dies_with_its_process(tmp_path: Path) -> None:
    code = f"import sys, time; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
    code += "from connection.disk.claim import claimed\n"
    code += f"with claimed(Path({str(tmp_path / 'run')!r})): print('claimed', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "claimed\n"
    try:
        for _ in range(2):  # a refused start must not spoil the claim or its number
            with (
                pytest.raises(UserMistake, match=rf"another process \(id {other.pid}\) is writing to .*run"),
                claimed(tmp_path / "run"),
            ):
                pass
    finally:
        other.kill()
        other.wait()
    with claimed(tmp_path / "run"), claimed(tmp_path / "another"):
        pass
    assert not list(tmp_path.iterdir()) or sys.platform == "win32"


def test_an_output_whose_parent_may_not_be_written_is_claimed_inside(tmp_path: Path, data: Path, monkeypatch) -> None:
    output = tmp_path / "run"
    output.mkdir()
    lock = connection.disk.claim._lock

    def refuse(output: Path, path: Path, constant: str):
        if path.parent == tmp_path:
            raise PermissionError(13, "Permission denied")
        return lock(output, path, constant)

    monkeypatch.setattr(connection.disk.claim, "_lock", refuse)
    with claimed(output):
        assert [path.name for path in output.iterdir()] == [".lock"]
        assert decide(output, describe(data), {}, start_over=False) is Decision.BEGIN
    assert not list(output.iterdir())
    with pytest.raises(UserMistake, match="cannot be written: Permission denied"), claimed(tmp_path / "other"):
        pass


def test_an_unfinished_run_with_changes_is_refused_with_the_difference(tmp_path: Path, data: Path) -> None:
    leave(tmp_path / "run", describe(data), complete=False)
    data.write_text("sentence1,sentence2,score\na,b,2\n", encoding="utf-8")
    with pytest.raises(UserMistake) as mistake:
        decide(tmp_path / "run", describe(data, EPOCHS=5), {}, start_over=False)
    text = str(mistake.value)
    assert "EPOCHS was 4 and is 5" in text
    assert "TRAIN_FILE names other content than before: pairs.csv" in text
    assert all(way in text for way in ("Undo the changes", "another OUTPUT", "START_OVER = True"))


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
            decide(output, describe(data), {}, start_over=start_over)
    with pytest.raises(UserMistake, match="is a file"):
        decide(data, describe(data), {}, start_over=True)
    assert (output / "chapter1.txt").read_text(encoding="utf-8") == "mine"


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path: Path, data: Path, monkeypatch) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    description = describe(data)
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserMistake, match="cannot be written: Permission denied"):
        decide(tmp_path / "run", description, {}, start_over=False)


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path: Path, data: Path, monkeypatch) -> None:
    usage = collections.namedtuple("usage", "total used free")(10**9, 10**9, 9_999_999)
    monkeypatch.setattr(connection.disk.files.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(UserMistake, match=r"has 10 MB free, and the run needs about 10 MB\. Free some space, or name"):
        check_space(tmp_path / "new" / "run", 50)
    monkeypatch.setattr(connection.disk.files.shutil, "disk_usage", lambda folder: usage._replace(free=10**8))
    check_space(tmp_path / "new" / "run", 50)


def test_old_runs_are_set_aside_under_the_first_free_number(tmp_path: Path, data: Path) -> None:
    for number in (1, 2, 3):
        leave(tmp_path / "run", describe(data, SEED=number), complete=True)
        assert set_aside(tmp_path / "run") == tmp_path / f"run-{number}"
    seeds = [json.loads((tmp_path / f"run-{n}" / "settings.json").read_text())["constants"]["SEED"] for n in (1, 2, 3)]
    assert seeds == [1, 2, 3]
    assert not (tmp_path / "run").exists()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, data: Path) -> None:
    run = open_run(tmp_path / "run", describe(data))
    run.write_json("summary.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        run.write_json("summary.json", {"a": math.nan})
    assert json.loads((run.folder / "summary.json").read_text(encoding="utf-8")) == {"a": 1}
    with pytest.raises(ValueError, match="JSON"):
        run.log({"loss": math.inf})
    run.close()


def test_a_run_that_begins_again_is_not_taken_for_complete(tmp_path: Path, data: Path) -> None:
    """Its old summary.json would make it so, as soon as best/ is there again."""
    leave(tmp_path / "run", describe(data), complete=True)
    (tmp_path / "run" / "best" / "config.json").unlink()
    run = open_run(tmp_path / "run", describe(data))
    shutil.rmtree(run.best)
    run.keep_best(write_best)
    run.close()  # killed here
    assert decide(tmp_path / "run", describe(data), {}, start_over=False) is Decision.CONTINUE


def test_best_is_swapped_whole(tmp_path: Path, data: Path) -> None:
    run = open_run(tmp_path / "run", describe(data))

    def save(text: str):
        def write(folder: Path) -> None:
            folder.mkdir()
            (folder / "model").write_text(text, encoding="utf-8")

        return write

    errors = [OSError(28, "No space left on device"), safetensors.SafetensorError("No space left on device (os error 28)")]

    def fail(folder: Path) -> None:
        folder.mkdir()
        raise errors.pop()

    run.keep_best(save("first"))
    for _ in range(2):
        with pytest.raises(UserMistake, match="best cannot be written: No space left on device"):
            run.keep_best(fail)
    assert (run.best / "model").read_text(encoding="utf-8") == "first"
    run.keep_best(save("second"))
    assert (run.best / "model").read_text(encoding="utf-8") == "second"
    run.close()
    assert sorted(path.name for path in run.folder.iterdir()) == ["best", "metrics.jsonl", "settings.json"]


def test_files_are_hashed_beside_other_work_and_a_missing_one_is_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name, encoding="utf-8")
    files = {"ENCODER": {name: tmp_path / name for name in "ab"}, "TEST_FILE": {}}
    found = Digests(files).result()
    assert found == {"ENCODER": {name: hashlib.sha256(name.encode()).hexdigest() for name in "ab"}, "TEST_FILE": {}}
    digests = Digests(files | {"TRAIN_FILE": {"c": tmp_path / "c"}})
    with pytest.raises(UserMistake, match=r"c cannot be read: No such file"):
        digests.result()
