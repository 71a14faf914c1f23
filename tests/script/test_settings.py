"""Constants ⇄ flags ⇄ settings, of the real training script; and what a start without its requirements says."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import bertFineTuningWithConnectionData as script
import bertMiningWithConnectionData as mining_script
import bertScoringWithConnectionData as scoring_script
import bertSearchWithConnectionData as search_script
from connection import UserMistake
from connection.constants import KINDS, MINING_KINDS, SCORING_KINDS, SEARCH_KINDS
from connection.encoder.folder import POOLINGS
from connection.script import requirements
from connection.script.settings import Settings, flag_of, read_constants, read_settings
from connection.training.losses import LOSSES

SCRIPT = Path(script.__file__).resolve()
SOURCE = SCRIPT.read_text(encoding="utf-8")
CONSTANTS = [constant.name for constant in read_constants(SOURCE, KINDS)]


def settings(*arguments: str, **constants: object):
    return read_settings(SCRIPT, vars(script) | constants, KINDS, arguments)


def refusal(*arguments: str, **constants: object) -> str:
    with pytest.raises(UserMistake) as mistake:
        settings(*arguments, **constants)
    assert "\n" not in str(mistake.value)
    return str(mistake.value)


def constants_of(settings: Settings) -> dict[str, object]:
    return {name: value for name, value in vars(settings).items() if name.isupper()}


def run(*arguments: str, python: tuple[str, ...] = (sys.executable,), code: str = "") -> subprocess.CompletedProcess:
    command = [*python, *(["-c", code] if code else [SCRIPT]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=SCRIPT.parent, check=False)


def read_settings_of(tree: ast.Module) -> set[str]:
    """The constants that a file reads as `settings.NAME` or `….settings.NAME`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.isupper():
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            found |= {node.attr} if owner == "settings" else set()
    return found


@pytest.mark.parametrize(
    ("module", "kinds"),
    [(script, KINDS), (scoring_script, SCORING_KINDS), (search_script, SEARCH_KINDS), (mining_script, MINING_KINDS)],
)
def test_every_constant_is_read_and_explained(module: ModuleType, kinds: dict) -> None:
    """By the syntax trees of the script and of connection/: each UPPER_CASE name at its top is a known setting, is read, and
    has a comment; the script reads no other."""
    source = Path(module.__file__).read_text(encoding="utf-8")
    tree, constants = ast.parse(source), read_constants(source, kinds)
    names = [constant.name for constant in constants]
    assigned = [node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)]
    shared = [ast.parse(path.read_text(encoding="utf-8")) for path in SCRIPT.parent.glob("connection/**/*.py")]
    assert assigned == names
    assert set(names) == set(kinds)
    assert read_settings_of(tree) <= set(names) <= read_settings_of(tree).union(*map(read_settings_of, shared))
    assert all(len(constant.comment) > 20 and constant.group for constant in constants)
    assert not {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)} & set(
        names
    )


def test_one_script_does_not_take_the_others_constants() -> None:
    for arguments in (["--epochs", "3"], ["--train-file", "x.csv"], ["--pooling", "cls"]):
        with pytest.raises(UserMistake, match="There is no flag"):
            read_settings(scoring_script.__file__, vars(scoring_script), SCORING_KINDS, arguments)
    for arguments in (["--pairs-file", "x.csv"], ["--sentence1", "a cat"]):
        assert "There is no flag" in refusal(*arguments)
    assert "must be a column" in refusal("--sentence1-column", "")
    without = read_settings(scoring_script.__file__, vars(scoring_script), SCORING_KINDS, ["--score-column", ""])
    assert without.SCORE_COLUMN == "" and without.SENTENCE1 == ""
    third = read_settings(scoring_script.__file__, vars(scoring_script), SCORING_KINDS, ["--score-column", "3"])
    assert third.SCORE_COLUMN == 3


def test_choices_are_those_of_their_owners() -> None:
    assert KINDS["POOLING"].choices == ("", *POOLINGS)
    assert KINDS["LOSS"].choices is LOSSES


