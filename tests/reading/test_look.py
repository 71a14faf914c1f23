"""One look at a CSV file: what the constants leave open is found and told, or refused with flags to paste."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from connection import UserMistake
from connection.reading.formats.table import Misfit, paste_text
from connection.reading.layout import Layout
from connection.reading.pairs import Pairs, read_pairs
from connection.reading.splits import read_files

NAMES = ["sentence1", "sentence2", "score"]
ROWS = [["A kettle, old.", "A pot; new.", "4.5"], ["The bus left.", "It departed.", "4"], ["He lost it.", "Open late.", "0"]]
NUMBERS = Layout(1, 2, 3)


def csv_text(rows: list[list[str]], separator: str = ",", quote: str = '""', before: str = "") -> str:
    """Rows as CSV with every cell but the last in quotes. quote: how a quote in a cell is written. before: each quote that
    opens a cell."""
    cells = [[f'{before}"{cell.replace(chr(34), quote)}"' for cell in row[:-1]] + row[-1:] for row in rows]
    return "\n".join(separator.join(row).lstrip() for row in cells) + "\n"


def read(folder: Path, text: str, layout: Layout | None = None, name: str = "pairs.csv") -> Pairs:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return read_pairs(path, layout or Layout(), keep_cells=True)


def misfit(folder: Path, text: str, layout: Layout | None = None, name: str = "pairs.csv") -> Misfit:
    with pytest.raises(Misfit) as caught:
        read(folder, text, layout, name)
    return caught.value


def pairs_of(pairs: Pairs) -> list[list[str]]:
    return [[row.sentence1, row.sentence2, f"{row.score * 5:g}"] for row in pairs.table.itertuples()]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "||"])
@pytest.mark.parametrize("layout", [Layout(), NUMBERS], ids=["by name", "by number"])
def test_the_separator_is_found_and_told(tmp_path: Path, separator: str, layout: Layout) -> None:
    rows = ROWS if layout is NUMBERS else [NAMES, *ROWS]
    pairs = read(tmp_path, csv_text(rows, separator), layout, "pairs.txt")
    assert pairs_of(pairs) == ROWS
    told = "a tab" if separator == "\t" else repr(separator)
    assert pairs.notes == ["UTF-8", f"separated by {told}"] and pairs.detected["SEPARATOR"] == separator


@pytest.mark.parametrize("separator", ["::", " ||| ", "§", "\x01"])
def test_any_other_separator_can_be_given(tmp_path: Path, separator: str) -> None:
    quoted = [["with " + separator + " within", "B", "1"], *ROWS]
    assert pairs_of(read(tmp_path, csv_text([NAMES, *quoted], separator), Layout(separator=separator))) == quoted


def test_a_single_column_and_an_empty_file_have_no_separator_to_find(tmp_path: Path) -> None:
    assert '; its columns: "sentence1".' in str(misfit(tmp_path, "sentence1\nA\nB\n"))
    with pytest.raises(UserMistake, match="is empty"):
        read(tmp_path, " \n,,,\n")


def test_two_readings_are_refused_with_both(tmp_path: Path) -> None:
    error = misfit(tmp_path, "a,b;1\ne,f;2\n", Layout(1, 2, None))
    assert error.flags == {"SEPARATOR": [",", ";"]} and "can be read in more than one way" in str(error)
    assert str(error).endswith('\nPaste: --separator="," or --separator=";"')
    pairs = read(tmp_path, "a,b;c\ne;f, and g, and h\n", Layout(1, 2, None))  # only one gives rows of the same width
    assert pairs.table["sentence2"].tolist() == ["c", "f, and g, and h"]
    assert pairs_of(read(tmp_path, "a, a;b;1\ne;f, f;2\n", NUMBERS)) == [["a, a", "b", "1"], ["e", "f, f", "2"]]


def test_the_ending_tsv_decides_between_two_readings(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a,a\tb\ne,e\tf\n", Layout(1, 2, None), "pairs.tsv")) == 2
    misfit(tmp_path, "a,a\tb\ne,e\tf\n", Layout(1, 2, None), "pairs.csv")


@pytest.mark.parametrize(
    "above", ["Survey of March,,\n,,\n", "Tickets, as of May\n\n", '"A title, long",,\n"",,\n', "\n\n,,\n"]
)
def test_a_title_above_the_header_is_passed_over_and_told(tmp_path: Path, above: str) -> None:
    pairs = read(tmp_path, above + csv_text([NAMES, *ROWS]))
    line = above.count("\n") + 1
    assert pairs_of(pairs) == ROWS and f"columns on line {line}" in pairs.notes
    assert pairs.table["line"].tolist() == [line + 1, line + 2, line + 3]


def test_rows_without_a_visible_cell_are_passed_over_and_counted(tmp_path: Path) -> None:
    for empty in (",,", "", " , ,\u00a0", '"","",""', "\u200b,,", ",,,,"):
        pairs = read(tmp_path, csv_text([NAMES, ROWS[0]]) + f"{empty}\n" + csv_text(ROWS[1:]) + f"{empty}\n{empty}\n")
        assert pairs_of(pairs) == ROWS and "3 empty rows skipped" in pairs.notes, empty
    assert "1 bad row of 4." in str(misfit(tmp_path, csv_text([NAMES, *ROWS]) + ",,3\n"))


def test_empty_cells_to_the_right_of_the_table_are_no_cells(tmp_path: Path) -> None:
    text = "sentence1,sentence2,score,,\nA,B,1,,\nC,D,2\nE,F,3,,,,\n"
    assert len(read(tmp_path, text)) == 3
    assert "4 cells where 3 are expected" in str(misfit(tmp_path, text + "G,H,4,note\n"))


@pytest.mark.parametrize("late", [False, True], ids=["at once", "after the sample"])
def test_quotes_written_with_a_backslash(tmp_path: Path, late: bool) -> None:
    rows = [*ROWS * (4_000 if late else 1), ['The "stove, old".', "C:\\new and \\", "5"], ["\\x", "y", "1"]]
    text = csv_text([NAMES, *[[cell.replace("\\", "\\\\") for cell in row] for row in rows]], quote='\\"')
    pairs = read(tmp_path, text)
    assert pairs_of(pairs) == rows and r"with quotes written as \"" in pairs.notes


def test_a_backslash_before_the_closing_quote_of_a_usual_file_stays(tmp_path: Path) -> None:
    rows = [["in C:\\", 'He said "no\\" twice.', "1"], *ROWS]
    pairs = read(tmp_path, csv_text([NAMES, *rows]))
    assert pairs_of(pairs) == rows and not any("\\" in note for note in pairs.notes)


def test_blanks_before_a_quote_are_passed_over(tmp_path: Path) -> None:
    pairs = read(tmp_path, csv_text([NAMES, *ROWS], before="  "))
    assert pairs_of(pairs) == ROWS and "blanks before quotes left out" in pairs.notes
    kept = read(tmp_path, 'sentence1,sentence2,score\n  a,"b, ""c""",1\nd, e,2\n')  # no quote is hidden by a blank
    assert kept.table["sentence1"].tolist() == ["  a", "d"] and kept.table["sentence2"].tolist() == ['b, "c"', " e"]


