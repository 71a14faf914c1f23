"""The first ten minutes, with the real script in a process of its own: each slip gets one sentence, no traceback, status 2."""

from __future__ import annotations

import ast
import os
import re
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import runs
import warm

import bertFineTuningWithConnectionData as script

SCRIPT = Path(script.__file__).resolve()
Start = Callable[..., "warm.Process | subprocess.Popen"]


@pytest.fixture
def start(tmp_path: Path, tiny_encoder: Path, pairs_files: dict[str, Path]) -> Start:
    """Start the script with flags given as keywords; its output is piped, as into a file, or goes to `terminal`.

    cold: in a Python of its own that starts from nothing, rather than in a fork of one that has torch.
    """

    def run(terminal: int | None = None, cold: bool = False, **changes: object) -> warm.Process | subprocess.Popen:
        files = {f"{name}_file": path for name, path in pairs_files.items()}
        flags = (
            {"encoder": tiny_encoder, "output": tmp_path / "run", "epochs": 1, "device": "cpu", "threads": 1} | files | changes
        )
        return warm.start(
            [SCRIPT, *runs.flags(**flags)], cwd=tmp_path, env=os.environ | {"NO_COLOR": "1"}, terminal=terminal, cold=cold
        )

    return run


def refused(process: warm.Process) -> str:
    _, told = process.communicate(timeout=100)
    assert process.returncode == 2 and "Traceback" not in told
    return told


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mine.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_no_encoder(start: Start, tmp_path: Path) -> None:
    told = refused(start(cold=True, encoder="transformers/bert/bert-base-uncased"))
    assert told.startswith(f"ENCODER: {tmp_path / 'transformers/bert/bert-base-uncased'} does not exist; an encoder needs ")
    assert "Or put its files there by hand" in told and "all-MiniLM-L6-v2 (English, from the Python package index)" in told
    assert "To download it: `python downloadBert.py bert-base-uncased`, if that is its name on the hub" in told


def test_a_typo_in_the_name_of_an_encoder(start: Start, tiny_encoder: Path) -> None:
    told = refused(start(encoder=tiny_encoder.with_name("tynie")))
    assert told.startswith(f"ENCODER: {tiny_encoder.with_name('tynie')} does not exist; an encoder needs config.json, ")
    assert re.search(r"Encoders that are there: (\S+, )*tiny\. To download it: ", told)


def test_a_typo_in_a_path(start: Start, pairs_files: dict[str, Path]) -> None:
    wrong = pairs_files["train"].with_name("trian.csv")
    assert refused(start(train_file=wrong)) == f"There is no file {wrong}. Did you mean train.csv?\n"


def test_a_folder_in_place_of_a_file_and_a_file_in_place_of_a_folder(start: Start, tmp_path: Path, tiny_encoder: Path) -> None:
    assert refused(start(train_file=tmp_path)) == f"{tmp_path} is a folder; name a file of sentence pairs.\n"
    told = refused(start(encoder=tiny_encoder / "vocab.txt"))
    assert told.startswith(f"ENCODER is the file {tiny_encoder / 'vocab.txt'}; give the folder")


def test_a_wrong_column(start: Start, pairs_files: dict[str, Path]) -> None:
    told = refused(start(sentence1_column="sentence_1"))
    columns = '"sentence1", "sentence2", "score"'
    assert told == (
        f'{pairs_files["train"]} has no column "sentence_1" (SENTENCE1_COLUMN); its columns: {columns}.\n'
        "Read as UTF-8, separated by ','.\nPaste: --sentence1-column=sentence1\n"
    )


def test_no_dev_file(start: Start, tmp_path: Path) -> None:
    told = refused(start(dev_file=tmp_path / "dev.csv")).splitlines()
    assert told[0] == f"There is no file {tmp_path / 'dev.csv'}."
    assert told[1] == 'This file is DEV_FILE; set DEV_FILE = "" to split dev off the training pairs.'
    process = start(dev_file="", epochs=0)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0 and "of these are split off, no sentence on both sides" in out


def test_only_train_is_ones_own(start: Start, table: Callable, pairs_files: dict[str, Path]) -> None:
    """TRAIN_FILE and its columns are set, and DEV_FILE is forgotten: then dev lacks the columns."""
    path = table("one,other,same\na,b,1\nc,d,0\n")
    told = refused(start(train_file=path, sentence1_column="one", sentence2_column="other", score_column="same"))
    assert told.startswith(f'{pairs_files["dev"]} has no column "one" (SENTENCE1_COLUMN), "other" (SENTENCE2_COLUMN) or "same"')
    assert told.endswith(
        'This file is DEV_FILE; set DEV_FILE = "" to split dev off the training pairs.\nPaste: --dev-file= --test-file=\n'
    )


def test_a_file_of_one_column(start: Start, table: Callable) -> None:
    told = refused(start(train_file=table("sentence1\na man\na cat\n")))
    assert told.endswith(
        'has no column "sentence2" (SENTENCE2_COLUMN) or "score" (SCORE_COLUMN); its columns: "sentence1".\n'
        "Read as UTF-8, separated by ','.\n3 columns are needed: SENTENCE1_COLUMN, SENTENCE2_COLUMN, SCORE_COLUMN.\n"
    )


