"""Which encoding a file is in: found for a few sentences of each language, refused where not sure, never wrong in silence."""

from __future__ import annotations

import builtins
import codecs
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from connection import UserMistake
from connection.reading.formats.text import encodings
from connection.reading.formats.text.detection import certain_encoding
from connection.reading.formats.text.encodings import TextEncoding, find_encoding
from connection.reading.formats.text.text_lines import read_lines
from connection.script.kinds import check_encoding

SENTENCES = {
    "german": """Die Kinder spielen fröhlich im Garten.|Der Bäcker öffnet um fünf Uhr früh.
        |Das Gemüse auf dem Markt ist günstig.|Wir müssen über die große Brücke gehen.
        |Meine Schwester trägt einen grünen Hut.|Er weiß nicht, wie spät es ist.""",
    "french": """Le garçon mange une pomme après l'école.|Ma mère préfère le thé sans sucre.
        |L'hôtel est fermé depuis l'été dernier.|Où as-tu acheté ce château de sable ?
        |La forêt était très calme ce matin-là.|Elle a reçu une lettre de son frère.""",
    "polish": """Żółty autobus jedzie powoli przez miasto.|Mój dziadek często łowi ryby w jeziorze.|Książka leży na krześle.
        |Dziękuję za pyszną kolację.|W środę będzie padał śnieg.|Dzieci śpią już od godziny.""",
    "russian": """Кошка спит на тёплом окне.|Завтра мы поедем на дачу.|Учитель читает детям интересную книгу.
        |На улице идёт сильный дождь.|Брат купил новый велосипед.|Мы пьём чай с вареньем.""",
    "greek": """Η γάτα κοιμάται στο παράθυρο.|Αύριο θα πάμε στη θάλασσα.|Ο δάσκαλος διαβάζει ένα βιβλίο.
        |Έξω βρέχει πολύ σήμερα.|Ο αδελφός μου αγόρασε ποδήλατο.|Πίνουμε καφέ κάθε πρωί.""",
    "turkish": """Çocuklar bahçede neşeyle oynuyor.|Yarın güneşli bir gün olacak.|Kız kardeşim yeşil bir şapka takıyor.
        |Öğretmen öğrencilere güzel bir kitap okuyor.|Dışarıda şiddetli yağmur yağıyor.|Ağabeyim yeni bir bisiklet aldı.""",
    "korean": """고양이가 창가에서 자고 있다.|내일은 바다에 갈 예정입니다.|선생님이 아이들에게 책을 읽어 준다.
        |밖에 비가 많이 내린다.|형이 새 자전거를 샀다.|우리는 매일 아침 커피를 마신다.""",
    "japanese": """猫が窓のそばで眠っている。|明日は海へ行くつもりです。|先生が子どもたちに本を読んでいる。
        |外は雨がひどく降っている。|兄が新しい自転車を買った。|私たちは毎朝コーヒーを飲みます。""",
    "chinese, simplified": """猫在窗边睡觉。|明天我们打算去海边。|老师给孩子们读一本有趣的书。
        |外面正下着大雨。|哥哥买了一辆新自行车。|我们每天早上都喝咖啡。""",
    "chinese, traditional": """貓在窗邊睡覺。|明天我們打算去海邊。|老師給孩子們讀一本有趣的書。
        |外面正下著大雨。|哥哥買了一輛新自行車。|我們每天早上都喝咖啡。""",
    "english": """It’s a “good” day – isn’t it?|The book costs 12 € today.|She said: “We’re late.”
        |Pages 4–8 are missing.|They’ll bring “everything” back.
        |The museum’s café isn’t open.|Don’t be so naïve – ask Zoë’s fiancée.|The façade isn’t old.""",
}
LEGACY = {
    "german": "cp1252",
    "french": "cp1252",
    "polish": "cp1250",
    "russian": "cp1251",
    "greek": "cp1253",
    "turkish": "cp1254",
    "korean": "cp949",
    "japanese": "cp932",
    "chinese, simplified": "gb18030",
    "chinese, traditional": "cp950",
    "english": "cp1252",
}
OLDER = {
    "german": "cp850",
    "french": "cp437",
    "polish": "cp852",
    "russian": "cp866",
    "japanese": "euc_jp",
    "greek": "mac_greek",
}


def pairs(language: str, rows: int = 6) -> str:
    """A file of pairs: every sentence with the next one, and with others in later rounds."""
    sentences = [" ".join(sentence.split()) for sentence in SENTENCES[language].split("|")]
    count = len(sentences)
    lines = [f'"{sentences[i % count]}","{sentences[(i + 1 + i // count) % count]}",{i % 6}' for i in range(rows)]
    return "\r\n".join(["sentence1,sentence2,score", *lines, ""])


