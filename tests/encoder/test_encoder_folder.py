"""Encoder folders: every weight arrives or the load is refused; casing; what is not supported is named."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import runs
import safetensors.torch
import torch
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

import connection.encoder.weights
from connection import UserMistake
from connection.encoder.folder import inspect_encoder
from connection.encoder.weights import load_config, weights_bytes
from connection.script.interruption import Stopped
from ConnectionBert import ConnectionBert

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SENTENCES = ["a cat is sleeping.", "The red DOG?", "two"]
Weights = dict[str, Tensor]


@pytest.fixture
def folder(tiny_encoder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny plain BERT, to be changed."""
    return Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))


def weights_of(folder: Path) -> Weights:
    return safetensors.torch.load_file(folder / "model.safetensors")


def put_weights(folder: Path, weights: object, name: str = "model.safetensors") -> None:
    """Replace the folder's weights."""
    for old in ("model.safetensors", "pytorch_model.bin"):
        (folder / old).unlink(missing_ok=True)
    if name.endswith(".bin"):
        torch.save(weights, folder / name)
    else:
        safetensors.torch.save_file(weights, folder / name)


def change_json(path: Path, **changes: object) -> None:
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | changes), encoding="utf-8")


def assert_loads(folder: Path, weights: Weights) -> None:
    """Every weight of the encoder is the one given, bit for bit, in float32."""
    got = ConnectionBert.load(folder).bert.state_dict()
    wanted = {name: weight for name, weight in weights.items() if not name.startswith("pooler.")}
    assert {name for name in got if not name.startswith("pooler.")} == wanted.keys()
    for name, weight in got.items():
        assert weight.dtype == torch.float32 and torch.equal(weight, weights[name].float()), name


# ----------------------------------------------------------------------------------------------------------- weights


def published(weights: Weights) -> Weights:
    """Under the names of the published checkpoint: `bert.`, gamma and beta, and the heads it was trained with."""
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    named = {}
    for name, weight in weights.items():
        for new, published_name in old.items():
            name = name.replace(new, published_name)
        named["bert." + name] = weight
    heads = {"cls.predictions.bias": 57, "cls.predictions.transform.LayerNorm.gamma": 32, "cls.seq_relationship.bias": 2}
    return named | {name: torch.full((size,), 0.5) for name, size in heads.items()}


@pytest.mark.parametrize("buffer", ["", "bert.embeddings.position_ids"])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_every_weight_of_a_published_checkpoint_arrives(folder: Path, file: str, buffer: str) -> None:
    weights = weights_of(folder)
    extra = {buffer: torch.arange(64)[None].flip(1)} if buffer else {}  # nonsense in the file changes nothing
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    put_weights(folder, published(weights) | extra, file)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    plain = {name: config[name] for name in (*sizes, "max_position_embeddings", "type_vocab_size")}
    plain |= {"architectures": ["BertForMaskedLM"], "model_type": "bert", "gradient_checkpointing": False}
    plain |= {"position_embedding_type": "absolute", "transformers_version": "4.6.0.dev0", "use_cache": True}
    (folder / "config.json").write_text(json.dumps(plain), encoding="utf-8")
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt", file}
    assert_loads(folder, weights)
    assert np.array_equal(ConnectionBert.load(folder).encode(SENTENCES), expected)