def test_a_table_of_r_has_a_header_one_cell_short(tmp_path: Path) -> None:
    rows = [[str(i), *row] for i, row in enumerate(ROWS, start=1)]
    pairs = read(tmp_path, csv_text([NAMES, *rows]))
    assert pairs_of(pairs) == ROWS and pairs.columns == ["row", *NAMES]
    assert "the first cell of each row is its name (as R writes tables)" in pairs.notes
    plain = read(tmp_path, "sentence1,sentence2\n1,A,B\n2,C,D\n", Layout(score=None))
    assert plain.table["sentence1"].tolist() == ["A", "C"]


def test_a_note_without_a_column_name_is_no_row_name(tmp_path: Path) -> None:
    """Read as in R, the second sentence would be the first, and the score a sentence."""
    assert "4 cells where 3 are expected" in str(misfit(tmp_path, "sentence1,sentence2,score\nA,B,1,5\nC,D,2,4\n"))
    assert "3 cells where 2 are expected" in str(misfit(tmp_path, "sentence1,sentence2\nA,B,x\nC,D,y\n", Layout(score=None)))


def test_digits_are_names_where_the_first_row_has_them_all(tmp_path: Path) -> None:
    layout = Layout(0, 1, 2)
    pairs = read(tmp_path, csv_text([["0", "1", "2"], *ROWS]), layout)
    assert pairs_of(pairs) == ROWS and "the numbers in its first row are the names of the columns" in pairs.notes
    swapped = read(tmp_path, csv_text([["2", "1", "3"], *ROWS]), NUMBERS)  # by name: not the order of the columns
    assert swapped.table["sentence1"].tolist() == [row[1] for row in ROWS]
    with pytest.raises(UserMistake, match=r"SENTENCE1_COLUMN is 0, but columns are counted from 1"):
        read(tmp_path, csv_text([["0", "1", "x"], *ROWS]), layout)


def test_cells_over_several_lines(tmp_path: Path) -> None:
    listed = ["Which comes next in\n1, 2, 3\nand why?", "What follows three?", "4"]
    pairs = read(tmp_path, csv_text([NAMES, listed, *ROWS]))
    assert pairs_of(pairs) == [listed, *ROWS] and "1 cell over several lines" in pairs.notes
    answer = "How do I connect to the VPN?\nInstall the client, then sign in."
    text = f'question,answer\nMy VPN is down,"{answer}"\nNo printer,Restart it\n'
    pairs = read(tmp_path, text, Layout("question", "answer", None))
    assert pairs.table["sentence2"].tolist() == [answer, "Restart it"]
    for swallowed in ('A,"B,1\nC,D,2\nE",3', 'A,"B,1\nC,D",3'):
        assert "seems to contain whole rows" in str(misfit(tmp_path, csv_text([NAMES, *ROWS]) + swallowed + "\n"))
    merged = 'question,answer\nA,"B\nC,D\nE,F"\n'
    assert "seems to contain whole rows" in str(misfit(tmp_path, merged, Layout("question", "answer", None)))


