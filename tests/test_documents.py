"""Documents are true: their commands and lines of Python are run, in order and as they stand, in a copy of the project.

What installs, fetches, tests or measures is not run but checked in another way: `CHECKED` says how.
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
import downloadBert
from connection.constants import KINDS
from connection.script.requirements import is_installed
from connection.script.settings import read_constants, read_settings

ROOT = Path(script.__file__).resolve().parent
DOCUMENTS = ["README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]
OWN_FILE = "sentence1,sentence2,score\n" + "".join(f"cat {i},dog {i * i},{i % 3 / 2}\n" for i in range(40))

FOLDERS = ("connection", "data", "docs")
PUBLISHED = {"bert-base-uncased", "klue/bert-base"}  # names on the model hub that our documents may tell people to fetch


@dataclass(frozen=True)
class Block:
    """A fenced block of a document: its language, its text, and where it begins."""

    language: str
    text: str
    where: str

    @property
    def sets_constants(self) -> bool:
        """Whether these lines of Python are constants to edit at the top of the script."""
        names = {constant.name for constant in read_constants(Path(script.__file__).read_text(encoding="utf-8"), KINDS)}
        body = ast.parse(self.text).body if self.language == "python" else []
        return bool(body) and all(isinstance(node, ast.Assign) and node.targets[0].id in names for node in body)


def read_blocks(document: str) -> Iterator[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, flags=re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found[2], textwrap.dedent(found[3]), f"{document}:{line}")


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
        self.environment = os.environ | {"OMP_NUM_THREADS": "2" if same_encoder else "1", "PYTHONUTF8": "1"}
        self.printed, self.refused = "", False  # by the last command
        self.told: list[str] = []  # by each block of Python

    def follow(self, document: str) -> None:
        for block in read_blocks(document):
            assert not self.refused or block.language == "text", f"{block.where}: refused before it: {self.printed}"
            if block.language == "sh":
                for command in block.text.splitlines():
                    if not check_instead(command):
                        self.run(command, block)
            elif block.sets_constants:
                self.edit(block.text)
            elif block.language == "python" and has_its_packages(block):
                self.run(["python", "-c", block.text], block)
                self.told.append(self.printed)
            elif block.language == "text":
                self.compare(block)
                self.refused = False

    def run(self, command: str | list[str], block: Block) -> None:
        """Run a command. One that is refused (status 2) must be followed by the text that it is refused with."""
        assert not self.refused, f"{block.where}: refused before it: {self.printed}"
        done = warm.run(python_words(command), cwd=self.project, env=self.environment, cold=self.same_encoder)
        assert done.returncode in (0, 2) and "Traceback" not in done.stderr, f"{block.where}: {done.stderr}"
        self.refused = done.returncode == 2
        self.printed = (done.stdout + done.stderr).replace(f"{self.project}{os.sep}", "").replace("\\", "/")

    def edit(self, constants: str) -> None:
        """Put these constants in the place of the script's own."""
        path = self.project / Path(script.__file__).name
        text = path.read_text(encoding="utf-8")
        for line in constants.splitlines():
            text, count = re.subn(rf"^{line.partition(' =')[0]} = .*$", line, text, flags=re.MULTILINE)
            assert count == 1, line
        path.write_text(text, encoding="utf-8")

    def compare(self, block: Block) -> None:
        """Each line shown was printed, in this order; of lines with measured figures, the figures may differ."""
        printed = iter(self.printed.splitlines())
        for line in filter(None, block.text.splitlines()):
            assert any(self.is_alike(line, other) for other in printed), f"{block.where}: {line!r} is not in\n{self.printed}"

    def is_alike(self, shown: str, printed: str) -> bool:
        if not _MEASURED.search(shown):
            return shown == printed.rstrip()
        if _shape(shown) != _shape(printed):
            return False
        figures = [[float(figure) for figure in _FIGURE.findall(line)] for line in (shown, printed)]
        return not self.same_encoder or figures[0] == pytest.approx(figures[1], abs=0.05)


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