def test_a_masked_lm_saved_by_transformers_has_no_pooler_and_one_line_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ConnectionBert.load(folder)
    assert capsys.readouterr().out == ""
    model = BertForMaskedLM(BertConfig.from_pretrained(folder))
    weights = {name: weight for name, weight in weights_of(folder).items() if not name.startswith("pooler.")}
    model.bert.load_state_dict(weights)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    model.save_pretrained(folder)
    capsys.readouterr()
    loaded = ConnectionBert.load(folder)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and "no pooler" in lines[0] and str(folder) in lines[0]
    assert loaded.bert.pooler is None and "pooler" not in dict(loaded.bert.named_children())
    assert_loads(folder, weights)
    assert np.array_equal(loaded.encode(SENTENCES), before.encode(SENTENCES))
    capsys.readouterr()
    ConnectionBert.load(folder, quiet=True).save(folder.parent / "saved")
    again = ConnectionBert.load(folder.parent / "saved", quiet=True)
    assert again.bert.pooler is None and np.array_equal(again.encode(SENTENCES), loaded.encode(SENTENCES))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_weights_of_another_precision_become_float32(folder: Path, dtype: torch.dtype, file: str) -> None:
    weights = {name: weight.to(dtype) for name, weight in weights_of(folder).items()}
    put_weights(folder, weights, file)
    change_json(folder / "config.json", dtype=str(dtype).removeprefix("torch."), torch_dtype="float16")
    assert_loads(folder, weights)
    assert ConnectionBert.load(folder).encode(SENTENCES).dtype == np.float32


BIAS = "encoder.layer.1.output.LayerNorm.bias"
DAMAGES: dict[str, tuple[Callable[[Weights], object], str]] = {
    "missing": (lambda w: w.pop(BIAS), f"lacks 1 of 39 weights, such as {BIAS}"),
    "half a pooler": (lambda w: w.pop("pooler.dense.bias"), "lacks 1 of 39 weights, such as pooler.dense.bias"),
    "misshapen": (lambda w: w.update({BIAS: torch.ones(31)}), rf"{BIAS} of shape \(31,\).* \(32,\)"),
    "unknown": (lambda w: w.update({"encoder.layer.2.output.dense.bias": torch.ones(32)}), "encoder.layer.2.output.dense.bias"),
    "nothing at all": (lambda w: w.clear(), "lacks 37 of 37 weights"),
    "nan": (lambda w: w[BIAS].__setitem__(3, float("nan")), "not finite"),
    "infinite": (lambda w: w[BIAS].__setitem__(3, float("inf")), "not finite"),
}


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_any_other_weight_that_is_wrong_is_named(
    folder: Path, file: str, damage: Callable[[Weights], object], message: str
) -> None:
    weights = weights_of(folder)
    damage(weights)
    put_weights(folder, weights, file)
    with pytest.raises(UserMistake, match=message) as error:
        ConnectionBert.load(folder)
    assert str(folder / file) in str(error.value)


NOT_FINITE = [torch.full((32,), float("nan")), torch.ones(32).long(), torch.full((32,), 1e300, dtype=torch.float64)]


@pytest.mark.parametrize("wrong", NOT_FINITE, ids=["nan", "whole numbers", "too large for float32"])
def test_a_weight_that_is_not_finite_is_named(folder: Path, wrong: Tensor) -> None:
    put_weights(folder, weights_of(folder) | {BIAS: wrong})
    with pytest.raises(UserMistake, match=BIAS):
        ConnectionBert.load(folder)


def test_one_weight_under_two_names_is_refused(folder: Path) -> None:
    put_weights(folder, weights_of(folder) | {"embeddings.LayerNorm.gamma": torch.zeros(32)})
    with pytest.raises(UserMistake, match=r"embeddings\.LayerNorm"):
        ConnectionBert.load(folder)


NO_STATE_DICTS = {"a list": [1, 2], "a tensor": torch.ones(3), "numbers for names": {1: torch.ones(2)}, "no tensor": {BIAS: 3}}


@pytest.mark.parametrize("content", NO_STATE_DICTS.values(), ids=NO_STATE_DICTS)
def test_a_bin_file_without_a_state_dict_is_refused(folder: Path, content: object) -> None:
    weights = weights_of(folder)
    put_weights(folder, weights | content if isinstance(content, dict) else content, "pytorch_model.bin")
    with pytest.raises(UserMistake, match=r"pytorch_model\.bin"):
        ConnectionBert.load(folder)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 1000, -1])
def test_a_truncated_file_is_refused(folder: Path, file: str, kept: int) -> None:
    put_weights(folder, weights_of(folder), file)
    (folder / file).write_bytes((folder / file).read_bytes()[:kept])
    with pytest.raises(UserMistake, match="cannot be read as weights") as error:
        ConnectionBert.load(folder)
    assert str(folder / file) in str(error.value)