FAQ = [["Ticket", "FAQ entry", "Match", "Note"]]
FAQ += [
    [f"The printer does not print, case {i}", f"Look at the queue, then restart it ({i})", f"0.{i}", f"n{i}"] for i in range(9)
]


def test_one_error_has_all_that_is_odd_and_ends_with_the_flags(tmp_path: Path) -> None:
    text = "Tickets, as of May;;;\n" + csv_text(FAQ, ";").replace('"', "").replace("0.", "0,")
    error = misfit(tmp_path, text)
    first, read_as, paste = str(error).splitlines()
    assert first.startswith(f'{tmp_path / "pairs.csv"} has no column "sentence1" (SENTENCE1_COLUMN), "sentence2" (SENTENCE2_')
    assert first.endswith('its columns: "Ticket", "FAQ entry", "Match", "Note".')
    assert read_as == "Read as UTF-8, separated by ';', columns on line 2."
    assert paste == ('Paste: --sentence1-column=Ticket --sentence2-column="FAQ entry" --score-column=Match --score-range 0 1')
    columns = {"sentence1": "Ticket", "sentence2": "FAQ entry", "score": "Match", "score_range": (0, 1)}
    assert len(read(tmp_path, text, Layout(**columns))) == 9
    wrong = misfit(tmp_path, text, Layout(separator=","))  # the rows have two cells, for the decimal comma
    assert wrong.flags == error.flags | {"SEPARATOR": ";"}


def test_a_file_without_a_header_is_answered_by_numbers(tmp_path: Path) -> None:
    error = misfit(tmp_path, csv_text([["7", *row] for row in ROWS], "\t"))
    assert error.flags == {"SENTENCE1_COLUMN": "2", "SENTENCE2_COLUMN": "3", "SCORE_COLUMN": "4"}


STS = 'main\tMSRvid\t2012\t0000\t4.500\tA kettle.\tA pot.\tMSRpar\tlicence "x\n'
STS += 'main\tMSRvid\t2012\t0001\t1.5\t"She painted.\tIt is blue.\n'


@pytest.mark.parametrize("separator", ["", ",", ";"])
def test_the_benchmark_by_numbers_is_answered_with_the_flags(tmp_path: Path, separator: str) -> None:
    given = {"SEPARATOR": "\t"} if separator else {}
    error = misfit(tmp_path, STS * 3, Layout(6, 7, 5, separator=separator))
    assert error.flags == given | {"QUOTING": False}
    right = read(tmp_path, STS * 3, Layout(6, 7, 5, quoting=False))
    assert len(right) == 6 and right.table["sentence1"][1] == '"She painted.'


def test_dev_and_test_that_do_not_fit_are_switched_off_by_the_same_paste(tmp_path: Path) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text(csv_text([NAMES, *ROWS]), encoding="utf-8")
    own = tmp_path / "own.csv"
    own.write_text(csv_text(FAQ), encoding="utf-8")
    files = {"train": own, "dev": sample, "test": sample}
    with pytest.raises(Misfit) as first:
        read_files(files, Layout())
    assert str(first.value).endswith(" --score-range 0 1 --dev-file= --test-file=")
    with pytest.raises(Misfit) as second:
        read_files(files, Layout("Ticket", "FAQ entry", "Match", (0, 1)))
    assert second.value.flags == {"DEV_FILE": "", "TEST_FILE": ""} and "This file is DEV_FILE" in str(second.value)
    train, dev, test = read_files({"train": own, "dev": None, "test": None}, Layout("Ticket", "FAQ entry", "Match", (0, 1)))
    assert len(train) == 9 and dev is None and test is None


def test_a_flag_that_a_shell_would_misread_is_not_offered() -> None:
    assert paste_text({"SENTENCE1_COLUMN": "질문", "SEPARATOR": "\t"}) == '\nPaste: --sentence1-column=질문 --separator="\\t"'
    for name in ('a"b', "$HOME", "50%", "a\nb", "`x`"):
        assert paste_text({"SENTENCE1_COLUMN": name}) == ""


def test_all_orders_of_oddities_are_read_alike(tmp_path: Path) -> None:
    """Title, empty rows, separator and backslash quotes in every combination give the same rows."""
    rows = [['A "kettle", old.', "A pot.", "4.5"], *ROWS[1:]]
    for title, empty, separator, quote in itertools.product(("", "Title\n"), ("", ";;\n,,\n"), (",", ";"), ('""', '\\"')):
        text = title + csv_text([NAMES, *rows], separator, quote) + empty.replace(",;"[separator == ","], separator)
        assert pairs_of(read(tmp_path, text)) == rows, (title, empty, separator, quote)
