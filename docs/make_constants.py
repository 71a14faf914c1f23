"""Write docs/constants.md from the constants of the scripts and the comments above them.

Run it after a change of a constant or its comment:  python docs/make_constants.py
docs/constants.ko.md has the same tables in Korean and is written by hand.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "constants.md"
HEAD = """\
# The constants

English | [한국어](constants.ko.md)

<!-- Written by docs/make_constants.py from the comments in the scripts. Edit those, then run it again. -->

Each script has its constants at the top. Each constant is also a flag that overrides it for one run:

| kind | in the script | as a flag |
| --- | --- | --- |
| text, number, file or folder | `TRAIN_FILE = "pairs.csv"` | `--train-file pairs.csv` |
| empty text | `DEV_FILE = ""` | `--dev-file=` |
| True or False | `QUOTING = False` | `--no-quoting` (True: `--quoting`) |
| two numbers | `SCORE_RANGE = (0, 1)` | `--score-range 0 1` |
| a tab | `SEPARATOR = "\\t"` | `--separator "\\t"` |

A relative path in a constant starts at the script's folder, in a flag at the current folder. `--help` lists all flags.
A wrong name or value is reported before anything is loaded.
"""


def page() -> str:
    """The text of docs/constants.md."""
    sys.path.insert(0, str(ROOT))
    from connection.constants import KINDS, MINING_KINDS, SCORING_KINDS, SEARCH_KINDS
    from connection.script.settings import described, read_constants

    parts = [HEAD]
    scripts = {
        "Training": ("bertFineTuningWithConnectionData.py", KINDS),
        "Scoring": ("bertScoringWithConnectionData.py", SCORING_KINDS),
        "Search": ("bertSearchWithConnectionData.py", SEARCH_KINDS),
        "Mining": ("bertMiningWithConnectionData.py", MINING_KINDS),
    }
    for title, (file, kinds) in scripts.items():
        source = (ROOT / file).read_text(encoding="utf-8")
        parts.append(f"\n## {title}: `{file}`\n")
        group = ""
        for constant in read_constants(source, kinds):
            if constant.group != group:
                group = constant.group
                parts.append(f"\n| {group} | |\n| --- | --- |\n")
            meaning = described(constant, kinds[constant.name])
            parts.append(f"| `{constant.name} = {default(source, constant.name)}` | {meaning} |\n")
    return "".join(parts)


def default(source: str, name: str) -> str:
    """The value of a constant as the script writes it.

    >>> default("RATE = 2e-5  # usual", "RATE")
    '2e-5'
    """
    (value,) = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    ]
    return str(ast.get_source_segment(source, value))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8", newline="\n")
