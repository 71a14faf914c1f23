"""Room on the disk, asked for before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from connection import UserMistake
from connection.disk.files import check_space

MB = 10**6


@pytest.mark.parametrize(
    ("trains", "needed"),
    [(True, 14 * 50 + 10), (False, 2 * 50 + 10)],  # best/ twice; three checkpoints of four times the weights each
)
def test_the_room_is_that_of_best_and_three_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trains: bool, needed: int
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed * MB))
    check_space(tmp_path / "run", 50 * MB, trains=trains)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=needed * MB - 1))
    with pytest.raises(UserMistake, match=f"the run needs about {needed} MB"):
        check_space(tmp_path / "run", 50 * MB, trains=trains)


def test_what_a_run_has_written_already_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "run"
    output.mkdir()
    (output / "written").write_bytes(bytes(4 * MB))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=20 * MB))
    check_space(output, MB, going_on=True)  # 24 MB, of which 4 are there
    with pytest.raises(UserMistake, match="about 24 MB"):
        check_space(output, MB)
