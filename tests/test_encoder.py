"""The packed encoder: against BertModel padded and a loop by hand; encoding; cutting; saving and loading."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import safe_open
from transformers import BertModel, BertTokenizer

from connection import UserMistake
from connection.encoder.packed.attention import packed_attention
from connection.encoder.packed.blocks import Blocks
from connection.encoder.packed.pooling import pool, pool_blocks
from ConnectionBert import ConnectionBert
from ConnectionDataset import pack

CPU = torch.device("cpu")
POOLINGS = ["mean", "cls", "max"]
LENGTHS = {
    "ragged": [2, 60, 7, 7, 31, 3, 2, 18],
    "equal": [9, 9, 9, 9],
    "a single one": [23],
    "falling": [60, 40, 20, 2],
}


def draw_ids(lengths: list[int], vocabulary: int = 57) -> list[np.ndarray]:
    random = np.random.default_rng(8)
    return [random.integers(1, vocabulary, size=length).astype(np.int32) for length in lengths]


def padded_embeddings(bert: BertModel, sentences: list[np.ndarray], pooling: str) -> torch.Tensor:
    """Transformers' own way: one padded batch with an attention mask; pooled sentence by sentence. (N, H)"""
    longest = max(map(len, sentences))
    ids, mask = (torch.zeros(len(sentences), longest, dtype=torch.long) for _ in range(2))
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence)] = torch.from_numpy(sentence)
        mask[row, : len(sentence)] = 1
    states = bert(input_ids=ids, attention_mask=mask).last_hidden_state
    by_hand = {"mean": lambda x: x.sum(0) / len(x), "cls": lambda x: x[0], "max": lambda x: x.amax(0)}[pooling]
    return torch.stack([by_hand(states[row, : len(sentence)]) for row, sentence in enumerate(sentences)])


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory, bert_factory: Callable[..., BertModel], encoder_writer: Callable) -> Path:
    """A tiny BERT without dropout."""
    bert = bert_factory(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return encoder_writer(tmp_path_factory.mktemp("still") / "encoder", bert)


def reference_bert(folder: Path, attention: str, dtype: torch.dtype) -> BertModel:
    return BertModel.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).to(dtype).eval()


@pytest.fixture
def encoder(tiny_encoder: Path) -> ConnectionBert:
    return ConnectionBert.load(tiny_encoder)