def test_an_excel_workbook_in_place_of_a_csv(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    assert refused(start(train_file=path)) == f'{path} is an Excel workbook: give it a name that ends in ".xlsx".\n'


def test_a_korean_excels_plain_csv(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "korean.csv"
    path.write_bytes("sentence1,sentence2,score\n비가 온다,비가 내린다,5\n해가 뜬다,차가 빠르다,0\n".encode("cp949"))
    process = start(train_file=path, dev_file=path, test_file="", epochs=0)
    out, _ = process.communicate(timeout=100)
    assert process.returncode == 0 and "Read as cp949, separated by ','." in out.splitlines()
    assert "    5  비가 온다  |  비가 내린다" in out.splitlines()
    assert "of the tokens are [UNK]: this encoder's vocabulary does not fit the language" in out


def test_a_score_column_of_text(start: Start, table: Callable) -> None:
    path = table("sentence1,sentence2,score,who\na,b,1,Kim\nc,d,2,Lee\n")
    told = refused(start(train_file=path, score_column="who")).splitlines()
    assert told[1] == f'  {path}:2  column "who": "Kim" is not a finite number: write one from 0 to 5'
    assert told[-2:] == ["No row has a number for its score: is SCORE_COLUMN the right column?", "2 bad rows of 2."]


def test_everything_in_one_column(start: Start, table: Callable) -> None:
    """SEPARATOR is set to another one than the file has; without it, the file is read."""
    told = refused(start(train_file=table("sentence1;sentence2;score\na;b;1\nc;d;2\n"), separator=","))
    assert told.endswith('Paste: --separator=";"\n')


def test_three_rows(start: Start, table: Callable, tmp_path: Path) -> None:
    path = table("sentence1,sentence2,score\na cat,a dog,1\nthe cat,the cat,5\na man,blue,0\n")
    process = start(train_file=path)
    process.communicate(timeout=100)
    assert process.returncode == 0 and (tmp_path / "run" / "best" / "model.safetensors").is_file()
    told = refused(start(train_file=path, dev_file="", output=tmp_path / "other"))
    assert told.startswith("DEV_SHARE: 1 of the 3 training rows (a share of 0.1) cannot be split off with different scores in ")
    assert "Set DEV_FILE, add pairs, or change DEV_SHARE." in told


@pytest.mark.slow
def test_what_is_piped_into_a_file_holds_no_bars_and_no_colours(start: Start) -> None:
    out, err = start(cold=True, epochs=2).communicate(timeout=100)
    assert err == "" and "\r" not in out and "\x1b" not in out and "\x08" not in out
    assert "======== Epoch 2 / 2 ========" in out.splitlines()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
def test_a_terminal_has_bars_with_what_counts_and_no_colours(start: Start) -> None:
    import fcntl
    import pty
    import termios

    terminal, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    process = start(terminal=ours)
    os.close(ours)
    told = bytearray()
    try:
        while block := os.read(terminal, 1 << 16):
            told += block
    except OSError:  # how Linux says that nobody writes any more
        pass
    finally:
        os.close(terminal)
    assert process.wait(timeout=100) == 0
    bars = [line for line in told.decode().replace("\r", "\n").splitlines() if "60/60" in line]
    assert bars and all(f in bars[-1] for f in ("100%|", "<00:00", "pair/s", "loss=0.", "learning_rate="))
    assert b"\x1b" not in told


def wait_for_training(process: warm.Process) -> None:
    for line in process.stdout:
        if line.startswith("======== Epoch 1"):
            return
    pytest.fail(process.stderr.read())


def test_two_runs_at_once_on_one_output(start: Start, tmp_path: Path) -> None:
    first = start(epochs=100_000)
    try:
        wait_for_training(first)
        told = refused(start(epochs=100_000))
        assert told.startswith(f"OUTPUT: another process (id {first.pid}) is writing to {tmp_path / 'run'}.")
    finally:
        first.kill()
        first.communicate()


def test_ctrl_c_ends_quietly(start: Start, tmp_path: Path) -> None:
    process = start(epochs=100_000)
    wait_for_training(process)
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
    _, err = process.communicate(timeout=60)
    if sys.platform != "win32":  # which knows no Ctrl-C from another process
        assert (process.returncode, err) == (130, "\nInterrupted.\n")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()]  # nothing that was trained is lost


ROOT = SCRIPT.parent
SOURCES = sorted([*ROOT.glob("*.py"), *ROOT.glob("connection/**/*.py")])
READ_FIRST = [
    SCRIPT,
    ROOT / "downloadBert.py",
    *(ROOT / f"connection/{name}.py" for name in ("__init__", "script/__init__", "script/requirements", "script/settings")),
]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_every_file_is_python_3_10(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


@pytest.mark.parametrize("path", READ_FIRST, ids=lambda path: path.name)
def test_an_older_python_reads_far_enough_to_say_which_one_is_needed(path: Path) -> None:
    """check_python speaks before anything else is imported; up to there, Python 3.7 must be able to read."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
