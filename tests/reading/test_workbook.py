"""Excel workbooks: their cells as a person sees them; what we write comes back; other and damaged files are refused by name."""

from __future__ import annotations

import datetime
import io
import random
import time
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.formats import workbook, workbook_output
from connection.reading.formats.table import BadRow, Number, Reading
from connection.reading.formats.workbook_output import cell_length, check_fits, workbook_pieces

openpyxl = pytest.importorskip("openpyxl")

READING = Reading(("a", "b"))
HEAD = ["a", "b"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.xlsx"


def save(path: Path, rows: Sequence[Sequence[Any]], title: str = "S") -> Path:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    book.save(path)
    return path


def write(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    path.write_bytes(b"".join(workbook_pieces(header, rows)))
    return path


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def changed(path: Path, part: str, old: bytes, new: bytes) -> Path:
    parts = members(path)
    content = parts[part].replace(b" />", b"/>")  # as openpyxl writes where lxml is installed
    assert old in content
    return pack(path, parts | {part: content.replace(old, new)})


def read(path: Path, reading: Reading = READING) -> list[tuple[int, list[str] | BadRow]]:
    return list(workbook.open_file(path, reading))


def refused(path: Path, reading: Reading = READING) -> str:
    with pytest.raises(UserMistake) as caught:
        read(path, reading)
    return str(caught.value).replace(str(path), "FILE")


@pytest.mark.parametrize("epoch", [datetime.datetime(1899, 12, 30), datetime.datetime(1904, 1, 1)])
def test_cells_are_what_a_person_sees(path: Path, epoch: datetime.datetime) -> None:
    values = {
        "text": "text",
        " blanks \n두 줄 🙂 ": " blanks \n두 줄 🙂 ",
        "a_x000D_b": "a\rb",
        5: "5",
        -3.0: "-3",
        0.1 + 0.2: "0.3",
        1e-7: "1e-07",
        2.5e200: "2.5e+200",
        True: "TRUE",
        False: "FALSE",
        datetime.date(2026, 3, 1): "2026-03-01",
        datetime.datetime(2026, 3, 1, 14, 30): "2026-03-01 14:30:00",
        datetime.time(14, 30, 5): "14:30:05",
        datetime.timedelta(days=1, hours=1, minutes=30): "25:30:00",
        "#N/A": "#N/A",
        None: "",
    }
    book = openpyxl.Workbook()
    book.epoch = epoch
    book.active.append(HEAD)
    for value in values:
        book.active.append([value, "x"])
    book.active["A2"].hyperlink = "https://example.org"
    book.active["B3"].number_format = "0.00%"
    book.save(path)
    found = read(path)
    assert [cells for _, cells in found] == [[text, "x"] for text in values.values()]
    kinds = [type(cells[0]) for _, cells in found]
    assert kinds == [str] * 3 + [Number] * 5 + [str] * 8


def test_texts_that_cells_share(path: Path) -> None:
    """As Excel writes them, here in two fonts and with the reading of a Japanese word."""
    parts = members(save(path, [HEAD, ["1", "x"], ["2", "y"]]))
    sheet, shared = "xl/worksheets/sheet1.xml", "xl/sharedStrings.xml"
    for number in (b"1", b"2"):
        old = b't="inlineStr"><is><t>%s</t></is>' % number
        parts[sheet] = parts[sheet].replace(old, b't="s"><v>%d</v>' % (int(number) - 1))
    rich = '<si><r><rPr><b/></rPr><t>東</t></r><r><t xml:space="preserve">京 </t></r><rPh sb="0" eb="1"><t>トウ</t></rPh></si>'
    start = '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
    parts[shared] = f"{start}{rich}<si><t>a_x000D_b</t></si></sst>".encode()
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    types, end = "[Content_Types].xml", b"</Types>"
    parts[types] = parts[types].replace(end, f'<Override PartName="/{shared}" ContentType="{kind}"/>'.encode() + end)
    assert [cells[0] for _, cells in read(pack(path, parts))] == ["東京 ", "a\rb"]


def test_rows_have_their_numbers_and_blank_ones_between_them_are_counted(path: Path) -> None:
    rows = [HEAD, ["1", "2"], [], [], [" ", "\u200b"], [], [None, "3"], [], ["4", "5", None, "beside"], [], [" "]]
    table = workbook.open_file(save(path, rows), READING)
    assert list(table) == [(2, ["1", "2"]), (7, ["", "3"]), (9, ["4", "5"])]
    assert (table.blank_lines, table.ignored_cells) == (5, 1)


def test_a_stray_cell_far_away_and_a_wrong_size_cost_nothing(path: Path) -> None:
    save(path, [HEAD, ["1", "2"]])
    book = openpyxl.load_workbook(path)
    book.active["XFD3"] = "beside"
    book.active["A1048576"] = "3"
    book.active["B1048576"] = "4"
    book.save(path)
    changed(path, "xl/worksheets/sheet1.xml", b'<dimension ref="A1:XFD1048576"/>', b'<dimension ref="A1:B1"/>')
    started = time.monotonic()
    table = workbook.open_file(path, READING)
    assert [line for line, _ in table] == [2, 3, 1_048_576]
    assert (table.blank_lines, table.ignored_cells) == (1_048_572, 1) and time.monotonic() - started < 30


def test_the_header_may_stand_below_a_title_or_be_absent(path: Path) -> None:
    save(path, [["Pairs"], [], [None, "x", "a", "b"], [None, "1", "2", "3", "4"]])
    table = workbook.open_file(path, READING)
    assert table.header == ["", "x", "a", "b"] and list(table) == [(4, ["", "1", "2", "3"])] and table.ignored_cells == 1
    assert table.notes == ["an Excel workbook", 'sheet "S"'] and table.header_notes == ["columns on line 3"]
    table = workbook.open_file(path, Reading((2, 3)))
    assert table.header is None
    assert list(table) == [(1, ["Pairs", "", ""]), (3, ["", "x", "a", "b"]), (4, ["", "1", "2", "3", "4"])]
    many = save(path, [HEAD, *[[line, "x"] for line in range(2, 400)]])
    assert [(line, int(cells[0])) for line, cells in read(many)] == [(line, line) for line in range(2, 400)]


def test_the_sheet_is_the_first_that_is_shown_or_the_one_that_is_named(path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "No"
    book.active.sheet_state = "hidden"
    book.create_chartsheet("C").add_chart(openpyxl.chart.BarChart())
    for title in ("2024", "Last"):
        book.create_sheet(title).append(HEAD)
        book[title].append([title, "x"])
    book.save(path)
    table = workbook.open_file(path, READING)
    assert (table.sheet, table.notes[1], list(table)) == ("2024", 'sheet "2024" (the first of 2)', [(2, ["2024", "x"])])
    table = workbook.open_file(path, Reading(("a", "b"), sheet="last"))
    assert table.notes[1] == 'sheet "Last"' and list(table) == [(2, ["Last", "x"])]
    assert refused(path, Reading(("a", "b"), sheet="No")) == 'FILE has no cells in its sheet "No".'
    assert refused(path, Reading(("a", "b"), sheet="1")) == (
        'FILE has no worksheet "1" (SHEET); its worksheets: "No", "2024", "Last".'
    )


def test_a_formula_that_was_never_calculated_is_a_bad_row(path: Path) -> None:
    save(path, [HEAD, ["1", "2"], ["=A2+1", "1"], [], ["=A2", "=B2"], [None, "x"]])
    table = workbook.open_file(path, READING)
    table.need([0], [1], others=False)
    step = "the formula was never calculated: open the workbook in the spreadsheet program and save it"
    rows = list(table)
    assert rows == [(2, ["1", "2"]), (3, f'column "a": {step}'), (5, f'column "a": {step}'), (6, ["", "x"])]
    assert [type(cells) for _, cells in rows] == [list, BadRow, BadRow, list] and table.blank_lines == 1
    calculated = changed(path, "xl/worksheets/sheet1.xml", b"<f>A2+1</f><v/>", b"<f>A2+1</f><v>7</v>")
    assert read(calculated)[1] == (3, ["7", "1"])


def test_damaged_and_malicious_workbooks_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = "FILE cannot be read as an Excel workbook: "
    sheet = "xl/worksheets/sheet1.xml"
    bomb = b"<!DOCTYPE x [<!ENTITY a '" + b"a" * 1000 + b"'>"
    bomb += b"".join(b"<!ENTITY a%d '%s'>" % (i, b"&a%s;" % (str(i - 1).encode() if i else b"") * 10) for i in range(12))
    save(path, [HEAD, ["1", "2"]])
    whole = members(path)
    for parts in (
        {sheet: bomb + b"]><worksheet><sheetData>&a11;</sheetData></worksheet>"},
        {sheet: whole[sheet][:300]},
        {sheet: whole[sheet].replace(b'<c r="A2"', b'<c r="ABCD2"')},
        {sheet: whole[sheet].replace(b't="inlineStr"><is><t>1</t></is>', b't="s"><v>99</v>')},
        {"xl/styles.xml": b"<styleSheet"},
        {"[Content_Types].xml": b""},
    ):
        pack(path, whole | parts)
        started = time.monotonic()
        text = refused(path)
        assert text.startswith(start) and text.endswith("and save it again, as .xlsx.") and "\n" not in text
        assert time.monotonic() - started < 5
    monkeypatch.setattr(workbook, "MOST_SHARED", 100_000)
    pack(path, whole | {"xl/sharedStrings.xml": b"a" * 50_000_000})
    assert path.stat().st_size < 60_000
    assert refused(path).startswith(f"{start}its part xl/sharedstrings.xml has 0.1 GB unpacked, at most 0.0001 are read.")
    monkeypatch.undo()
    save(path, [HEAD, ["a", "b"], ["1", "2"]])
    long = changed(path, "xl/worksheets/sheet1.xml", b"<t>a</t>", b"<t>" + b"a" * 10_000_001 + b"</t>")
    assert read(long, Reading((1, 2)))[1:] == [(2, "the row is longer than 10,000,000 characters: delete it"), (3, ["1", "2"])]
    save(path, [[1] * 10_001])
    assert "has 10,001 columns; at most 10,000 can be read" in refused(path)


def test_what_is_no_workbook_is_named(path: Path) -> None:
    path.write_text("a,b\n1,2\n")
    assert "it is no zip archive, as workbooks are: perhaps it is CSV with the wrong name." in refused(path)
    path.write_bytes(b"\xd0\xcf\x11\xe0" + b"\0" * 1000 + "EncryptedPackage".encode("utf-16-le"))
    assert refused(path) == "FILE is protected by a password: in the spreadsheet program, save it without one, as .xlsx."
    assert refused(pack(path, {"xl/workbook.bin": b"x"})) == (
        "FILE is a binary Excel workbook (.xlsb): in the spreadsheet program, save it as .xlsx."
    )
    assert refused(pack(path, {"pairs.csv": b"x"})) == "FILE is a zip archive: unpack it and name the file inside (pairs.csv)."
    content = save(path, [HEAD, ["1", "2"]]).read_bytes()
    for kept in (0, 1, 10, len(content) // 2, len(content) - 10):
        path.write_bytes(content[:kept])
        assert "\n" not in refused(path)
    path.unlink()
    assert refused(path).startswith("FILE cannot be read as an Excel workbook: ")


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.lists(
    st.sampled_from(
        ["=", "+1", "-x", "@", "#N/A", "_x0041_", "_x005F_", "_x", "_", "\r", "\r\n", "\n", "\t", " ", "\x12", "&", "<", "]]>"]
    ),
    max_size=6,
).map("".join)
NUMBERS = st.floats(-1e300, 1e300) | st.integers(-(10**14), 10**14)


@settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(CELL, CELL, NUMBERS, NUMBERS), max_size=5))
def test_what_we_write_comes_back_the_same(tmp_path: Path, rows: list[tuple[str, str, float, float]]) -> None:
    """Any text, control characters too; numbers with 15 digits."""
    written = [[first, second, Number(format(third or 0.0, ".15g")), fourth] for first, second, third, fourth in rows]
    table = workbook.open_file(write(tmp_path / "written.xlsx", ["a", "b", "c", "=d"], written), Reading(("a", "b")))
    assert table.header == ["a", "b", "c", "=d"]
    back = [cells for _, cells in table]
    assert [cells[:2] for cells in back] == [cells[:2] for cells in written]
    assert [[float(cell) for cell in cells[2:]] for cells in back] == [
        [float(cells[2]), float(format(cells[3], ".15g"))] for cells in written
    ]
    assert all(type(cells[0]) is str and type(cells[2]) is type(cells[3]) is Number for cells in back)


def test_no_cell_that_we_write_is_a_formula(path: Path) -> None:
    row = ["=1+1", "+1", "-x", "@x", "#N/A", "'a", " 한\n국 ", 0.25, Number("7"), "9", float("nan"), 10**18, "", Number("0.50")]
    sheet = openpyxl.load_workbook(write(path, [f"c{i}" for i in range(len(row))], [row, ["last"]])).active
    found = next(sheet.iter_rows(min_row=2, max_row=2))
    assert [cell.value for cell in found] == [*row[:7], 0.25, 7, "9", "nan", 1e18, None, "0.50"]
    assert "".join(cell.data_type for cell in found) == "sssssssnnssnns" and sheet["A3"].value == "last"
    assert sheet.freeze_panes == "A2" and sheet.max_row == 3


def test_a_table_that_no_worksheet_holds_is_refused() -> None:
    check_fits(1_048_575, 16_384, 32_767)
    for table, problem in [
        ((1_048_576, 3, 1), "1,048,575 rows below its header, not 1,048,576"),
        ((1, 16_385, 1), "16,384 columns, not 16,385"),
        ((1, 1, 32_768), "32,767 characters in a cell, not 32,768"),
    ]:
        with pytest.raises(UserMistake, match=problem):
            check_fits(*table)
    assert [cell_length(text) for text in ("abc", "🙂", "\r", "_x0041_")] == [3, 2, 7, 13]


def test_a_missing_package_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, [HEAD])
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)
    assert "is an Excel workbook, which needs openpyxl. Install it with: " in refused(path)
    monkeypatch.setattr(workbook_output, "is_installed", lambda package: False)
    with pytest.raises(UserMistake, match="is an Excel workbook, which needs openpyxl"):
        workbook_output.check_package(path)