def write(folder: Path, data: bytes) -> Path:
    path = folder / "pairs.csv"
    path.write_bytes(data)
    return path


def mistake(folder: Path, data: bytes, encoding: str = "") -> str:
    """What the person is told, without the path."""
    path = write(folder, data)
    with pytest.raises(UserMistake) as caught:
        find_encoding(path, encoding)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


# --- found ---


@pytest.mark.parametrize("language", LEGACY)
@pytest.mark.parametrize("rows", [6, 30, 300])
def test_what_a_spreadsheet_of_the_country_writes_is_found(tmp_path: Path, language: str, rows: int) -> None:
    text, encoding = pairs(language, rows), LEGACY[language]
    path = write(tmp_path, text.encode(encoding))
    assert find_encoding(path, "") == TextEncoding(encoding, has_mark=False, is_detected=True)
    assert "".join(read_lines(path, encoding, newline="")) == text


@pytest.mark.parametrize("language", LEGACY)
def test_utf_8_is_never_taken_for_anything_else(tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chardet", None)  # nor is chardet needed
    text = pairs(language)
    assert find_encoding(write(tmp_path, text.encode()), "") == TextEncoding("utf-8", False, False)
    assert find_encoding(write(tmp_path, text.encode("utf-8-sig")), "") == TextEncoding("utf-8", True, False)


@pytest.mark.parametrize(
    ("written", "name", "has_mark"),
    [
        ("utf-16", "utf-16", True),
        ("utf-32", "utf-32", True),
        ("utf-16-le", "utf-16-le", False),
        ("utf-16-be", "utf-16-be", False),
    ],
)
def test_utf_16_and_32_are_found_by_their_first_bytes(tmp_path: Path, written: str, name: str, has_mark: bool) -> None:
    path = write(tmp_path, pairs("korean").encode(written))
    assert find_encoding(path, "") == TextEncoding(name, has_mark, is_detected=False)
    assert "".join(read_lines(path, name, newline="")) == pairs("korean")


def test_utf_32_of_the_other_byte_order(tmp_path: Path) -> None:
    path = write(tmp_path, codecs.BOM_UTF32_BE + "a,ü\n".encode("utf-32-be"))
    assert find_encoding(path, "") == TextEncoding("utf-32", has_mark=True, is_detected=False)
    assert list(read_lines(path, "utf-32", newline="")) == ["a,ü\n"]


def test_an_encoding_that_is_named_is_not_questioned(tmp_path: Path) -> None:
    path = write(tmp_path, pairs("korean").encode("cp949"))
    assert find_encoding(path, "cp1252") == TextEncoding("cp1252", has_mark=False, is_detected=False)
    text = mistake(tmp_path, pairs("korean").encode("utf-16"), "cp949")
    assert text.startswith(' is encoded as UTF-16, but ENCODING is "cp949". Set ENCODING = "utf-16"')


@pytest.mark.parametrize("encoding", ["hex", "no-such-codec", "\0", "idna", "\ud800"])
def test_a_name_that_is_no_text_encoding(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(UserMistake, match="is not a text encoding known to Python"):
        find_encoding(write(tmp_path, b"a,b,1\n"), encoding)


def test_curly_quotes_and_dashes_alone_need_no_chardet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chardet", None)
    data = "A,B,1\nIt’s “good” – 5 €,We’ll see 1–2,3\n".encode("cp1252")
    assert find_encoding(write(tmp_path, data), "").name == "cp1252"


def test_the_letters_may_be_anywhere_in_a_large_file(tmp_path: Path) -> None:
    plain = b"A cat is asleep on the sofa.,A dog runs in the park.,3\n" * 40_000  # 2 MB
    for data in (pairs("german").encode("cp1252") + plain, plain + pairs("german").encode("cp1252")):
        assert find_encoding(write(tmp_path, data), "").name == "cp1252"


# --- refused ---


def test_one_letter_is_not_sure(tmp_path: Path) -> None:
    assert mistake(tmp_path, b"sentence1,sentence2,score\r\nA tea.,A caf\xe9.,1\r\n") == (
        ":2  byte 0xe9 (number 40 of the file) is not UTF-8, and its encoding is not sure: "
        'as cp1252: "A tea.,A café.,1"; as cp850: "A tea.,A cafÚ.,1"; as cp437: "A tea.,A cafΘ.,1". '
        "Save the file as UTF-8, or set ENCODING to the one that reads correctly.\nPaste: --encoding=cp1252"
    )


def test_the_same_word_again_and_again_is_no_more_evidence(tmp_path: Path) -> None:
    assert "its encoding is not sure" in mistake(tmp_path, b"A tea.,A caf\xe9.,1\n" * 500)


def test_the_first_reading_offered_is_right_for_one_row(tmp_path: Path) -> None:
    for language in ("german", "french", "polish", "russian", "greek", "korean", "japanese"):
        text = mistake(tmp_path, pairs(language, rows=1).encode(LEGACY[language]))
        assert text.endswith(f"\nPaste: --encoding={LEGACY[language]}"), text


@pytest.mark.parametrize("language", OLDER)
def test_encodings_that_are_too_much_alike_are_refused(tmp_path: Path, language: str) -> None:
    data = pairs(language, rows=30).encode(OLDER[language])
    if language == "japanese":  # except this one
        assert find_encoding(write(tmp_path, data), "").name == "euc_jp"
    else:
        assert "is not UTF-8, " in mistake(tmp_path, data)


def test_parts_that_read_differently_are_not_sure() -> None:
    """chardet takes the whole for cp1251: "12 я", "4Р8"."""
    lines = ["The book costs 12 € today.\n".encode("mac_cyrillic"), "Pages 4–8 are missing.\n".encode("mac_cyrillic")]
    assert certain_encoding(lines) is None


def test_letters_of_mac_roman_are_not_taken_for_curly_quotes() -> None:
    """Read as cp1252, "país" is "pa’s"."""
    text = """El país está cerca del océano.|Mañana iré a la montaña con mi tía.|El niño comió un melón pequeño.
        |Aquí nadie bebe café después de las seis.|El tren salió de la estación.|Mi país es pequeño.|Este es otro país."""
    assert certain_encoding([f"{line.strip()}\n".encode("mac_roman") for line in text.split("|")]) == "mac_roman"


@pytest.mark.parametrize("language", ["german", "french", "polish", "russian", "korean", "japanese"])
def test_damaged_utf_8_is_not_read_as_something_else(tmp_path: Path, language: str) -> None:
    lines = pairs(language, rows=60).encode().splitlines(keepends=True)
    lines[40] = b'"a \xe9\xff b","c",1\r\n'
    text = mistake(tmp_path, b"".join(lines))
    offset = sum(map(len, lines[:40])) + 4
    assert text == (
        f":41  byte 0xe9 (number {offset:,} of the file) is not UTF-8, but the rest of the file is: the file is damaged "
        "there. Correct the line, or save the file as UTF-8 again."
    )


def test_a_byte_order_mark_of_utf_8_is_believed(tmp_path: Path) -> None:
    data = codecs.BOM_UTF8 + pairs("german").encode("cp1252")
    assert ":2  byte 0xf6 (number 53 of the file) is not UTF-8, but the rest" in mistake(tmp_path, data)


@pytest.mark.parametrize("language", ["korean", "japanese", "chinese, simplified", "chinese, traditional"])
@pytest.mark.parametrize("encoding", ["utf-8", ""])
def test_a_file_cut_off_within_a_character(tmp_path: Path, language: str, encoding: str) -> None:
    encoding = encoding or LEGACY[language]
    text = mistake(tmp_path, pairs(language, rows=60).encode(encoding) + SENTENCES[language][0].encode(encoding)[:-1])
    assert text.startswith(":62  byte 0x") and ": the file ends within a character. " in text
    assert ("is not UTF-8" in text) if encoding == "utf-8" else (f'cannot be decoded as "{encoding}"' in text)


def test_damage_in_another_encoding_is_named(tmp_path: Path) -> None:
    lines = pairs("korean", rows=60).encode("cp949").splitlines(keepends=True)
    lines[40] = b'"\xff\xff","c",1\r\n'
    text = mistake(tmp_path, b"".join(lines))
    assert text.startswith(":41  byte 0xff ") and 'cannot be decoded as "cp949", in which the rest' in text


def test_a_file_in_two_encodings_is_refused(tmp_path: Path) -> None:
    german, line = pairs("german", rows=60), '"Der Spaß ist zu Ende.","Ende",2\r\n'
    text = mistake(tmp_path, german.encode("cp1252") + line.encode())
    assert text == ':62  this line is UTF-8, but most of the file seems to be "cp1252". Save all of it as UTF-8.'
    for first, second in (("cp1252", "utf-8"), ("utf-8", "cp1252")):
        mistake(tmp_path, german.encode(first) + german.encode(second))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    for data in (random.Random(1).randbytes(5000), b"a,b\x81\x8d\0\n" * 9, b"\0\0\0\xff" * 50):
        text = mistake(tmp_path, data)
        assert "nor is it text in another usual encoding. Save the file as UTF-8." in text
        assert "Paste" not in text


def test_without_chardet_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chardet", None)
    text = mistake(tmp_path, pairs("german").encode("cp1252"))
    assert text.startswith(
        ":2  byte 0xf6 (number 50 of the file) is not UTF-8; finding another encoding needs chardet. Install "
    )
    assert text.endswith('requirements.txt"') and Path(text.split('"')[-2]).is_file()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = write(tmp_path, b"a,b\n")
    path.chmod(0)
    with pytest.raises(UserMistake, match=r"cannot be read: Permission denied\."):
        find_encoding(path, "")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"cannot be read: No such file"):
        find_encoding(tmp_path / "gone.csv", "")


# --- invariants ---


@pytest.mark.parametrize("ends", ["\n", "\r", "\r\n"])
def test_lines_are_counted_by_any_line_end_and_over_blocks(tmp_path: Path, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = f"a,b,1{ends}".encode() * 9 + b"caf\xe9,b,1" + f"{ends}c,d,2{ends}".encode()
    whole = mistake(tmp_path, data)
    assert whole.startswith(f":10  byte 0xe9 (number {9 * len(f'a,b,1{ends}') + 4} of the file)")
    for size in (1, 2, 3, 7, 8):
        monkeypatch.setattr(encodings, "_BLOCK", size)
        assert mistake(tmp_path, data) == whole


@pytest.mark.parametrize("language", LEGACY)
def test_the_size_of_a_block_does_not_matter(tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, pairs(language, rows=30).encode(LEGACY[language]))
    expected = find_encoding(path, "")
    for size in (1, 5, 64):
        monkeypatch.setattr(encodings, "_BLOCK", size)
        assert find_encoding(path, "") == expected


def test_a_line_without_end_is_left_to_the_reader(tmp_path: Path) -> None:
    path = tmp_path / "zeros.csv"
    for start in (b"", "a,Grüße\n".encode()):
        with path.open("wb") as file:
            file.write(start)
            file.truncate(1 << 36)  # sparse: it takes no room
        started = time.monotonic()
        assert find_encoding(path, "") == TextEncoding("utf-8", False, False)
        assert time.monotonic() - started < 2


def test_one_long_line_is_looked_at_in_part(tmp_path: Path) -> None:
    sentence = " ".join(pairs("korean", rows=30).split("\r\n")[1:])
    data = b"sentence1\n" + (sentence * 20).encode("cp949") + b"\n"
    assert "its encoding is not sure: as cp949" in mistake(tmp_path, data)


def test_damage_far_behind_in_a_long_line(tmp_path: Path) -> None:
    data = ("é" + " a" * 9_000).encode() + b" \xe4 \xf6 \xfc\n"
    assert mistake(tmp_path, data).startswith(":1  byte 0xe4 (number 18,004 of the file) is not UTF-8, but the rest")


def test_chardet_is_loaded_only_for_a_file_that_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    real = builtins.__import__

    def watched(name: str, *arguments: Any, **options: Any) -> Any:
        loaded.append(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", watched)
    find_encoding(write(tmp_path, pairs("german").encode()), "")
    assert "chardet" not in loaded
    find_encoding(write(tmp_path, pairs("german").encode("cp1252")), "")
    assert "chardet" in loaded


WORDS = ["café", "Grüße", "한국어", "日本語", "русский", "a", "12", ",", "\n", "\r\n", "“”", "–", "€", "\0", " "]
WRITTEN = [word.encode(encoding, "ignore") for word in WORDS for encoding in ("utf-8", "cp1252", "cp949", "cp932", "cp1251")]
MIXED = st.lists(st.one_of(st.sampled_from(WRITTEN), st.binary(max_size=3)), max_size=40).map(b"".join)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=300), MIXED))
@example(data=b"\xff")
@example(data=b"\xff\xfe\0")
@example(data=b"\r\xe9\r")
def test_any_bytes_have_an_encoding_that_reads_them_or_one_error(tmp_path: Path, data: bytes) -> None:
    path = write(tmp_path, data)
    try:
        encoding = find_encoding(path, "")
    except UserMistake as told:
        assert str(told).startswith(f"{path}:") and str(told).isprintable() is ("\n" not in str(told))
        return
    assert check_encoding(encoding.name) is None
    if not encoding.name.startswith(("utf-16", "utf-32")):
        assert "".join(read_lines(path, encoding.name, newline="")) == data.decode(encoding.name).removeprefix("\ufeff")
    assert encoding.is_detected == (encoding.name[:3] != "utf")