class Bomb:
    """Pickled, it touches a file when it is read."""

    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.canary,)


@pytest.mark.parametrize("form", ["pickle", "torch.save"])
def test_a_malicious_pickle_is_refused_and_never_run(folder: Path, tmp_path: Path, form: str) -> None:
    bomb = weights_of(folder) | {"extra": Bomb(tmp_path / "canary")}
    put_weights(folder, weights_of(folder), "pytorch_model.bin")
    if form == "pickle":
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(bomb, protocol=2))
    else:
        torch.save(bomb, folder / "pytorch_model.bin")
    with pytest.raises(UserMistake, match=r"pytorch_model\.bin cannot be read"):
        ConnectionBert.load(folder)
    assert not (tmp_path / "canary").exists()
    if form == "pickle":
        pickle.loads((folder / "pytorch_model.bin").read_bytes())
    else:
        torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "canary").exists()  # the bomb was a live one


# ------------------------------------------------------------------------------------------------------------ casing


def vocabulary_of(words: Sequence[str]) -> list[str]:
    """57 pieces, as many as the tiny BERT has."""
    pieces = [*SPECIAL, *words]
    return [*pieces, *(f"[unused{number}]" for number in range(57 - len(pieces)))]


def write_vocabulary(folder: Path, words: Sequence[str]) -> dict[str, int]:
    pieces = vocabulary_of(words)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    return {piece: number for number, piece in enumerate(pieces)}


ENGLISH = ["the", "cat", "cafe", "##s", "naive"]
CASED = ["The", "the", "Cat", "cat", "##s", "café"]
KOREAN = ["고양이", "##가", "강아지", "한국", "##어", "자고", "있다"]
TEXT = ["The Cats", "the CAT café", "고양이가 자고 있다", "강아지 한국어"]


def tokens(encoder: ConnectionBert, sentence: str) -> list[str]:
    return encoder.tokenizer.convert_ids_to_tokens(encoder.tokenize([sentence])[0][0].tolist())[1:-1]


@pytest.mark.parametrize(("words", "cased"), [(ENGLISH, False), (CASED, True), (KOREAN, True)])
def test_casing_follows_from_the_vocabulary_where_nothing_states_it(folder: Path, words: list[str], cased: bool) -> None:
    vocabulary = write_vocabulary(folder, words)
    encoder = ConnectionBert.load(folder)
    expected = BertTokenizer(vocab=vocabulary, do_lower_case=not cased)(TEXT)["input_ids"]
    wrong = BertTokenizer(vocab=vocabulary, do_lower_case=cased)(TEXT)["input_ids"]
    assert [ids.tolist() for ids in encoder.tokenize(TEXT)[0]] == expected != wrong


def test_an_uncased_vocabulary_lower_cases_and_a_cased_or_korean_one_keeps_its_words(folder: Path) -> None:
    write_vocabulary(folder, ENGLISH)
    assert tokens(ConnectionBert.load(folder), "The CATS Café") == ["the", "cat", "##s", "cafe"]
    write_vocabulary(folder, CASED)
    assert tokens(ConnectionBert.load(folder), "The Cats the café CAT") == ["The", "Cat", "##s", "the", "café", "[UNK]"]
    write_vocabulary(folder, KOREAN)
    assert tokens(ConnectionBert.load(folder), "고양이가 자고 있다 한국어") == [
        "고양이",
        "##가",
        "자고",
        "있다",
        "한국",
        "##어",
    ]


@pytest.mark.parametrize(("words", "stated"), [(ENGLISH, False), (CASED, True), (KOREAN, True)])
def test_stated_casing_is_obeyed(folder: Path, words: list[str], stated: bool) -> None:
    """Each says the opposite of its vocabulary."""
    vocabulary = write_vocabulary(folder, words)
    change_json(folder / "tokenizer_config.json", do_lower_case=stated, tokenizer_class="BertTokenizer")
    expected = BertTokenizer(vocab=vocabulary, do_lower_case=stated)(TEXT)["input_ids"]
    assert [ids.tolist() for ids in ConnectionBert.load(folder).tokenize(TEXT)[0]] == expected