# ---------------------------------------------------------------- damaged files

PIECES = [b"<", b">", b'"', b"&", b"</row>", b"<row>", b"<c>", b"</c>", b"<v>1</v>", b"99999999999", b"s", b"-1", b"\xff"]


def damaged(source: random.Random, content: bytes) -> bytes:
    for _ in range(source.choice([1, 1, 2, 4])):
        start = source.randint(0, len(content))
        end = min(len(content), start + source.choice([1, 2, 8, 60]))
        content = source.choice(
            [
                content[:start] + bytes([source.randrange(256)]) + content[start + 1 :],
                content[:start] + content[end:],
                content[:end] + content[start:end] + content[end:],
                content[:start] + source.choice(PIECES) + content[start:],
                content[:start] if source.random() < 0.2 else content,
            ]
        )
    return content


def outcome(path: Path) -> str:
    started = time.monotonic()
    try:
        read(path)
    except UserMistake as error:
        assert "\n" not in str(error)
        return "refused"
    else:
        return "read"
    finally:
        assert time.monotonic() - started < 10


@pytest.mark.parametrize(("count", "seed"), [(150, 1), pytest.param(10_000, 2, marks=pytest.mark.slow)])
def test_damaged_workbooks(tmp_path: Path, count: int, seed: int) -> None:
    """A third is damaged as a file: then it is refused, or has the rows of the whole one (the
    damage may be to the name of its styles: dates are numbers then). The others are damaged in one part
    and packed again, with the right checksum, and end in no other error."""
    source = random.Random(seed)
    path = tmp_path / "pairs.xlsx"
    save(path, [HEAD, *[[f"text {i}", datetime.datetime(2026, 1, i)] for i in range(1, 12)]])
    books = [members(path), members(write(path, HEAD, [["A cat.", 0.5], ["두 줄\r\n", "=1"]] * 6))]
    outcomes: Counter[str] = Counter()
    for _ in range(count):
        parts = dict(source.choice(books))
        if source.random() < 0.33:
            whole = pack(path, parts).read_bytes()
            rows = [(line, cells[0]) for line, cells in read(path)]
            path.write_bytes(damaged(source, whole))
            result = outcome(path)
            assert result == "refused" or [(line, cells[0]) for line, cells in read(path)] == rows
        else:
            name = source.choice([*parts, *[name for name in parts if "sheet" in name or "shared" in name] * 2])
            pack(path, parts | {name: damaged(source, parts[name])})
            result = outcome(path)
        outcomes[result] += 1
    print(f"{count:,} damaged workbooks: {dict(outcomes)}")
    assert min(outcomes["read"], outcomes["refused"]) > count / 10


def test_memory_does_not_grow_with_the_rows_that_are_written() -> None:
    rows = ([f"sentence {i}", 0.5] for i in range(2000))
    assert len(b"".join(workbook_pieces(HEAD, rows))) > 1000
    assert zipfile.is_zipfile(io.BytesIO(b"".join(workbook_pieces(HEAD, []))))
