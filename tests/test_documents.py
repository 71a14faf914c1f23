"""Documents are true: their commands and lines of Python are run, in order and as they stand, in a copy of the project.

What installs, fetches, tests or measures is not run but checked in another way: `CHECKED` says how.

With the encoder that the documents use, the figures that they show are compared with those that come out. A run is
deterministic on one machine, but CPUs with other instructions (AVX2, AVX-512) round differently: a figure with four decimals
may differ by 2 in the fourth; everything else must be equal. Only times, speeds and the name of the device are not compared.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm
from packaging.requirements import Requirement

import bertFineTuningWithConnectionData as script
import bertMiningWithConnectionData as mining_script
import bertScoringWithConnectionData as scoring_script
import bertSearchWithConnectionData as search_script
import downloadBert
from connection.constants import KINDS, MINING_KINDS, SCORING_KINDS, SEARCH_KINDS
from connection.script.requirements import is_installed
from connection.script.settings import read_settings

ROOT = Path(script.__file__).resolve().parent
DOCUMENTS = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
ASKING = ["docs/questions-and-answers.md", "docs/questions-and-answers.ko.md"]  # which needs an encoder that understands
GUIDES = ["docs/your-own-data.md", "docs/your-own-data.ko.md", *ASKING]
KINDS_OF = {script: KINDS, scoring_script: SCORING_KINDS, search_script: SEARCH_KINDS, mining_script: MINING_KINDS}
SCRIPTS = {Path(module.__file__).name: kinds for module, kinds in KINDS_OF.items()}
SCRIPT_FILES = {Path(module.__file__).name: module for module in KINDS_OF}
# Files that a reader has: pairs of their own, and KorSTS as published, where double quotes are ordinary characters.
OWN_FILE = "sentence1,sentence2,score\n" + "".join(f"cat {i},dog {i * i},{i % 3 / 2}\n" for i in range(40))
KORSTS = "genre\tfilename\tyear\tid\tscore\tsentence1\tsentence2\n" + "".join(
    f'main-news\theadlines\t2015\t{i:04}\t{i % 6:.3f}\t"고양이 {i}마리가 잔다.\t강아지 {i}마리가 논다.\n' for i in range(20)
)
READERS_FILES = {"pairs.csv": OWN_FILE} | {f"sts-{name}.tsv": KORSTS for name in ("train", "dev", "test")}

FOLDERS = ("connection", "data", "docs")
# Names on the model hub that our documents may tell people to fetch.
PUBLISHED = {"bert-base-uncased", "klue/bert-base", "klue/roberta-base", "intfloat/multilingual-e5-small"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a document: its language, its text, where it begins, and the CSV file that is named last before it."""

    language: str
    text: str
    where: str
    csv_file: str = ""

    @property
    def edits(self) -> str | None:
        """The script at whose top these lines of Python are constants to edit; None if they are none."""
        body = ast.parse(self.text).body if self.language == "python" else []
        names = {ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else "" for node in body}
        return next((file for file, kinds in SCRIPTS.items() if names and names <= kinds.keys()), None)


