"""Decomposed text (NFD, as macOS writes it) gets the tokens of the composed text, where the vocabulary is composed."""

from __future__ import annotations

import csv
import json
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import runs
from hypothesis import given
from hypothesis import strategies as st
from runs import write_rows
from transformers import AutoTokenizer

import bertFineTuningWithConnectionData as training
import bertScoringWithConnectionData as scoring
from ConnectionBert import ConnectionBert

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefgehiou", *(f"##{letter}" for letter in "abcdefghiou")]
CASED = [
    *SPECIAL,
    *LETTERS,
    "A",
    "É",
    "é",
    "##é",
    "ü",
    "##ü",
    "ê",
    "ế",
    "Viế",
    "##t",
    "한",
    "##국",
    "어",
    "##가",
    "が",
    "##ぎ",
    "か",
]
UNCASED = [*SPECIAL, *LETTERS, *"\u1112\u1161\u11ab가"]  # Jamo of 한
Load = Callable[..., ConnectionBert]


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(vocabulary: Sequence[str], **tokenizer_config: bool) -> ConnectionBert:
        folder = runs.write_encoder(tmp_path / "encoder", runs.make_bert(vocab_size=len(vocabulary)), list(vocabulary))
        if tokenizer_config:
            (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config), encoding="utf-8")
        return ConnectionBert.load(folder, quiet=True)

    return load


def pieces(encoder: ConnectionBert, text: str) -> list[str]:
    return encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([text])[0][0].tolist())[1:-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("한국", ["한", "##국"]),
        ("한국어 한가", ["[UNK]", "한", "##가"]),
        ("fée é", ["f", "##é", "##e", "é"]),
        ("bé É aü", ["b", "##é", "É", "a", "##ü"]),
        ("Viết ế", ["Viế", "##t", "ế"]),
        ("がぎ か", ["が", "##ぎ", "か"]),
    ],
)
def test_decomposed_text_gets_the_tokens_of_composed_text(load: Load, text: str, expected: list[str]) -> None:
    encoder = load(CASED)
    assert pieces(encoder, text) == expected == encoder.tokenizer.tokenize(text)
    assert pieces(encoder, nfd(text)) == expected != encoder.tokenizer.tokenize(nfd(text))
    assert encoder.compose([text, nfd(text), "abc"]) == [text, text, "abc"]


def test_a_character_that_the_vocabulary_lacks_stays_decomposed(load: Load) -> None:
    """Here the vocabulary has ö only as o and a diaeresis, and 뷁 not at all."""
    encoder = load([*CASED, "o\u0308", "\u1107"])
    assert pieces(encoder, nfd("ö é")) == ["o\u0308", "é"] and pieces(encoder, "ö") == ["[UNK]"]
    assert encoder.compose([nfd("뷁 한")]) == [f"{nfd('뷁')} 한"]


def test_a_lower_casing_tokenizer_that_keeps_accents(load: Load) -> None:
    """É is not in this vocabulary, but the tokenizer makes é of it."""
    vocabulary = [piece for piece in CASED if piece == piece.lower() or piece in SPECIAL]
    encoder = load(vocabulary, do_lower_case=True, strip_accents=False)
    assert pieces(encoder, nfd("É bé")) == ["é", "b", "##é"] == pieces(encoder, "É bé")


TEXT = st.text(
    st.one_of(
        st.sampled_from("aeéÉüuế가각한국뷁 か\u3099\u0301\u0308\u0327\u1100\u1161\u11a8\u212b\u0958\u200b\ud800.\n"),
        st.characters(),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ConnectionBert]:
    folder = tmp_path_factory.mktemp("composition")
    found = {}
    for name, vocabulary in {"cased": CASED, "uncased": UNCASED}.items():
        runs.write_encoder(folder / name, runs.make_bert(vocab_size=len(vocabulary)), vocabulary)
        config = json.dumps({"do_lower_case": name == "uncased"})
        (folder / name / "tokenizer_config.json").write_text(config, encoding="utf-8")
        found[name] = ConnectionBert.load(folder / name, quiet=True)
    return found


@given(TEXT)
def test_composed_text_and_an_uncased_tokenizer_are_left_alone(encoders: dict[str, ConnectionBert], text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert encoders["cased"].compose([composed, "한", nfd("한")]) == [composed, "한", "한"]
    assert encoders["uncased"].compose([text, nfd(text)]) == [text, nfd(text)]
    assert not encoders["uncased"].compose.characters


@given(TEXT)
def test_what_is_composed_is_canonically_the_same_text(encoders: dict[str, ConnectionBert], text: str) -> None:
    """And holds no character that the vocabulary lacks, beside those of the text itself."""
    compose = encoders["cased"].compose
    (changed,) = compose([text])
    assert nfd(changed) == nfd(text) and set(changed) <= set(text) | compose.characters
    assert compose([changed]) == [changed]


def test_long_runs_of_marks_take_no_time(encoders: dict[str, ConnectionBert]) -> None:
    began = time.perf_counter()
    for marks in ("\u0301", "\u0301\u0327", "\u0327\u0301", "\u11a8", "\u1161"):
        encoders["cased"].compose(["e" + marks * 100_000])
    assert time.perf_counter() - began < 10


def test_the_saved_tokenizer_is_the_encoders_own(load: Load, tmp_path: Path) -> None:
    """Another program gives the same tokens for composed text, as docs/architecture.md says."""
    encoder = load(CASED)
    encoder.save(tmp_path / "saved")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs("한국 é")["input_ids"] == encoder.tokenize([nfd("한국 é")])[0][0].tolist()
    assert ConnectionBert.load(tmp_path / "saved").compose.characters == encoder.compose.characters


def test_both_scripts_say_so_and_leave_the_cells_as_they_are(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(CASED)
    rows = [("한국", nfd("한국"), 5), (nfd("한가"), "a", 0), ("é", "b", 1), ("c", nfd("é"), 2)]
    path = write_rows(tmp_path / "pairs.csv", [["sentence1", "sentence2", "score"], *rows])
    files = {"train_file": path, "dev_file": path, "test_file": ""}
    runs.run_script(training, encoder=tmp_path / "encoder", output=tmp_path / "run", epochs=0, device="cpu", **files)
    line = "sentences hold decomposed characters (Unicode NFD, as macOS writes); they are composed before tokenising.\n"
    assert f"\n6 {line}" in capsys.readouterr().out  # three in train, three in dev
    runs.run_script(scoring, encoder=tmp_path / "encoder", pairs_file=path, output_file=tmp_path / "s.csv", device="cpu")
    assert f"\n3 {line}" in capsys.readouterr().out
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert [(row["sentence1"], row["sentence2"]) for row in written] == [row[:2] for row in rows]
    assert float(written[0]["similarity"]) == pytest.approx(1, abs=1e-6)
    flags = [f"--encoder={tmp_path / 'encoder'}", "--device=cpu", f"--sentence1={nfd('한국')}", "--sentence2=a"]
    assert scoring.main(flags) == 0
    assert "\n1 sentence holds decomposed characters" in capsys.readouterr().out
