"""README, the tables of constants and the list of files are true, and both languages say the same.

What it tells people to do is done by tests/test_documents.py.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import warm

import bertFineTuningWithConnectionData as script
import bertMiningWithConnectionData as mining_script
import bertScoringWithConnectionData as scoring_script
import bertSearchWithConnectionData as search_script
from connection.constants import KINDS, MINING_KINDS, SCORING_KINDS, SEARCH_KINDS
from connection.script.settings import described, read_constants

ROOT = Path(script.__file__).resolve().parent
README, KOREAN = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ko.md"))
CONSTANTS, KOREAN_CONSTANTS = (
    (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("constants.md", "constants.ko.md")
)
SOURCES = [
    (Path(each.__file__).read_text(encoding="utf-8"), kinds)
    for each, kinds in (
        (script, KINDS),
        (scoring_script, SCORING_KINDS),
        (search_script, SEARCH_KINDS),
        (mining_script, MINING_KINDS),
    )
]
PAGES = ["README.md", "data/README.md", *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*.md")))]


def constants_of(readme: str) -> list[tuple[str, str]]:
    """The names and defaults in the tables of constants, in their order."""
    return re.findall(r"^\| `([A-Z0-9_]+) = (.+?)` \| .+ \|$", readme, flags=re.MULTILINE)


def blocks_of(readme: str, *languages: str) -> list[str]:
    return [
        text for language, text in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", readme, flags=re.M | re.S) if language in languages
    ]


def tree_of(readme: str) -> list[str]:
    """The files of the tree, each by its path."""
    (tree,) = blocks_of(readme, "")
    named, folder = [], ""
    for line in tree.splitlines():
        name, phrase = line.split(maxsplit=1)
        assert phrase, name
        if not line.startswith(" "):
            folder = name if name.endswith("/") else ""
        named.append(folder + name if line.startswith(" ") else name)
    return named


@pytest.mark.parametrize("page", [CONSTANTS, KOREAN_CONSTANTS], ids=["English", "Korean"])
def test_every_constant_is_listed_with_its_default_in_the_scripts_order(page: str) -> None:
    defaults = [
        (node.targets[0].id, ast.literal_eval(node.value))
        for source, _ in SOURCES
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    ]
    assert [(name, ast.literal_eval(value)) for name, value in constants_of(page)] == defaults


def test_every_constant_is_listed_with_its_meaning() -> None:
    for source, kinds in SOURCES:
        for constant in read_constants(source, kinds):
            assert f"` | {described(constant, kinds[constant.name])} |" in CONSTANTS, constant.name


def test_the_page_of_constants_is_what_its_command_writes(tmp_path: Path) -> None:
    """Otherwise: python docs/make_constants.py"""
    write = f"import runpy; from pathlib import Path; page = runpy.run_path({str(ROOT / 'docs/make_constants.py')!r})['page']()"
    done = warm.run(["-c", f"{write}; Path('page').write_text(page, encoding='utf-8')"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page").read_text(encoding="utf-8") == CONSTANTS


def test_the_file_tree_names_every_file_and_no_other() -> None:
    named = tree_of((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) == len(set(named))
    for name in named:
        assert (ROOT / name).exists(), name
    for pattern in ("*.py", "*.txt", "*.md", "connection/**/*.*", "benchmarks/*.py", "data/*.csv", "docs/*.*"):
        for path in ROOT.glob(pattern):
            relative = path.relative_to(ROOT).as_posix()
            if path.name != "__init__.py" and "__pycache__" not in path.parts:
                assert relative in named, relative


@pytest.mark.parametrize("name", ["README", "docs/constants", "docs/your-own-data", "docs/questions-and-answers"])
def test_each_language_names_the_other_in_its_first_lines(name: str) -> None:
    for page, other in ((f"{name}.md", f"{name}.ko.md"), (f"{name}.ko.md", f"{name}.md")):
        assert f"({Path(other).name})" in (ROOT / page).read_text(encoding="utf-8")[:200]


@pytest.mark.parametrize("page", ["README.md", "README.ko.md"])
def test_readme_is_read_in_a_few_minutes(page: str) -> None:
    assert len((ROOT / page).read_text(encoding="utf-8").splitlines()) <= 150


def test_the_two_readmes_do_not_drift_apart() -> None:
    headings = [[line.split(" ", 1)[0] for line in re.findall(r"^#+ .+", text, flags=re.M)] for text in (README, KOREAN)]
    assert headings[0] == headings[1]
    languages = ("sh", "python", "text", "csv")
    assert blocks_of(README, *languages) == blocks_of(KOREAN, *languages)
    assert rows_of(README) == rows_of(KOREAN)
    figures = [set(re.findall(r"(?<!\w)\d+\.\d+", without_blocks(text))) for text in (README, KOREAN)]
    assert figures[0] - {"22.7"} == figures[1]  # "22.7 M parameters" is "2,270만" in Korean
    links = [set(re.findall(r"\]\(([^)#]+)", without_blocks(text))) for text in (README, KOREAN)]
    assert {link.replace(".ko.md", ".md") for link in links[0]} == {link.replace(".ko.md", ".md") for link in links[1]}


def test_the_two_pages_of_constants_do_not_drift_apart() -> None:
    tables = [re.findall(r"^\|.*?\|", page, flags=re.M) for page in (CONSTANTS, KOREAN_CONSTANTS)]
    assert len(tables[0]) == len(tables[1])
    assert constants_of(CONSTANTS) == constants_of(KOREAN_CONSTANTS)
    flags = [re.findall(r"`--[a-z-]+[^`\n]*`", page) for page in (CONSTANTS, KOREAN_CONSTANTS)]
    assert flags[0] == flags[1]


def rows_of(readme: str) -> list[str]:
    """What stands in the first column of every table, between backquotes."""
    return re.findall(r"^\| (`.+?`) \|", readme, flags=re.MULTILINE)


def without_blocks(readme: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", readme, flags=re.M | re.S)


@pytest.mark.parametrize("command", ["make train", "make test", "python bertFineTuningWithConnectionData.py"])
def test_the_commands_stand_there(command: str) -> None:
    assert command in "".join(blocks_of(README, "sh"))


def anchor(heading: str) -> str:
    """The place of a heading in its page, as the common forges name it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", [*PAGES, "README.ko.md", "benchmarks/README.md"])
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        file, _, place = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), target
        headings = re.findall(r"^#+ (.+)", there.read_text(encoding="utf-8"), flags=re.MULTILINE) if place else []
        assert not place or place in map(anchor, headings), target