@pytest.mark.parametrize(
    ("attention", "dtype", "tolerance"),
    [("sdpa", torch.float32, 1e-5), ("eager", torch.float64, 1e-12), ("sdpa", torch.float64, 1e-12)],
)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_packed_embeddings_are_those_of_bert_padded(
    still: Path, pooling: str, attention: str, dtype: torch.dtype, tolerance: float
) -> None:
    encoder = ConnectionBert.load(still, pooling=pooling).to(dtype)
    bert = reference_bert(still, attention, dtype)
    for kind, lengths in LENGTHS.items():
        sentences = draw_ids(lengths)
        with torch.no_grad():
            got, expected = encoder(pack(sentences)), padded_embeddings(bert, sentences, pooling)
        assert got.shape == (len(lengths), 32) and got.dtype == expected.dtype == dtype
        torch.testing.assert_close(got, expected, atol=tolerance, rtol=0, msg=lambda text, kind=kind: f"{kind}: {text}")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_packed_gradients_are_those_of_bert_padded(still: Path, pooling: str) -> None:
    sentences = draw_ids(LENGTHS["ragged"])
    weighting = torch.randn(len(sentences), 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    encoder = ConnectionBert.load(still, pooling=pooling).double().train()
    bert = reference_bert(still, "eager", torch.float64).train()
    (encoder(pack(sentences)) * weighting).sum().backward()
    (padded_embeddings(bert, sentences, pooling) * weighting).sum().backward()
    expected = {name: weight.grad for name, weight in bert.named_parameters() if not name.startswith("pooler.")}
    for name, gradient in expected.items():
        got = encoder.bert.get_parameter(name).grad
        torch.testing.assert_close(got, gradient, atol=1e-10, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
        assert gradient.abs().max() > (1e-3 if "key.bias" not in name else 0), name  # a key's bias cancels in softmax


def test_attention_is_the_formula_by_hand() -> None:
    """softmax(Q Kᵀ · scaling) V, sentence by sentence and head by head; nothing passes from one sentence to another."""
    heads, width, scaling = 2, 3, 0.7
    query, key, value = torch.randn(3, 1, heads, 2 + 2 + 5, width, dtype=torch.float64, requires_grad=True)
    got, weights = packed_attention(
        torch.nn.Module(), query, key, value, None, blocks=Blocks([(2, 2), (5, 1)], CPU), scaling=scaling
    )
    assert got.shape == (1, 9, heads, width) and weights is None
    for start, end in [(0, 2), (2, 4), (4, 9)]:
        for head in range(heads):
            q, k, v = (x[0, head, start:end] for x in (query, key, value))
            expected = torch.softmax(q @ k.T * scaling, dim=1) @ v
            torch.testing.assert_close(got[0, start:end, head], expected, atol=1e-14, rtol=0)
        (reach,) = torch.autograd.grad(got[:, start:end].sum(), value, retain_graph=True)
        outside = torch.ones(9, dtype=torch.bool)
        outside[start:end] = False
        assert (reach[:, :, outside] == 0).all() and (reach[:, :, start:end] != 0).any()


def test_attention_drops_weights_where_dropout_is_asked_for() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 400, 4)
    got, _ = packed_attention(
        torch.nn.Module(), query, key, torch.ones(1, 1, 400, 4), None, blocks=Blocks([(4, 100)], CPU), scaling=0.5, dropout=0.3
    )
    assert got.std() > 0.1 and abs(got.mean() - 1) < 0.1  # the weights sum to 1, and so did each row before


def test_pooling_by_hand() -> None:
    """Two sentences of one token, then one of two."""
    states = torch.tensor([[1.0, 5.0], [2.0, 6.0], [3.0, -1.0], [7.0, -3.0]])
    groups = [(1, 2), (2, 1)]
    expected = {"mean": [[1, 5], [2, 6], [5, -2]], "cls": [[1, 5], [2, 6], [3, -1]], "max": [[1, 5], [2, 6], [7, -1]]}
    for pooling, vectors in expected.items():
        assert pool(states, groups, pooling).tolist() == vectors
        assert pool_blocks(states, Blocks(groups, CPU), pooling).tolist() == vectors


def test_dropout_is_on_in_training_and_off_in_evaluation(encoder: ConnectionBert) -> None:
    batch = pack(draw_ids(LENGTHS["ragged"]))
    assert torch.equal(encoder(batch), encoder(batch))
    assert not torch.equal(encoder.train()(batch), encoder(batch))


def test_normalized_embeddings_have_length_1(encoder: ConnectionBert) -> None:
    batch = pack(draw_ids(LENGTHS["ragged"]))
    plain = encoder(batch)
    encoder.normalize = True
    torch.testing.assert_close(encoder(batch), plain / plain.norm(dim=1, keepdim=True))
    assert plain.norm(dim=1).min() > 1.5


def test_under_autocast_embeddings_are_float32_and_close(encoder: ConnectionBert) -> None:
    batch = pack(draw_ids(LENGTHS["ragged"]))
    with torch.autocast("cpu", torch.bfloat16):
        got = encoder(batch)
    assert got.dtype == torch.float32
    assert F.cosine_similarity(got, encoder(batch)).min() > 0.999


# ------------------------------------------------------------------------------------------------------------ encode


def test_encode_gives_float32_vectors_in_the_order_given(
    encoder: ConnectionBert, sentence_factory: Callable[..., list[str]]
) -> None:
    sentences = sentence_factory(30)
    vectors = encoder.encode(sentences)
    assert vectors.shape == (30, 32) and vectors.dtype == np.float32
    assert encoder.dimension == 32 and [x for x, _ in encoder.bert.named_children()] == ["embeddings", "encoder", "pooler"]
    for sentence, vector in zip(sentences, vectors, strict=True):
        assert np.abs(encoder.encode([sentence])[0] - vector).max() < 1e-5
    doubled = [*sentences, *reversed(sentences), sentences[0]]
    assert np.array_equal(encoder.encode(doubled), vectors[[*range(30), *reversed(range(30)), 0]])
    assert len(np.unique(vectors.round(4), axis=0)) == len(set(sentences)) > 25


@pytest.mark.parametrize("batch_size", [1, 2, 7, 64])
def test_batch_size_mates_and_order_do_not_matter(
    encoder: ConnectionBert, sentence_factory: Callable[..., list[str]], batch_size: int
) -> None:
    sentences = list(dict.fromkeys(sentence_factory(16)))
    vectors = encoder.encode(sentences)
    shuffled = np.random.default_rng(batch_size).permutation(len(sentences))
    assert np.abs(encoder.encode([sentences[i] for i in shuffled], batch_size) - vectors[shuffled]).max() < 1e-5
    mates = ["a dog", "the " * 30, *sentences[:5], "?"]
    assert np.abs(encoder.encode(mates, batch_size)[2:7] - vectors[:5]).max() < 1e-5


def test_encode_of_nothing_is_an_empty_table(encoder: ConnectionBert) -> None:
    assert encoder.encode([]).shape == (0, 32) and encoder.encode([]).dtype == np.float32


@pytest.mark.parametrize("wrong", ["a lone string", ["a", None], ["a", 3], [b"a"], [["a"]], [float("nan")]])
def test_what_is_no_list_of_sentences_is_refused(encoder: ConnectionBert, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"list of sentences|not a string"):
        encoder.encode(wrong)


@pytest.mark.parametrize("training", [True, False])
def test_encode_leaves_mode_gradients_and_random_numbers_alone(encoder: ConnectionBert, training: bool) -> None:
    encoder.train(training)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = encoder.encode(["a cat", "two dog"]), encoder.encode(["a cat", "two dog"])
    assert np.array_equal(first, second)  # no dropout, though the encoder may be training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training == training for module in encoder.modules())
    assert all(weight.grad is None for weight in encoder.parameters())
    assert all(weight.requires_grad != (".pooler." in name) for name, weight in encoder.named_parameters())
    encoder(pack(draw_ids([4]))).sum().backward()  # and training goes on


def test_the_mode_comes_back_after_an_error(encoder: ConnectionBert) -> None:
    encoder.train()
    with pytest.raises(Exception, match=r"."):
        encoder.encode_tokens([np.array([2, 5000], dtype=np.int32)])
    assert encoder.training


ODD = {
    "empty": "",
    "blank": " \t\n",
    "emoji only": "🙂🙃🎉",
    "one long word": "a" * 100_000,
    "many words": "cat " * 25_000,
    "control characters": "\x00\x07\ufeff\u200b",
    "other scripts": "한국어 العربية ไทย 漢字",
}


@pytest.mark.parametrize("sentence", ODD.values(), ids=ODD)
def test_odd_sentences_have_finite_vectors(encoder: ConnectionBert, sentence: str) -> None:
    (ids,), _ = encoder.tokenize([sentence])
    assert 2 <= len(ids) <= encoder.max_tokens
    vectors = encoder.encode([sentence, "a cat"])
    assert np.isfinite(vectors).all() and np.abs(vectors[1] - encoder.encode(["a cat"])[0]).max() < 1e-5


def test_half_a_surrogate_pair_has_a_finite_vector(encoder: ConnectionBert) -> None:
    assert np.isfinite(encoder.encode(["a cat \ud83d"])).all()


def test_a_generator_is_encoded_or_refused(encoder: ConnectionBert) -> None:
    try:
        assert encoder.encode(sentence for sentence in ["a cat"]).shape == (1, 32)
    except TypeError as error:
        assert "list" in str(error)


# ---------------------------------------------------------------------------------------------------------- tokenize


def test_a_long_sentence_is_cut_and_counted(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder, max_tokens=6)
    cls, sep = encoder.tokenizer.cls_token_id, encoder.tokenizer.sep_token_id
    fits, long = "a cat is red", "a cat is red never sleeping"
    (first, second, empty), cut = encoder.tokenize([fits, long, ""])
    assert cut == 1 and encoder.tokenize([fits])[1] == 0
    assert first.tolist() == [*second[:5].tolist(), sep]
    assert first.tolist() == second.tolist() and len(second) == 6 and second[0] == cls and second[-1] == sep
    assert empty.tolist() == [cls, sep]
    assert first.dtype == np.int32
    assert encoder.tokenize([long] * 5000)[1] == 5000  # more than one round of the tokeniser


@pytest.mark.parametrize(("asked", "expected"), [(None, 64), (17, 17), (64, 64), (65, 64), (10_000, 64)])
def test_positions_cap_the_number_of_tokens(tiny_encoder: Path, asked: int | None, expected: int) -> None:
    encoder = ConnectionBert.load(tiny_encoder, max_tokens=asked)
    assert encoder.max_tokens == expected
    (ids,), cut = encoder.tokenize(["the " * 200])
    assert len(ids) == expected and cut == 1
    assert np.isfinite(encoder.encode(["the " * 200])).all()


def test_tokens_are_those_of_transformers(
    encoder: ConnectionBert, tiny_encoder: Path, sentence_factory: Callable[..., list[str]]
) -> None:
    vocabulary = (tiny_encoder / "vocab.txt").read_text(encoding="utf-8").split()
    tokenizer = BertTokenizer(vocab={piece: i for i, piece in enumerate(vocabulary)}, do_lower_case=True)
    text = [*sentence_factory(20), "The Cats!", "Ünïcode  dögs?", ""]
    assert [ids.tolist() for ids in encoder.tokenize(text)[0]] == tokenizer(text)["input_ids"]


def test_a_tokenizer_of_another_kind_is_not_taken_silently(tiny_encoder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_encoder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}', encoding="utf-8")
    try:
        assert len(ConnectionBert.load(tmp_path).tokenize(["a cat"])[0][0]) == 4
    except UserMistake as error:
        assert "tokenizer" in str(error)


# ---------------------------------------------------------------------------------------------------- save and load


def test_nothing_is_made_up_and_no_random_number_is_drawn(tiny_encoder: Path) -> None:
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        states.append(ConnectionBert.load(tiny_encoder).state_dict())
        assert torch.equal(torch.get_rng_state(), before)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def unusual(tmp_path: Path, bert_factory: Callable[..., BertModel], encoder_writer: Callable[..., Path]) -> ConnectionBert:
    """An encoder none of whose fields has its default: cased, cls, normalized, 17 tokens."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "cat", "##s", *(f"Word{i}" for i in range(48))]
    bert = bert_factory(5, layer_norm_eps=1e-3, hidden_act="relu", max_position_embeddings=40)
    folder = encoder_writer(tmp_path / "quirky-source-name", bert, vocabulary)
    encoder = ConnectionBert.load(folder, pooling="cls", max_tokens=17)
    encoder.normalize = True
    return encoder


def test_save_and_load_keep_every_field(unusual: ConnectionBert, tmp_path: Path) -> None:
    unusual.save(tmp_path / "saved")
    loaded = ConnectionBert.load(tmp_path / "saved")
    sentences = ["The cats", "the cat", "THE", "Word3 cat Word7", "the " * 50]
    assert (loaded.pooling, loaded.normalize, loaded.max_tokens, loaded.lower_case_first) == ("cls", True, 17, False)
    assert np.array_equal(loaded.encode(sentences), unusual.encode(sentences))
    assert [x.tolist() for x in loaded.tokenize(sentences)[0]] == [x.tolist() for x in unusual.tokenize(sentences)[0]]
    assert np.abs(loaded.encode(["The"]) - loaded.encode(["the"])).max() > 0.01  # case is kept
    pairs = zip(loaded.state_dict().items(), unusual.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(weight, theirs) for (name, weight), (other, theirs) in pairs)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_pooling_and_normalize_come_back(encoder: ConnectionBert, tmp_path: Path, pooling: str, normalize: bool) -> None:
    encoder.pooling, encoder.normalize = pooling, normalize
    encoder.save(tmp_path)
    loaded = ConnectionBert.load(tmp_path)
    assert (loaded.pooling, loaded.normalize) == (pooling, normalize)
    assert np.array_equal(loaded.encode(["a cat"]), encoder.encode(["a cat"]))


def test_saved_twice_and_saved_again_after_loading_the_bytes_are_equal(unusual: ConnectionBert, tmp_path: Path) -> None:
    unusual.save(tmp_path / "first")
    unusual.encode(["The cat " * 30])
    unusual.save(tmp_path / "second")
    ConnectionBert.load(tmp_path / "first").save(tmp_path / "third")
    first = files_of(tmp_path / "first")
    assert first == files_of(tmp_path / "second") == files_of(tmp_path / "third")
    assert {"config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"} <= first.keys()


def test_lower_casing_before_the_tokenizer_comes_back_and_does_not_pile_up(
    tmp_path: Path, bert_factory: Callable[..., BertModel], encoder_writer: Callable[..., Path]
) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "cat", *(f"Word{i}" for i in range(49))]
    source = encoder_writer(tmp_path / "source", bert_factory(), vocabulary)
    (source / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 30, "do_lower_case": True}))
    encoder = ConnectionBert.load(source)
    assert encoder.tokenize(["The CAT"])[0][0].tolist() == [2, 6, 7, 3]
    encoder.save(tmp_path / "first")
    ConnectionBert.load(tmp_path / "first").save(tmp_path / "second")
    loaded = ConnectionBert.load(tmp_path / "second")
    assert loaded.lower_case_first and loaded.tokenize(["The CAT"])[0][0].tolist() == [2, 6, 7, 3]
    assert files_of(tmp_path / "first") == files_of(tmp_path / "second")


def test_what_is_saved_is_no_pickle_and_betrays_no_path(unusual: ConnectionBert, tmp_path: Path) -> None:
    unusual.save(tmp_path / "saved")
    for name, content in files_of(tmp_path / "saved").items():
        assert Path(name).suffix in {".json", ".safetensors"}, name
        for betrayal in (str(tmp_path), str(Path.home()), "quirky-source-name", "Users"):
            assert betrayal.encode() not in content, (name, betrayal)
    with safe_open(tmp_path / "saved" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    modes = {stat.S_IMODE((tmp_path / "saved" / name).stat().st_mode) for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1  # whoever may read the one may read the other


def test_safetensors_are_preferred_where_both_lie(unusual: ConnectionBert, tmp_path: Path) -> None:
    unusual.save(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"no weights")
    assert np.array_equal(ConnectionBert.load(tmp_path).encode(["The cat"]), unusual.encode(["The cat"]))


def test_saving_while_training_writes_plain_float32_weights(encoder: ConnectionBert, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    encoder.train().double().save(tmp_path)
    assert encoder.training and (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
    weights = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert not ConnectionBert.load(tmp_path).training


def test_others_can_load_what_is_saved_as_a_plain_bert(unusual: ConnectionBert, tmp_path: Path) -> None:
    unusual.save(tmp_path)
    bert = BertModel.from_pretrained(tmp_path).eval()
    ids = unusual.tokenize(["The cat", "Word1 Word2 the cat"])[0]
    expected = F.normalize(padded_embeddings(bert, ids, "cls"), dim=1)
    torch.testing.assert_close(unusual(pack(ids)), expected, atol=1e-5, rtol=0)