def test_the_defaults_are_the_designs() -> None:
    plain = settings().as_json()
    assert json.loads(json.dumps(plain)) == plain
    folder = SCRIPT.parent
    assert plain == {
        "ENCODER": str(folder / "transformers/bert/bert-base-uncased"),
        "POOLING": "",
        "MAX_TOKENS": 0,
        "SENTENCE1_PROMPT": "",
        "SENTENCE2_PROMPT": "",
        "TRAIN_FILE": str(folder / "data/connections-train.csv"),
        "DEV_FILE": str(folder / "data/connections-dev.csv"),
        "TEST_FILE": str(folder / "data/connections-test.csv"),
        "POSITIVES_FILE": "",
        "SENTENCE1_COLUMN": "sentence1",
        "SENTENCE2_COLUMN": "sentence2",
        "SCORE_COLUMN": "score",
        "NEGATIVE_COLUMNS": [],
        "LABEL_COLUMN": "",
        "SCORE_RANGE": [0, 5],
        "SEPARATOR": "",
        "QUOTING": True,
        "ENCODING": "",
        "DECIMAL": "",
        "SHEET": "",
        "OVERLAP": "report",
        "DEV_SHARE": 0.1,
        "LOSS": "",
        "POSITIVES_WEIGHT": 1.0,
        "POSITIVE_SCORE": "",
        "DIMENSIONS": [],
        "EPOCHS": 4,
        "BATCH_SIZE": 16,
        "MEMORY_BATCH_SIZE": 0,
        "LEARNING_RATE": 2e-5,
        "WARMUP": 0.1,
        "WEIGHT_DECAY": 0.0,
        "MAX_GRADIENT_NORM": 1.0,
        "SEED": 42,
        "OUTPUT": str(folder / "output/connections"),
        "EVALUATIONS_PER_EPOCH": 1,
        "PATIENCE": 0,
        "CHECKPOINTS_PER_EPOCH": 1,
        "KEEP_CHECKPOINTS": False,
        "DEVICE": "auto",
        "PRECISION": "float32",
        "THREADS": 0,
        "TENSORBOARD": False,
        "START_OVER": False,
    }


def test_every_constant_is_a_flag() -> None:
    other = {
        "POOLING": "cls",
        "OVERLAP": "drop",
        "LOSS": "cosine",
        "DEVICE": "cuda:1",
        "PRECISION": "bfloat16",
        "SEPARATOR": ";",
    }
    other |= {"ENCODING": "cp949", "SCORE_RANGE": (-1, 1), "QUOTING": False, "START_OVER": True, "TENSORBOARD": True}
    other |= {"KEEP_CHECKPOINTS": True, "DECIMAL": ",", "DIMENSIONS": (64, 128)}
    other |= {"NEGATIVE_COLUMNS": ("negative", 7), "POSITIVE_SCORE": 3.5, "LABEL_COLUMN": "label"}
    for name in CONSTANTS:
        default = vars(script)[name]
        value = other.get(name, {str: "other", int: 7, float: 0.5}.get(type(default)))
        if isinstance(value, bool):
            arguments = [flag_of(name) if value else flag_of(name).replace("--", "--no-", 1)]
        else:
            arguments = [flag_of(name), *(map(str, value) if isinstance(value, tuple) else [str(value)])]
        changed = constants_of(settings(*arguments))
        expected = Path.cwd() / "other" if KINDS[name].is_path else value
        assert changed[name] == expected and type(changed[name]) is type(expected)
        others = {key: x for key, x in constants_of(settings()).items() if key != name}
        assert {key: x for key, x in changed.items() if key != name} == others


