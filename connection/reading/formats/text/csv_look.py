"""One look at a CSV file: which separator, quotes and header line fit the columns that are wanted.

Whatever the constants leave open is decided by the file's first rows (its quotes by all of them); nothing is decided where
two readings fit equally well. What this finds is told to the user.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from connection.reading.formats.grid import Header, Record, find_header
from connection.reading.formats.table import NUMBER, Misfit, Reading, is_empty
from connection.reading.formats.text.csv_dialect import Dialect, Records
from connection.reading.formats.text.text_lines import read_lines

SEPARATORS = (",", ";", "\t", "|", "||")  # that are recognised; SEPARATOR can name any other
TAB_ENDINGS = (".tsv", ".tab")
SAMPLE_CHARACTERS = 300_000
HEAD = 100  # records in which the header is looked for
BOOLEANS = ("true", "false")


@dataclass
class Fit:
    """How well a dialect fits the first rows of a file.

    good, bad: rows that have, or lack, the right number of cells and a number as score. odd: rows of another width than most.
    broken: whether the quotes are not balanced. fingerprint: equal for dialects that give the same cells; stripped: of the
    cells without blanks before them.
    """

    dialect: Dialect
    header: Header = field(default_factory=lambda: Header(None))
    good: int = 0
    bad: int = 0
    widths: Counter[int] = field(default_factory=Counter)
    broken: bool = False
    fingerprint: int = 0
    stripped: int = 0

    @property
    def fits(self) -> bool:
        """Whether the wanted columns are there: by name, or by number in most rows."""
        return self.header.fits if self.header.names is not None else self.good > self.bad

    @property
    def clean(self) -> bool:
        return self.fits and not self.broken and not self.bad

    @property
    def odd(self) -> int:
        return self.widths.total() - self.usual[1]

    @property
    def usual(self) -> tuple[int, int]:
        """The most frequent number of cells, and the number of rows with it."""
        return self.widths.most_common(1)[0] if self.widths else (0, 0)


@dataclass(frozen=True)
class Look:
    """dialect, header: as they are to be read. skipped: lines at the start that are no part of the table (`sep=;`).

    advice: constants that would fit where the given ones do not, and their values.
    """

    dialect: Dialect
    header: Header
    skipped: int
    advice: dict[str, object]

    @property
    def notes(self) -> list[str]:
        return [*self.dialect.notes, *self.header.notes]


def look(path: Path, encoding: str, reading: Reading) -> Look:
    """Find the dialect and the header of a file. Raises Misfit where two separators fit equally well."""
    sample = _Sample(path, encoding)
    given = reading.separator or sample.separator
    separators = [given] if given else list(SEPARATORS)
    best = _best([sample.fit(Dialect(separator, reading.quoting), reading) for separator in separators], path, sample)
    advice: dict[str, object] = {}
    if reading.quoting:
        best = _with_variants(best, path, encoding, sample, reading)
    if not best.clean and not given and reading.quoting and reading.by_name:
        blanks = sample.fit(Dialect(" "), reading)  # as R's write.table divides quoted texts; nothing else may fit
        best = blanks if blanks.clean and blanks.good else best
    if not best.clean:
        best, advice = _advised(best, sample, reading)
    return Look(best.dialect, best.header, sample.skipped, advice)


class _Sample:
    """The first lines of a file. separator: what a first line `sep=;`, meant for spreadsheets, names; skipped: such lines."""

    def __init__(self, path: Path, encoding: str):
        self.name = str(path)
        self.lines: list[str] = []
        self.is_whole = True
        room = SAMPLE_CHARACTERS
        for line in read_lines(path, encoding, newline=""):
            if room <= 0:
                self.is_whole = False
                break
            self.lines.append(line)
            room -= len(line)
        first = self.lines[0].strip().strip('"') if self.lines else ""
        self.separator = first[4:] if first.lower().startswith("sep=") and len(first) == 5 else ""
        self.skipped = 1 if self.separator else 0

    def fit(self, dialect: Dialect, reading: Reading) -> Fit:
        return fit(self.lines[self.skipped :], dialect, reading, self.name, is_whole=self.is_whole, line=self.skipped)


def fit(lines: Iterable[str], dialect: Dialect, reading: Reading, name: str, *, is_whole: bool, line: int) -> Fit:
    """How well a dialect fits lines. is_whole: they are all of the file. line: the number of lines before them."""
    found = Fit(dialect)
    records = _guarded(Records(lines, dialect, name), found, is_whole)
    head = list(itertools.islice(records, HEAD))
    header = find_header(head, reading)
    found.header = replace(header, line=header.line + line)
    width, score = _expected(header, reading)
    below = head[header.above + 1 :] if header.names is not None else head
    for _, cells in itertools.chain(below, records):
        if is_empty(cells):
            continue
        found.fingerprint = hash((found.fingerprint, *cells))
        found.stripped = hash((found.stripped, *(cell.lstrip(" ") for cell in cells)))
        found.widths[len(cells)] += 1
        if _is_good(cells, width, score, exact=header.names is not None):
            found.good += 1
        else:
            found.bad += 1
    return found


def _guarded(records: Records, found: Fit, is_whole: bool) -> Iterator[Record]:
    """The records; of a sample, without the last one, which may be cut off. Notes quotes that are not balanced."""
    last: Record | None = None
    try:
        for record in records:
            if last is not None:
                yield last
            last = record
    except csv.Error as error:
        found.broken = is_whole or "end of data" not in str(error)
        is_whole = True
    if last is not None and is_whole:
        yield last


def _expected(header: Header, reading: Reading) -> tuple[int, int | None]:
    """The number of cells of a row (without a header: at least), and the index of the score."""
    if header.names is None:
        numbers = [column for column in reading.wanted if isinstance(column, int)]
        return max(numbers, default=1), reading.score - 1 if isinstance(reading.score, int) else None
    score = str(reading.score)
    return len(header.names), header.names.index(score) if header.names.count(score) == 1 else None


def _is_good(cells: list[str], width: int, score: int | None, *, exact: bool) -> bool:
    if len(cells) < width or (exact and len(cells) > width and not is_empty(cells[width:])):
        return False
    if score is None:
        return True
    text = cells[score].strip()
    return bool(NUMBER.fullmatch(text.replace(",", "."))) or text.lower() in BOOLEANS


def _best(fits: list[Fit], path: Path, sample: _Sample) -> Fit:
    """The dialect to read with. If none has the wanted columns, the one that divides the rows most evenly."""
    fitting = [found for found in fits if found.fits]
    if not fitting:
        return max(_without_halves(fits), key=_evenness)
    fitting = _without_halves(fitting)
    ranks = [(found.broken, found.bad, found.odd) for found in fitting]
    best = [found for found, rank in zip(fitting, ranks, strict=True) if rank == min(ranks)]
    tabs = [found for found in best if found.dialect.separator == "\t"]
    if path.suffix.lower() in TAB_ENDINGS and tabs:
        return tabs[0]
    if len({found.fingerprint for found in best}) > 1:
        raise Misfit(_ambiguous_text(path, best, sample), {"SEPARATOR": [found.dialect.separator for found in best]})
    return best[0]


def _without_halves(fits: list[Fit]) -> list[Fit]:
    """Without "|" where "||" divides the rows."""
    doubled = any(found.dialect.separator == "||" and found.usual[0] > 1 for found in fits)
    return [found for found in fits if found.dialect.separator != "|" or not doubled]


def _evenness(found: Fit) -> tuple[bool, bool, int, int]:
    """Greater for a dialect that divides more rows into the same number of cells, and into more of them."""
    width, rows = found.usual
    return not found.broken, width > 1, rows, width


def _ambiguous_text(path: Path, fits: list[Fit], sample: _Sample) -> str:
    line = next((text for text in sample.lines[sample.skipped :] if text.strip()), "").rstrip("\r\n")[:200]
    ways = "; ".join(f"{found.dialect.notes[0]} it has {len(line.split(found.dialect.separator))} cells" for found in fits)
    return f"{path} can be read in more than one way. Its first line: {ways}. Say which by SEPARATOR."


def _with_variants(best: Fit, path: Path, encoding: str, sample: _Sample, reading: Reading) -> Fit:
    """The same separator with other habits of quoting, if the file has signs of them and they fit better."""
    escapes = contains(path, encoding, '\\"')
    skips = contains(path, encoding, *(best.dialect.separator + " " * blanks + '"' for blanks in (1, 2, 3)))
    if not escapes and not skips:
        return best
    found = []
    for skips_blanks, escaped in itertools.product((False, True)[: 1 + skips], (False, True)[: 1 + escapes]):
        lines = itertools.islice(read_lines(path, encoding, newline=""), sample.skipped, None)
        dialect = replace(best.dialect, escapes=escaped, skips_blanks=skips_blanks)
        found.append(fit(lines, dialect, reading, str(path), is_whole=True, line=sample.skipped))
    plain, *others = found
    for other in others:
        better = (not other.fits, other.broken, other.bad) < (not plain.fits, plain.broken, plain.bad)
        hides_quotes = other.dialect.skips_blanks and other.clean and other.fingerprint != plain.stripped
        if better or (hides_quotes and not plain.dialect.skips_blanks):
            plain = other
    return plain


def contains(path: Path, encoding: str, *texts: str) -> bool:
    """Whether the bytes of a file contain one of the texts; in an encoding of several bytes one may be found wrongly."""
    codecs = [f"{encoding}-le", f"{encoding}-be"] if encoding in ("utf-16", "utf-32") else [encoding]
    signs = [text.encode(codec, "ignore") for text in texts for codec in codecs]
    before = b""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if any(sign in before + block for sign in signs):
                return True
            before = block[1 - max(map(len, signs)) :]
    return False


def _advised(best: Fit, sample: _Sample, reading: Reading) -> tuple[Fit, dict[str, object]]:
    """What would fit in place of the given constants. The fit is another one only where an error is certain: columns given by
    name are missing whichever way the rows are divided."""
    tried = [
        sample.fit(Dialect(separator, quoting), reading)
        for separator, quoting in itertools.product(dict.fromkeys((best.dialect.separator, *SEPARATORS)), (True, False))
    ]
    clean = [found for found in tried if found.clean]
    same = [found for found in clean if found.dialect.separator == best.dialect.separator]
    if same or clean:
        return best, _changes(best, (same or clean)[0], reading)
    likely = max(_without_halves(tried), key=_evenness)
    if not reading.by_name or best.fits or likely.usual[0] < len(reading.needed) or _evenness(likely) <= _evenness(best):
        return best, {}
    return best if likely.fits else likely, _changes(best, likely, reading)


def _changes(best: Fit, better: Fit, reading: Reading) -> dict[str, object]:
    changes: dict[str, object] = {}
    if better.dialect.separator != best.dialect.separator and reading.separator:
        changes["SEPARATOR"] = better.dialect.separator
    if better.dialect.quoting != best.dialect.quoting:
        changes["QUOTING"] = better.dialect.quoting
    return changes