@pytest.mark.parametrize("beside_vocab", [False, True])
@pytest.mark.parametrize(
    ("words", "lower"),
    [(CASED, True), (ENGLISH, False), (CASED, False), (KOREAN, False)],
)
def test_the_normalizer_of_tokenizer_json_is_obeyed(folder: Path, words: list[str], lower: bool, beside_vocab: bool) -> None:
    vocabulary = write_vocabulary(folder, words)
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=lower)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    if not beside_vocab:
        (folder / "vocab.txt").unlink()
    assert [ids.tolist() for ids in ConnectionBert.load(folder).tokenize(TEXT)[0]] == tokenizer(TEXT)["input_ids"]


def test_three_files_of_an_uncased_bert_tokenise_as_its_folder_does(minilm: Path, tmp_path: Path) -> None:
    """config.json, vocab.txt and the weights alone, as people download them: the same tokens."""
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        shutil.copyfile(minilm / name, tmp_path / name)
    whole, three = (ConnectionBert.load(folder, max_tokens=128) for folder in (minilm, tmp_path))
    text = ["The Cat sat in Paris.", "Ünïcode Zürich", "ℝ"]
    assert [ids.tolist() for ids in three.tokenize(text)[0]] == [ids.tolist() for ids in whole.tokenize(text)[0]]


def test_a_vocabulary_larger_than_the_weights_is_refused(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join([*vocabulary_of(ENGLISH), "more"]), encoding="utf-8")
    with pytest.raises(UserMistake, match="piece number 57, but the weights are for 57 pieces"):
        ConnectionBert.load(folder)


def test_a_vocabulary_smaller_than_the_weights_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """Some encoders have spare rows; a file that was cut off has them too."""
    (folder / "vocab.txt").write_text("\n".join(vocabulary_of(ENGLISH)[:-2]), encoding="utf-8")
    ConnectionBert.load(folder)
    assert "the vocabulary has 55 pieces, the weights are for 57." in capsys.readouterr().out


def test_a_byte_order_mark_in_a_json_file_changes_nothing(folder: Path) -> None:
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    path = folder / "config.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert np.array_equal(ConnectionBert.load(folder).encode(SENTENCES), expected)


DAMAGED_VOCABULARIES = {"no UTF-8": "caf\xe9".encode("latin-1"), "empty": b"", "a page": b"<html>not found</html>"}


@pytest.mark.parametrize("content", DAMAGED_VOCABULARIES.values(), ids=DAMAGED_VOCABULARIES)
def test_a_damaged_vocabulary_is_refused(folder: Path, content: bytes) -> None:
    (folder / "vocab.txt").write_bytes(content)
    try:
        ConnectionBert.load(folder).tokenize(["a cat"])
    except UserMistake as error:
        assert str(folder) in str(error)
    except Exception as error:
        pytest.fail(f"{type(error).__name__}: {error}")
    else:
        pytest.fail("it loads")


# ---------------------------------------------------------------------------------------------- what is missing or odd


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        (["config.json"], "config.json"),
        (["vocab.txt"], "vocab.txt or tokenizer.json"),
        (["model.safetensors"], "model.safetensors or pytorch_model.bin"),
        (["config.json", "vocab.txt", "model.safetensors"], "config.json, vocab.txt or tokenizer.json, model.safetensors"),
    ],
)
def test_what_a_folder_lacks_is_named(folder: Path, gone: list[str], named: str) -> None:
    for name in gone:
        (folder / name).unlink()
    with pytest.raises(UserMistake, match=f"lacks {named}") as error:
        ConnectionBert.load(folder)
    assert str(folder) in str(error.value) and "downloadBert.py" in str(error.value) and "by hand" in str(error.value)