def test_paths_start_at_the_script_for_constants_and_at_the_working_folder_for_flags(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert SCRIPT.parent / "x" / "y.csv" == settings(DEV_FILE="x/y.csv").DEV_FILE
    assert tmp_path / "x" / "y.csv" == settings("--dev-file", "x/y.csv").DEV_FILE
    assert Path.home() / "y.csv" == settings("--dev-file=~/y.csv").DEV_FILE == settings(DEV_FILE="~/y.csv").DEV_FILE
    assert settings("--dev-file", "").DEV_FILE is None and settings(TEST_FILE="").TEST_FILE is None


def test_columns_and_separators() -> None:
    assert settings(NEGATIVE_COLUMNS="negative").NEGATIVE_COLUMNS == ("negative",)  # ("negative") is no tuple in Python
    assert settings("--negative-columns", "a", "4").NEGATIVE_COLUMNS == ("a", 4)
    assert settings("--negative-columns=").NEGATIVE_COLUMNS == () == settings(NEGATIVE_COLUMNS="").NEGATIVE_COLUMNS
    assert settings("--score-column=", "--positive-score=").POSITIVE_SCORE == "" == settings("--score-column=").SCORE_COLUMN
    assert settings("--score-column", "3").SCORE_COLUMN == 3 == settings(SCORE_COLUMN=3).SCORE_COLUMN
    assert settings("--separator", "\\t").SEPARATOR == "\t"
    assert settings("--score-range", "-1", "1").SCORE_RANGE == (-1, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch", "3"], 'There is no flag "--epoch"; did you mean --epochs?'),
        (["--trainfile", "x"], 'There is no flag "--trainfile"; did you mean --train-file?'),
        (["pairs.csv"], 'There is no flag "pairs.csv"; --help lists them.'),
        (["--epochs"], "Argument --epochs: expected one argument"),
        (["--epochs", "two"], '--epochs "two" is not a whole number.'),
        (["--epochs", "1.5"], '--epochs "1.5" is not a whole number.'),
        (["--epochs", "-1"], "--epochs is -1; it must be at least 0 and at most 1,000,000."),
        (["--learning-rate", "fast"], '--learning-rate "fast" is not a number.'),
        (["--learning-rate", "nan"], "--learning-rate is nan; it must be more than 0 and at most 1."),
        (["--learning-rate", "inf"], "--learning-rate is inf; it must be more than 0 and at most 1."),
        (["--dev-share", "1"], "--dev-share is 1.0; it must be more than 0 and less than 1."),
        (["--warmup", "1.1"], "--warmup is 1.1; it must be at least 0 and at most 1."),
        (["--score-range", "5", "0"], "--score-range is (5, 0); it must be two numbers, the lower one first."),
        (["--score-range", "a", "5"], '--score-range "a 5" is not two numbers.'),
        (["--pooling", "sum"], '--pooling is \'sum\'; it must be one of "", "mean", "cls", "max".'),
        (["--device", "gpu"], "--device is 'gpu'; it must be \"auto\""),
        (["--encoding", "utf-9"], "--encoding is 'utf-9'; it is not a text encoding known to Python"),
        (["--separator", '"'], "--separator is '\"'; it must be at most 20 characters without quotes and line ends, or empty."),
        (["--decimal", ";"], '--decimal is \';\'; it must be one of "", ".", ",".'),
        (["--score-column", "-1x"], "Argument --score-column: expected one argument (--help lists every flag)."),
        (["--train-file", ""], "--train-file is ''; it must name a file."),
        (["--max-tokens", "2"], "--max-tokens is 2; it must be 0, or at least 3 and at most 1,000,000."),
    ],
)
def test_a_wrong_flag_is_one_sentence(arguments: list[str], message: str) -> None:
    assert message in refusal(*arguments)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("EPOCHS", "4", "EPOCHS (at the top of bertFineTuningWithConnectionData.py) is '4'; it must be a whole number."),
        ("EPOCHS", 1.5, "is 1.5; it must be a whole number."),
        ("BATCH_SIZE", True, "is True; it must be a whole number."),
        ("BATCH_SIZE", 0, "is 0; it must be at least 1 and at most 1,000,000."),
        ("QUOTING", 1, "is 1; it must be True or False."),
        ("TRAIN_FILE", None, "is None; it must be text in quotes."),
        ("SCORE_RANGE", (0, 5, 10), "it must be two numbers, the lower one first."),
        ("SCORE_RANGE", ("0", "5"), "it must be two numbers."),
        ("LOSS", "cosin", 'it must be one of "cosine", "cosent", '),
        ("DIMENSIONS", ("64",), "it must be whole numbers, as in (64, 128)."),
        ("DIMENSIONS", (64, True), "it must be whole numbers"),
        ("DIMENSIONS", (0,), "it must be up to 32 different whole numbers from 1 to 65,536."),
        ("DIMENSIONS", (64, 64), "it must be up to 32 different whole numbers"),
        ("SENTENCE1_COLUMN", "", "is ''; it must be a column's name, or its number counting from 1."),
        ("NEGATIVE_COLUMNS", ("a", 1.5), 'it must be names or numbers of columns, as in ("negative",).'),
        ("NEGATIVE_COLUMNS", ("a", "a"), "it must be up to 100 different columns."),
        ("POSITIVE_SCORE", "high", 'it must be a number, or "".'),
        ("SCORE_COLUMN", -1, "is -1; it must be a column's number from 1 to 10,000, or its name."),
        ("SCORE_COLUMN", 10**30, "it must be a column's number from 1 to 10,000, or its name."),
        ("EPOCHS", 10**400, "it must be at least 0 and at most 1,000,000."),
        ("LEARNING_RATE", 10**400, "it must be a number."),
        ("LEARNING_RATE", 2.0, "is 2.0; it must be more than 0 and at most 1."),
        ("SCORE_RANGE", (-1.7e308, 1.7e308), "it must be two numbers, the lower one first."),
        ("SCORE_RANGE", (0, float("nan")), "it must be two numbers, the lower one first."),
        ("ENCODING", "hex", "it is not a text encoding known to Python"),
        ("ENCODING", "idna", "it is not a text encoding known to Python"),
        ("ENCODING", "utf\0", "it is not a text encoding known to Python"),
        ("SEPARATOR", "\0", "it must be at most 20 characters without quotes and line ends, or empty."),
        ("DEVICE", "cuda:01", 'it must be "auto"'),
        ("TRAIN_FILE", "a\0b", "which is not a usable path: embedded null"),
        ("OUTPUT", "x" * 300, "which is not a usable path: File name too long."),
        ("ENCODER", "~no-such-user/x", "which is not a usable path: "),
    ],
)
def test_a_wrong_constant_is_named_with_its_script(name: str, value: object, message: str) -> None:
    text = refusal(**{name: value})
    assert text.startswith(f"{name} (at the top of bertFineTuningWithConnectionData.py)") and message in text


