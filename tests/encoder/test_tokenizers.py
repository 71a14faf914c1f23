"""The tokenizer of a folder: the tokens of the makers' own code, or a refusal by the name of what it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import families
import pytest
import runs
import tokenizers
from tokenizers import normalizers, pre_tokenizers
from transformers import BertTokenizer

from connection import UserMistake
from connection.encoder.folder import inspect_encoder
from connection.encoder.tokenizer import load_tokenizer, save_tokenizer
from connection.encoder.weights import load_config

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
JAMO = [*map(chr, (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A8, 0x11C3)))]
HAN = ["下", "雨", "书", "##雨"]
TEXT = ["Apple USB-C", "HDMI 下雨", "고양이 한국 SK", "Élan", "der Hund GROSS"]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, bert_factory: Callable) -> Write:
    """Write the folder of a tiny BERT with this vocabulary, as three files; its path."""

    def make(pieces: list[str], name: str = "encoder", **files: dict[str, object]) -> Path:
        folder = runs.write_encoder(tmp_path / name, bert_factory(vocab_size=len(pieces)), pieces)
        for file, content in files.items():
            (folder / f"{file}.json").write_text(json.dumps(content), encoding="utf-8")
        return folder

    return make


def load(folder: Path):
    description = inspect_encoder(folder)
    return load_tokenizer(description, load_config(description))


def ids(folder: Path, text: list[str] = TEXT) -> list[list[int]]:
    return load(folder)(text)["input_ids"]


def transformers_ids(pieces: list[str], **options: object) -> list[list[int]]:
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, **options)(TEXT)["input_ids"]


def refusal(folder: Path) -> str:
    with pytest.raises(UserMistake) as error:
        load(folder)
    assert str(folder) in str(error.value)
    return str(error.value)


UNCASED = {
    "Chinese with <S> and <T>": [*SPECIAL, "<S>", "<T>", *LETTERS, *HAN],
    "Chinese without": [*SPECIAL, *LETTERS, *HAN],
    "a stray capital": [*SPECIAL, *LETTERS, "COVID", *HAN],
    "Jamo, and capitals": [*SPECIAL, "A", "S", "B", "LG", "SK", *JAMO, *(f"##{letter}" for letter in JAMO)],
    "Jamo and Latin": [*SPECIAL, *LETTERS, *JAMO, *(f"##{letter}" for letter in JAMO)],
    "a stray syllable": [*SPECIAL, *LETTERS, "한"],
}


@pytest.mark.parametrize("pieces", UNCASED.values(), ids=UNCASED)
def test_an_uncased_vocabulary_is_read_as_transformers_reads_it(write: Write, pieces: list[str]) -> None:
    expected = transformers_ids(pieces)
    assert ids(write(pieces)) == expected != transformers_ids(pieces, do_lower_case=False)


def test_hangul_is_decomposed_where_the_vocabulary_is(write: Write) -> None:
    tokenizer = load(write(UNCASED["Jamo and Latin"]))
    assert tokenizer.tokenize("한국") == ["ᄒ", "##ᅡ", "##ᆫ", "##ᄀ", "##ᅮ", "##ᆨ"]


CASED = {
    "German": [*SPECIAL, *LETTERS, "der", "Hund", "Apple", "GROSS", "É", "##lan"],
    "Korean": [*SPECIAL, *LETTERS, "고양이", "한국", "SK", "LG", "Apple", "USB"],
    "Japanese letters": [*SPECIAL, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "下", "雨"],
}


@pytest.mark.parametrize("pieces", CASED.values(), ids=CASED)
def test_a_cased_vocabulary_keeps_case(write: Write, pieces: list[str]) -> None:
    assert ids(write(pieces)) == transformers_ids(pieces, do_lower_case=False) != transformers_ids(pieces)


def test_a_korean_vocabulary_of_small_letters_keeps_syllables_and_lower_cases(write: Write) -> None:
    pieces = [*SPECIAL, *LETTERS, "고양이", "한국", "##어", "우리", "나라"]
    assert ids(write(pieces)) == transformers_ids(pieces, do_lower_case=True, strip_accents=False)
    stated = write(pieces, "stated", tokenizer_config={"do_lower_case": True})
    assert ids(stated) == transformers_ids(pieces, do_lower_case=True)  # as it states


@pytest.mark.parametrize("beside", [{"do_lower_case": False}, {}])
def test_a_sentencepiece_vocabulary_is_refused_by_name(write: Write, beside: dict[str, object]) -> None:
    """KoBERT."""
    pieces = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "▁", "▁고", "▁한국", "가", "나라", *LETTERS[:26]]
    told = refusal(write(pieces, tokenizer_config=beside))
    assert 'vocab.txt is a SentencePiece vocabulary, with pieces such as "▁한국", not one of WordPiece' in told
    assert "`python downloadBert.py klue/bert-base`" in told


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"word_tokenizer_type": "mecab"}, 'splits Japanese text by "mecab" before WordPiece'),
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "splits Japanese text into words before WordPiece"),
        ({"tokenizer_class": "KoBertTokenizer"}, "its vocabulary is for KoBertTokenizer, which takes code of its own"),
        ({"tokenizer_class": "PhobertTokenizer"}, "is for PhobertTokenizer"),
        ({"tokenizer_class": "RobertaTokenizer"}, "is for RobertaTokenizer"),
    ],
)
@pytest.mark.parametrize("file", ["tokenizer_config", "config"])
def test_a_tokenizer_with_code_of_its_own_is_refused_by_name(
    write: Write, config: dict[str, object], message: str, file: str
) -> None:
    folder = write(UNCASED["Chinese without"])
    path = folder / f"{file}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if file == "config" and "tokenizer_class" not in config:
        pytest.skip("a field of tokenizer_config.json")
    path.write_text(json.dumps(old | config), encoding="utf-8")
    assert message in refusal(folder)


def test_a_sentencepiece_model_alone_asks_for_tokenizer_json(tmp_path: Path) -> None:
    folder = families.TINY["camembert, Unigram"].make(tmp_path / "camembert")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(SPECIAL), encoding="utf-8")
    assert "without tokenizer.json, its vocabulary cannot be read: that of CamemBERT" in refusal(folder)


# ------------------------------------------------------------------------------------------- tokenizer.json as it stands


def own_pipeline(pieces: list[str]) -> tokenizers.Tokenizer:
    """A tokenizer with a normalizer and a pre-tokenizer that are not BERT's."""
    backend = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}).backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Replace("-", " "), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(True)])
    return backend