_FIGURE = re.compile(r"(?<![\d.:])-?\d\.\d{2,4}(?![\d:.]| s)")  # a correlation, a loss or a similarity
_MEASURED = re.compile(rf"^(Device|Encoder|Padding|Tokens a sentence):|\d:\d\d:\d\d|{_FIGURE.pattern}")


def _shape(line: str) -> str:
    """A line without its figures, and without what depends on them.

    >>> _shape("After step 33: dev Spearman 0.5890, loss 0.0664 (0:00:00), the best so far")
    'After step 0: dev Spearman 0, loss 0 (0)'
    """
    if line.startswith(("Device:", "Padding:")):
        return line.partition(":")[0]
    line = line.replace(", the best so far", "")
    return " ".join(re.sub(r"-?\d[\d,.:]*\d|-?\d", "0", line).split())


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project as git has it, without its tests, and a file of pairs of the reader's own."""
    files = [*ROOT.glob("*.*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*"))]
    for path in (path for path in files if path.is_file() and path.name != ".git" and path.suffix != ".pyc"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    (tmp_path / "pairs.csv").write_text(OWN_FILE, encoding="utf-8")
    return tmp_path


def install(encoder: Path, project: Path) -> None:
    """Put an encoder where downloadBert.py puts the one that the documents tell people to fetch."""
    shutil.copytree(encoder, project / "transformers" / "bert" / downloadBert.EMBEDDED, symlinks=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_all_that_a_document_says_to_do_can_be_done(document: str, project: Path, tiny_encoder: Path) -> None:
    """With a tiny encoder in the place of the real ones, so that it takes seconds; figures differ, sentences do not."""
    install(tiny_encoder, project)
    reader = Reader(project, same_encoder=False)
    reader.follow(document)
    if document == "README.md":  # which shows the same similarity, computed by ours and by theirs
        figures = [float(re.search(r"-?\d\.\d+", told)[0]) for told in reader.told]
        assert figures == pytest.approx(figures[:1] * len(figures), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_figures_shown_in_a_document_are_those_that_come_out(document: str, project: Path, minilm: Path) -> None:
    install(minilm, project)
    Reader(project, same_encoder=True).follow(document)


def test_commands_in_the_prose_of_a_document_can_be_given() -> None:
    """Those that are not run are checked as in the blocks; others stand in a block too, and are run there."""
    for document in [*DOCUMENTS, "README.ko.md"]:
        text = (ROOT / document).read_text(encoding="utf-8")
        blocks = "".join(block.text for block in read_blocks(document) if block.language == "sh")
        for command in re.findall(r"`((?:python|make|pip) [^`]+)`", text):
            assert check_instead(command) or command in blocks, f"{document}: {command}"


def test_a_document_that_is_wrong_is_found_out(project: Path, tiny_encoder: Path) -> None:
    install(tiny_encoder, project)
    reader = Reader(project, same_encoder=False)
    reader.run("python bertFineTuningWithConnectionData.py --epoch 2", Block("sh", "", "here"))
    reader.compare(Block("text", 'There is no flag "--epoch"; did you mean --epochs?\n', "here"))
    with pytest.raises(AssertionError, match="is not in"):
        reader.compare(Block("text", 'There is no flag "--epoch".\n', "here"))
    with pytest.raises(AssertionError, match="refused before it"):
        reader.run("python bertFineTuningWithConnectionData.py", Block("sh", "", "here"))
    assert reader.is_alike("Dev  Spearman 0.5774 before, 0.6053 after", "Dev  Spearman -0.1 before, 0.2 after")
    assert not reader.is_alike("Dev  Spearman 0.5774 before, 0.6053 after", "Dev  Pearson -0.1 before, 0.2 after")
    reader.same_encoder = True
    assert not reader.is_alike("Dev  Spearman 0.5774 before", "Dev  Spearman 0.6474 before")
    for command in (
        "python downloadBert.py bert-base-uncsaed",
        "python -m pip install -r none.txt",
        "python -m pytest tests/test_nothing.py",
        "python benchmarks/accuracy.py --epoch 3",
    ):
        with pytest.raises((AssertionError, FileNotFoundError)):
            check_instead(command)
    assert check_instead("STSB=/data python benchmarks/accuracy.py --epochs 3")