def test_a_whole_number_will_do_for_a_number_and_a_list_for_a_tuple() -> None:
    changed = settings(LEARNING_RATE=1, SCORE_RANGE=[0, 1])
    assert changed.LEARNING_RATE == 1.0 and type(changed.LEARNING_RATE) is float and changed.SCORE_RANGE == (0, 1)


def test_an_edited_script(tmp_path: Path) -> None:
    """A byte order mark, a type hint, a constant assigned twice: the value counts that Python sees. A lost one is named."""
    edited = SOURCE.replace("EPOCHS = 4", "EPOCHS: int = 4").replace("BATCH_SIZE = 16", "BATCH_SIZE = 16\nBATCH_SIZE = 32")
    path = tmp_path / "edited.py"
    path.write_text(edited, encoding="utf-8-sig")
    changed = read_settings(path, vars(script) | {"BATCH_SIZE": 32}, KINDS, ["--epochs", "2"])
    assert (changed.BATCH_SIZE, changed.EPOCHS) == (32, 2) and list(constants_of(changed)) == CONSTANTS
    path.write_text(SOURCE.replace("EPOCHS = 4", "EPOCH = 4"), encoding="utf-8")
    with pytest.raises(UserMistake, match=r"The constant EPOCHS is missing at the top of the script\. Put it back"):
        _ = read_settings(path, vars(script), KINDS, []).EPOCHS


def test_help_is_made_of_the_constants_and_loads_no_torch() -> None:
    code = (
        "import sys, bertFineTuningWithConnectionData as s\ntry: s.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    )
    result = run(code=code)
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split()).replace("- ", "-")  # argparse breaks lines after hyphens too
    for constant in read_constants(SOURCE, KINDS):
        assert flag_of(constant.name) in told and constant.comment.replace("- ", "-") in told
    assert "--no-start-over" in told and "(now: '0 5')" in told


def test_a_mistake_ends_the_script_with_status_2_and_one_sentence() -> None:
    result = run("--epoch", "3")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == 'There is no flag "--epoch"; did you mean --epochs?\n'


def test_what_a_terminal_shows_holds_no_control_codes() -> None:
    result = run("--encoder", "no\x1b[2J\u200bwhere")
    assert result.returncode == 2 and "no\\x1b[2J\\u200bwhere" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGPIPE convention")
def test_a_closed_pipe_ends_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "import sys; from connection.script.running import run_script; sys.exit(run_script(lambda: print('x', flush=True)))"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=SCRIPT.parent, check=False)
    os.close(writing)
    assert (result.returncode, result.stderr) == (141, "")


def test_a_start_without_the_packages_says_how_to_install_them() -> None:
    """Python with only its standard library (-S): the folder transformers/ then imports as an empty namespace."""
    code = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import transformers; "
    code += "import bertFineTuningWithConnectionData as s"
    result = run(python=(sys.executable, "-S", "-I"), code=f"{code}; sys.exit(s.run_script(s.main))")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert result.stderr.startswith("Not installed: torch, transformers, pandas, tqdm, ")
    assert f'-m pip install -r "{SCRIPT.parent / "requirements.txt"}"' in result.stderr


def test_after_make_train_its_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "ROOT", tmp_path)
    monkeypatch.setattr(requirements, "is_installed", lambda package: package != "torch")
    python = tmp_path / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    python.parent.mkdir(parents=True)
    python.touch()
    told = f'"{sys.executable}" -m pip install -r "{tmp_path / "requirements.txt"}"'
    with pytest.raises(UserMistake) as mistake:
        requirements.check_packages()
    assert str(mistake.value) == f"Not installed: torch. Install this project's packages with: {told}"
    (tmp_path / ".venv" / "installed").touch()
    with pytest.raises(UserMistake) as mistake:
        requirements.check_packages()
    assert str(mistake.value).splitlines()[1] == f'Or use the Python that `make train` installed them for: "{python}"'
    monkeypatch.setattr(requirements.sys, "executable", str(python))
    with pytest.raises(UserMistake) as mistake:
        requirements.check_packages()
    assert "make train" not in str(mistake.value)


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 14, 0), (2, 7, 18)])
def test_another_python_is_refused(version: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements.sys, "version_info", version)
    with pytest.raises(UserMistake, match=rf"This is Python {version[0]}\.{version[1]}; Python 3\.10, 3\.11, 3\.12 or 3\.13"):
        requirements.check_python()


def test_the_packages_checked_are_those_of_the_requirements() -> None:
    text = (SCRIPT.parent / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert {line.split(">=")[0] for line in lines} == {*requirements.PACKAGES, "chardet"}  # not every run needs chardet
    assert all(">=" in line and ",<" in line for line in lines)