def read_blocks(document: str) -> Iterator[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        named = re.findall(r"[\w./-]+\.csv", text[: found.start()])
        yield Block(found[2], textwrap.dedent(found[3]), f"{document}:{line}", named[-1] if named else "")


# --- what installs, fetches, tests or measures ---


def check_requirements(name: str) -> None:
    """Each line names a package with bounds on both sides, and what is installed here is within them."""
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            check_requirements(line.removeprefix("-r "))
        elif line:
            wanted = Requirement(line)
            assert {bound.operator for bound in wanted.specifier} == {">=", "<"}, line
            try:
                assert wanted.specifier.contains(importlib.metadata.version(wanted.name)), line
            except importlib.metadata.PackageNotFoundError:
                assert name != "requirements.txt", line


def check_download(name: str) -> None:
    """downloadBert.py takes this name for that of an encoder; the fetching itself is tested in test_hub and test_download."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(downloadBert, "download", lambda *arguments: asked.append(arguments))
        assert downloadBert.main([name]) == 0
    assert asked == [(name, ROOT / "transformers" / "bert")]
    assert name in {*downloadBert.KNOWN, *PUBLISHED}


def check_make(target: str, flags: str | None = None) -> None:
    """make knows what to do for this target: its last command is a script of ours, which takes these flags, or pytest."""
    read_settings(script.__file__, vars(script), KINDS, (flags or "").split())
    if not shutil.which("make"):
        pytest.skip("there is no make here")
    command = ["make", "--no-print-directory", "-n", target, f"FLAGS={flags or ''}"]
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}  # make test
    told = subprocess.run(command, cwd=ROOT, env=alone, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    last = {"train": "python bertFineTuningWithConnectionData.py $flags", "test": "python -m pytest"}
    assert last[target] in told.stdout.splitlines()[-1] and told.stdout.rstrip().endswith(flags or "")


def check_package(name: str, requirements: str = "requirements.txt") -> None:
    lines = (ROOT / requirements).read_text(encoding="utf-8").splitlines()
    assert name in {re.split(r"\W", line)[0] for line in lines}


def check_tests(options: str) -> None:
    """pytest is installed with the tests' requirements, and the files that it is asked for are there."""
    check_package("pytest", "requirements-test.txt")
    for word in options.split():
        assert not word.startswith("tests/") or (ROOT / word.partition("::")[0]).exists(), word


def check_measurement(file: str, options: str) -> None:
    """A measurement takes minutes or hours; its script is there and knows these flags."""
    assert set(re.findall(r"--[a-z-]+", options)) <= flags_of_measurement(file), options


@functools.cache
def flags_of_measurement(file: str) -> set[str]:
    told = warm.run([ROOT / file, "--help"])
    assert told.returncode == 0, told.stderr
    return set(re.findall(r"--[a-z-]+", told.stdout))


CHECKED: dict[str, Callable[..., None]] = {
    r"python -m pip install -r (\S+)": check_requirements,
    r"python downloadBert\.py (\S+)": check_download,
    r'make (train|test)(?: FLAGS="(.+)")?': check_make,
    r"pip install (torch)": check_package,
    r"(?:[A-Z]+=\S+ )?python -m pytest(.*)": check_tests,
    r"(?:[A-Z]+=\S+ )?python (benchmarks/\w+\.py)(.*)": check_measurement,
}


def check_instead(command: str) -> bool:
    """Check a command that is not run; False if it is none of these."""
    for pattern, check in CHECKED.items():
        if found := re.fullmatch(pattern, command):
            check(*found.groups())
            return True
    return False


# --- what is run ---


class Reader:
    """Somebody who does what a document says, in a copy of the project.

    same_encoder: whether it has the encoder whose figures the documents show, so that these can be compared.
    """

    def __init__(self, project: Path, *, same_encoder: bool):
        self.project, self.same_encoder = project, same_encoder
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        self.printed, self.refused = "", False  # by the last command
        self.told: list[str] = []  # by each block of Python

    def follow(self, document: str) -> None:
        for block in read_blocks(document):
            assert not self.refused or block.language == "text", f"{block.where}: refused before it: {self.printed}"
            if block.language == "sh":
                for command in block.text.splitlines():
                    if not check_instead(command):
                        self.run(command, block)
            elif block.edits:
                self.edit(block.edits, block.text)
            elif block.language == "python" and has_its_packages(block):
                self.run(["python", "-c", block.text], block)
                self.told.append(self.printed)
            elif block.language == "text":
                self.compare(block, self.printed)
                self.refused = False
            elif block.language == "csv":
                self.compare(block, self.read_csv(block.csv_file))

    def run(self, command: str | list[str], block: Block) -> None:
        """Run a command. One that is refused (status 2) must be followed by the text that it is refused with."""
        assert not self.refused, f"{block.where}: refused before it: {self.printed}"
        done = warm.run(python_words(command), cwd=self.project, env=self.environment)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, f"{block.where}: {done.stderr}"
        self.refused = done.returncode == 2
        self.printed = (done.stdout + done.stderr).replace(f"{self.project}{os.sep}", "").replace("\\", "/")

    def read_csv(self, name: str) -> str:
        """A file that a document names, from the project's folder or from docs/."""
        path = next(path for path in (self.project / name, self.project / "docs" / name) if path.is_file())
        return path.read_text(encoding="utf-8-sig")

    def edit(self, file: str, constants: str) -> None:
        """Put these constants in the place of the script's own."""
        path = self.project / file
        text = path.read_text(encoding="utf-8")
        for line in constants.splitlines():
            text, count = re.subn(rf"^{line.partition(' =')[0]} = .*$", line, text, flags=re.MULTILINE)
            assert count == 1, line
        path.write_text(text, encoding="utf-8")

    def compare(self, block: Block, text: str) -> None:
        """Each line shown is one of the text's, in this order; "…" stands for lines left out."""
        printed = iter(text.splitlines())
        for line in block.text.splitlines():
            if line not in ("", "…"):
                assert any(self.is_alike(line, other) for other in printed), f"{block.where}: {line!r} is not in\n{text}"

    def is_alike(self, shown: str, printed: str) -> bool:
        if shown.startswith("Device:"):
            return printed.startswith("Device:")
        if not self.same_encoder:
            return _shape(shown) == _shape(printed) if _MEASURED.search(shown) else shown == printed.rstrip()
        (shown, figures), (printed, others) = _parts(shown), _parts(printed)
        return shown == printed and all(abs(one - other) <= 2 for one, other in zip(figures, others, strict=True))


def python_words(command: str | list[str]) -> list[str]:
    """What stands after `python` in a command, which must ask nothing of the shell but to part its words."""
    if isinstance(command, str):
        assert not set(command) & set("$`*?[]{}()<>|&;~#!\\\n"), command
        command = shlex.split(command)
    assert command[0] == "python", command
    return command[1:]


def has_its_packages(block: Block) -> bool:
    """Whether what these lines of Python import is installed: the oracle may be absent."""
    imported = re.findall(r"^(?:from|import) (\w+)", block.text, flags=re.MULTILINE)
    return all(name.startswith("Connection") or is_installed(name) for name in imported)


_FOUR_DECIMALS = re.compile(r"(?<![\d.])-?\d+\.\d{4,}(?![\d.])")  # a correlation, a loss or a similarity
_CLOCK = re.compile(r"\d:\d\d:\d\d|[\d,]+ pairs, [\d,]+ tokens a second|\d+ steps of [\d.]+ s")
_MEASURED = re.compile(rf"^(Encoder|Padding|Tokens a sentence):|\d%|\d\.\d\d|{_CLOCK.pattern}")  # depends on the encoder


def _parts(line: str) -> tuple[str, list[int]]:
    """A line without times and figures with four decimals or more, and these figures in units of the fourth decimal.

    >>> _parts("After step 33: dev Spearman 0.5890, loss 0.06641 (0:00:00)")
    ('After step 33: dev Spearman #, loss # (#)', [5890, 664])
    """
    figures = [round(float(figure) * 10_000) for figure in _FOUR_DECIMALS.findall(line)]
    return " ".join(_CLOCK.sub("#", _FOUR_DECIMALS.sub("#", line)).split()), figures


def _shape(line: str) -> str:
    """A line without its figures, and without what depends on them.

    >>> _shape("After step 33: dev Spearman 0.5890, loss 0.0664 (0:00:00), the best so far")
    'After step 0: dev Spearman 0, loss 0 (0)'
    """
    if line.startswith("Padding:"):
        return "Padding"
    line = re.sub(r", the best so far|; change .*", "", line)
    return " ".join(re.sub(r"-?\d+(?:,\d{3})*(?:[.:]\d+)*", "0", line).split())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project as git has it, without its tests, and the reader's own files of pairs."""
    files = [*ROOT.glob("*.*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]
    for path in (path for path in files if path.is_file() and path.name != ".git" and path.suffix != ".pyc"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for name, text in READERS_FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def install(encoder: Path, project: Path) -> None:
    """Put an encoder where downloadBert.py puts the one that the documents tell people to fetch."""
    shutil.copytree(encoder, project / "transformers" / "bert" / downloadBert.EMBEDDED, symlinks=True)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name not in ASKING])
def test_all_that_a_document_says_to_do_can_be_done(document: str, project: Path, tiny_encoder: Path) -> None:
    """With a tiny encoder in the place of the real ones, so that it takes seconds; figures differ, sentences do not."""
    install(tiny_encoder, project)
    reader = Reader(project, same_encoder=False)
    reader.follow(document)
    if document == "README.md":  # which shows the same similarity, computed by ours and by theirs
        figures = [float(re.search(r"-?\d\.\d+", told)[0]) for told in reader.told]
        assert figures == pytest.approx(figures[:1] * len(figures), abs=1e-4)


@pytest.mark.parametrize("document", ASKING)
def test_the_commands_of_the_guide_of_questions_and_answers_can_be_given(document: str) -> None:
    """Their flags and constants are the scripts' and may have these values; they are run, with all figures, by a slow test."""
    for block in read_blocks(document):
        for command in block.text.splitlines() if block.language == "sh" and not block.edits else ():
            if not check_instead(command):
                file, *flags = python_words(command)
                read_settings(SCRIPT_FILES[file].__file__, vars(SCRIPT_FILES[file]), SCRIPTS[file], flags)
        if block.edits:
            flags = [f"--{line.partition(' =')[0]}".lower().replace("_", "-") for line in block.text.splitlines()]
            values = [str(ast.literal_eval(line.partition("= ")[2])) for line in block.text.splitlines()]
            words = [f"{flag}={value}" for flag, value in zip(flags, values, strict=True)]
            read_settings(SCRIPT_FILES[block.edits].__file__, vars(SCRIPT_FILES[block.edits]), SCRIPTS[block.edits], words)


@pytest.mark.slow
@pytest.mark.parametrize("document", [*GUIDES, "README.md"])
def test_the_figures_shown_in_a_document_are_those_that_come_out(document: str, project: Path, minilm: Path) -> None:
    install(minilm, project)
    Reader(project, same_encoder=True).follow(document)


@pytest.mark.parametrize("document", [*DOCUMENTS, "README.ko.md"])
def test_figures_in_the_prose_of_a_document_are_in_its_blocks_or_were_measured(document: str) -> None:
    """What was measured is in benchmarks/README.md."""
    shown = "".join(block.text for block in read_blocks(document)) + (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    for figure in _FOUR_DECIMALS.findall((ROOT / document).read_text(encoding="utf-8")):
        assert figure in shown, figure


def test_commands_in_the_prose_of_a_document_can_be_given() -> None:
    """Those that are not run are checked as in the blocks; others stand in a block too, and are run there."""
    for document in [*DOCUMENTS, "README.ko.md"]:
        text = (ROOT / document).read_text(encoding="utf-8")
        blocks = "".join(block.text for block in read_blocks(document) if block.language == "sh")
        for command in re.findall(r"`((?:python|make|pip) [^`]+)`", text):
            assert check_instead(command) or command in blocks, f"{document}: {command}"


@pytest.mark.parametrize("document", [*DOCUMENTS, "README.ko.md", "data/README.md"])
def test_documents_show_empty_values_as_every_shell_passes_them_on(document: str) -> None:
    """`--dev-file=`: PowerShell 5 drops the empty word of `--dev-file ""`."""
    assert not re.search(r"--[a-z0-9-]+ (\"\"|'')", (ROOT / document).read_text(encoding="utf-8"))


def test_a_document_that_is_wrong_is_found_out(project: Path, tiny_encoder: Path) -> None:
    install(tiny_encoder, project)
    reader = Reader(project, same_encoder=False)
    reader.run("python bertFineTuningWithConnectionData.py --epoch 2", Block("sh", "", "here"))
    reader.compare(Block("text", '…\nThere is no flag "--epoch"; did you mean --epochs?\n', "here"), reader.printed)
    with pytest.raises(AssertionError, match="is not in"):
        reader.compare(Block("text", 'There is no flag "--epoch".\n', "here"), reader.printed)
    with pytest.raises(AssertionError, match="refused before it"):
        reader.run("python bertFineTuningWithConnectionData.py", Block("sh", "", "here"))
    assert reader.is_alike("Dev  Spearman 0.5774 before, 0.6053 after", "Dev  Spearman -0.1 before, 0.2 after")
    assert not reader.is_alike("Dev  Spearman 0.5774 before, 0.6053 after", "Dev  Pearson -0.1 before, 0.2 after")
    reader.same_encoder = True
    assert reader.is_alike("Dev  Spearman 0.5774 before", "Dev  Spearman 0.5772 before")
    assert not reader.is_alike("Dev  Spearman 0.5774 before", "Dev  Spearman 0.5771 before")
    assert not reader.is_alike("Mean error of score_predicted: 0.766", "Mean error of score_predicted: 0.767")
    assert reader.is_alike("elapsed 0:00:01, 12 steps of 0.1 s", "elapsed 0:01:07, 12 steps of 0.36 s")
    assert reader.is_alike("A cat.,A dog.,0.4427,0.7168", "A cat.,A dog.,0.442746227,0.71678")
    for command in (
        "python downloadBert.py bert-base-uncsaed",
        "python -m pip install -r none.txt",
        "python -m pytest tests/test_nothing.py",
        "python benchmarks/accuracy.py --epoch 3",
    ):
        with pytest.raises((AssertionError, FileNotFoundError)):
            check_instead(command)
    assert check_instead("STSB=/data python benchmarks/accuracy.py --epochs 3")