@pytest.mark.parametrize("named", ["BertTokenizer", "BertTokenizerFast", "XLMRobertaTokenizer", None])
def test_tokenizer_json_is_taken_as_it_stands_whatever_class_is_named(write: Write, tmp_path: Path, named: str | None) -> None:
    pieces = UNCASED["Chinese without"]
    folder = write(pieces, tokenizer_config={"tokenizer_class": named, "do_lower_case": False} if named else {})
    backend = own_pipeline(pieces)
    backend.save(str(folder / "tokenizer.json"))
    expected = [encoding.ids for encoding in backend.encode_batch(TEXT)]
    assert ids(folder) == expected != transformers_ids(pieces)
    save_tokenizer(tmp_path / "saved", load(folder), max_tokens=20, inputs=["input_ids"])
    saved = tokenizers.Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert [encoding.ids for encoding in saved.encode_batch(TEXT)] == expected


@pytest.mark.parametrize("lower", [True, False])
def test_what_is_stated_beside_tokenizer_json_is_obeyed_where_its_normalizer_is_berts(write: Write, lower: bool) -> None:
    pieces = [*SPECIAL, *LETTERS, "Apple", "É", "apple", "elan"]
    folder = write(pieces, tokenizer_config={"do_lower_case": lower, "strip_accents": None})
    stated_otherwise = BertTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, do_lower_case=not lower)
    stated_otherwise.backend_tokenizer.save(str(folder / "tokenizer.json"))
    assert ids(folder) == transformers_ids(pieces, do_lower_case=lower)


@pytest.mark.parametrize("stated", [True, False])
def test_a_blank_before_the_text_is_added_where_that_is_stated(tmp_path: Path, stated: bool) -> None:
    """RoBERTa's add_prefix_space."""
    folder = families.TINY["roberta, BPE"].make(tmp_path / "roberta")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"add_prefix_space": stated}), encoding="utf-8")
    assert load(folder).tokenize("the cat")[0].startswith("Ġ") == stated


def test_a_tokenizer_that_adds_no_special_tokens_is_refused(tmp_path: Path) -> None:
    folder = families.TINY["bert, Unigram"].make(tmp_path / "bert")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    (folder / "tokenizer.json").write_text(json.dumps(content | {"post_processor": None}), encoding="utf-8")
    assert "its tokenizer puts no tokens before and after a sentence" in refusal(folder)


def test_what_would_fail_at_the_first_sentence_fails_at_once_and_by_name(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    """Found by the fuzz: a template with a token that it does not define, and an unknown token that is no piece."""
    folder = families.TINY["roberta, WordPiece"].make(tmp_path / "roberta")
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    undefined = {**content, "post_processor": {**content["post_processor"], "special_tokens": {}}}
    unknown = {**content, "model": {**content["model"], "unk_token": "[nothing]"}}
    for damaged, message in ((undefined, r"its post-processor does not define \["), (unknown, "Missing .* token from")):
        (folder / "tokenizer.json").write_text(json.dumps(damaged), encoding="utf-8")
        with pytest.raises(UserMistake, match=f"its vocabulary cannot be read .*{message}"):
            load(folder)
    assert "panicked" not in capfd.readouterr().err


def test_special_tokens_that_only_tokenizer_json_names_are_found(tmp_path: Path) -> None:
    folder = families.TINY["xlm-roberta, Unigram"].make(tmp_path / "xlm")
    (folder / "tokenizer_config.json").unlink()
    tokenizer = load(folder)
    found = (tokenizer.cls_token, tokenizer.sep_token, tokenizer.unk_token, tokenizer.pad_token)
    assert found == ("<s>", "</s>", "<unk>", "<pad>")


def test_decomposed_text_of_a_byte_level_vocabulary_is_left_alone(tmp_path: Path) -> None:
    """Its pieces are of bytes, which are written as letters: Ã is no letter of it."""
    from ConnectionBert import ConnectionBert

    encoder = ConnectionBert.load(families.TINY["roberta, BPE"].make(tmp_path / "roberta"), quiet=True)
    text = "A\u0303 e\u0301"
    assert encoder.tokenize([text])[0][0].tolist() == encoder.tokenizer(text)["input_ids"]


def test_three_files_and_a_copy_of_a_whole_folder_have_the_same_tokens(minilm: Path, tmp_path: Path) -> None:
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        shutil.copyfile(minilm / name, tmp_path / name)
    assert ids(tmp_path) == ids(minilm)