def test_a_missing_folder_a_file_and_the_folder_of_a_run_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMistake, match=r"nowhere does not exist;"):
        ConnectionBert.load(tmp_path / "nowhere")
    with pytest.raises(UserMistake, match=r"is the file .*vocab\.txt; give the folder"):
        ConnectionBert.load(folder / "vocab.txt")
    run = tmp_path / "run"
    shutil.copytree(folder, run / "best")
    (run / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserMistake, match=r"folder of a run; its encoder is .*best"):
        ConnectionBert.load(run)
    ConnectionBert.load(run / "best")


REFUSED_CONFIGS = [
    ({"model_type": "albert"}, 'model type is "albert"'),
    ({"is_decoder": True}, "decoder"),
    ({"add_cross_attention": True}, "decoder"),
    ({"position_embedding_type": "relative_key"}, "relative_key"),
    ({"vocab_size": "57"}, "vocab_size"),
    ({"num_attention_heads": 5}, "not a multiple"),
    ({"hidden_dropout_prob": float("nan")}, '"hidden_dropout_prob" is nan; a number from 0 to 0.99 is expected'),
    ({"attention_probs_dropout_prob": 1}, '"attention_probs_dropout_prob" is 1; a number from 0 to 0.99'),
    ({"layer_norm_eps": 0}, '"layer_norm_eps" is 0; a number from 1e-20 to 0.01'),
    ({"layer_norm_eps": None}, '"layer_norm_eps" is None; a number from 1e-20 to 0.01'),
    ({"num_hidden_layers": 3}, "lacks 16 of 55 weights"),
    ({"max_position_embeddings": 32}, r"\(64, 32\) where config.json says \(32, 32\)"),
]
CRASHES = [
    {"layer_norm_eps": 0},
    {"hidden_act": "foo"},
    {"hidden_dropout_prob": 7},
    {"layer_norm_eps": "x"},
    {"pad_token_id": 100},
]


@pytest.mark.parametrize(("change", "message"), [*REFUSED_CONFIGS, *((change, "config.json") for change in CRASHES)])
def test_a_config_that_is_not_supported_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    change_json(folder / "config.json", **change)
    with pytest.raises(UserMistake, match=message) as error:
        ConnectionBert.load(folder)
    assert str(folder) in str(error.value)


HARMLESS = [{"dtype": "float16"}, {"auto_map": {"AutoModel": "evil.Model"}}, {"_attn_implementation": "eager"}]
HARMFUL = [{"return_dict": False}, {"chunk_size_feed_forward": 7}]


@pytest.mark.parametrize("change", [*HARMLESS, *HARMFUL])
def test_settings_of_other_programs_in_config_json_change_nothing(folder: Path, change: dict[str, object]) -> None:
    expected = ConnectionBert.load(folder).encode(SENTENCES)
    change_json(folder / "config.json", **change)
    assert np.array_equal(ConnectionBert.load(folder).encode(SENTENCES), expected)


def test_the_room_for_weights_is_that_of_float32_without_heads(tmp_path: Path, bert_factory: Callable) -> None:
    bert = bert_factory()
    expected = sum(4 * weight.numel() for weight in bert.parameters())
    weights = {f"bert.{name}": weight.detach() for name, weight in bert.named_parameters()} | {"cls.bias": torch.ones(9)}
    for folder, changed in (("half", {name: weight.half() for name, weight in weights.items()}), ("whole", weights)):
        path = runs.write_encoder(tmp_path / folder, bert)
        safetensors.torch.save_file(changed, path / "model.safetensors")
        assert weights_bytes(inspect_encoder(path)) == expected
    (path / "model.safetensors").unlink()
    torch.save(weights, path / "pytorch_model.bin")
    assert weights_bytes(inspect_encoder(path)) == expected


def test_a_signal_while_a_model_is_made_is_no_fault_of_its_files(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Struck between two steps of its bookkeeping, torch answers with an error of its own."""

    def struck(family: object, config: object, *, pooler: bool) -> None:
        try:
            raise Stopped(15)
        finally:
            raise RuntimeError("trying to pop from empty mode stack")

    monkeypatch.setattr(connection.encoder.weights, "PlainModel", struck)
    with pytest.raises(Stopped):
        load_config(inspect_encoder(tiny_encoder))
