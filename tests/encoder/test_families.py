"""Every family of encoders, each with its kind of tokenizer: tokens, vectors, gradients, saving, training and resuming."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import runs
import torch
import transformers
from torch import Tensor

import bertFineTuningWithConnectionData as script
from connection import UserMistake
from connection.encoder.families import FAMILIES
from connection.encoder.families.mpnet import distance_buckets
from connection.encoder.plain_model import PlainModel
from ConnectionBert import ConnectionBert
from ConnectionDataset import pack

SENTENCES = [
    "a cat is sleeping.",
    "The red DOG?",
    "two",
    "the woman was never eating " * 9,
    "Élan 고양이가 №3 😀",
    "",
    "a <pad> b",
]
Encoders = Callable[[str], Path]


@pytest.fixture(scope="session")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    """The folder of a tiny encoder of families.TINY, made once and only read."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = families.TINY[name].make(tmp_path_factory.mktemp("families") / "tiny")
        return made[name]

    return make


every_one = pytest.mark.parametrize("name", families.TINY)


def test_every_family_has_a_tiny_encoder() -> None:
    assert {name.split(",")[0] for name in families.TINY} == set(FAMILIES)


def structure(model: torch.nn.Module) -> list[tuple[str, type, object]]:
    """What holds weights, in the order of the weights: name, kind, and what else matters of it."""
    kinds = (torch.nn.Linear, torch.nn.LayerNorm, torch.nn.Embedding)
    holders = [(name, module) for name, module in model.named_modules() if isinstance(module, kinds)]
    order: dict[str, int] = {}
    for place, (name, _) in enumerate(model.named_parameters()):
        order.setdefault(name.rpartition(".")[0], place)
    holders.sort(key=lambda holder: order[holder[0]])
    return [(name, type(x), getattr(x, "padding_idx", None) or getattr(x, "eps", None)) for name, x in holders]


@every_one
def test_weights_without_transformers_code_are_the_same_encoder(
    encoders: Encoders, name: str, tmp_path: Path, sentence_factory: Callable
) -> None:
    """The same modules in the same order, so the same vectors, gradients and files to the bit."""
    results = []
    for whole in (True, False):
        encoder = ConnectionBert.load(encoders(name), whole=whole, quiet=True)
        is_plain = isinstance(encoder.bert, PlainModel)
        assert is_plain == (not whole and bool(encoder.family.layers_at))
        weights = [(name, weight.shape, weight.requires_grad) for name, weight in encoder.bert.named_parameters()]
        vectors = encoder.encode(SENTENCES)
        encoder.save(tmp_path / str(whole))
        encoder.train_rows_of(np.arange(9))
        torch.manual_seed(0)
        encoder.train()(pack([np.arange(5, 9), np.arange(5, 7)])).sin().sum().backward()
        gradients = {name: weight.grad for name, weight in encoder.named_parameters() if weight.grad is not None}
        facts = structure(encoder.bert), weights, encoder.bert.num_parameters(), encoder.bert.dtype, encoder.device
        results.append((facts, vectors, gradients))
    (facts, vectors, gradients), (own_facts, own_vectors, own_gradients) = results
    assert facts == own_facts and np.array_equal(vectors, own_vectors) and gradients.keys() == own_gradients.keys()
    assert len(gradients) > 10 and all(torch.equal(x, own_gradients[name]) for name, x in gradients.items())
    for path in (tmp_path / "True").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "False" / path.relative_to(tmp_path / "True")).read_bytes(), path.name


def test_a_plain_model_says_that_it_computes_nothing(encoders: Encoders) -> None:
    encoder = ConnectionBert.load(encoders("roberta, BPE"), whole=False, quiet=True)
    encoder.by_hand = False
    with pytest.raises(RuntimeError, match="load it with whole=True"):
        encoder.encode(["a"])


def test_an_activation_of_transformers_needs_its_code(encoders: Encoders, tmp_path: Path) -> None:
    folder = shutil.copytree(encoders("roberta, BPE"), tmp_path / "relu")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu_new"}), encoding="utf-8")
    whole, plain = (ConnectionBert.load(folder, whole=whole, quiet=True) for whole in (True, False))
    assert type(whole.bert) is type(plain.bert) and np.array_equal(whole.encode(["a"]), plain.encode(["a"]))


def test_the_buckets_of_distances_are_those_of_transformers() -> None:
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder

    positions = torch.arange(500)
    assert torch.equal(distance_buckets(500), MPNetEncoder.relative_position_bucket(positions - positions[:, None]))


def padded(sentences: list[np.ndarray], padding: int) -> tuple[Tensor, Tensor]:
    """Token ids (N, L) and the attention mask (N, L)."""
    ids = torch.full((len(sentences), max(map(len, sentences))), padding)
    mask = torch.zeros_like(ids)
    for row, sentence in enumerate(sentences):
        ids[row, : len(sentence)] = torch.from_numpy(sentence)
        mask[row, : len(sentence)] = 1
    return ids, mask


@every_one
@pytest.mark.parametrize("layers", ["by hand", "composed", "transformers"])
def test_outputs_and_gradients_are_those_of_transformers_in_float64(
    encoders: Encoders, name: str, layers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = ConnectionBert.load(encoders(name), quiet=True)
    encoder.by_hand = layers != "transformers"
    assert encoder.runs_by_hand == (encoder.by_hand and not name.startswith("modernbert"))
    if layers == "composed":  # as on a card
        monkeypatch.setattr(ConnectionBert, "runs_by_hand", False)
    encoder = encoder.double()
    attention = "sdpa" if name.startswith("modernbert") else "eager"
    theirs = transformers.AutoModel.from_pretrained(encoders(name), attn_implementation=attention).double().eval()
    sentences = encoder.tokenize(SENTENCES)[0]
    ids, mask = padded(sentences, encoder.tokenizer.pad_token_id)
    states = theirs(input_ids=ids, attention_mask=mask).last_hidden_state  # (N, L, H)
    expected = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # the mean of the tokens
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected * weights).sum().backward()
    found = encoder(pack(sentences))
    (found * weights).sum().backward()
    assert (found - expected).abs().max() < 1e-9
    gradients = {key: x.grad for key, x in theirs.named_parameters() if x.grad is not None}
    ours = {key: x.grad for key, x in encoder.bert.named_parameters() if x.grad is not None}
    assert ours.keys() == gradients.keys()
    assert max((ours[key] - gradients[key]).abs().max() for key in ours) < 1e-9
    assert len(ours) > 12


@every_one
def test_inference_and_training_without_dropout_are_one_computation(encoders: Encoders, name: str) -> None:
    encoder = ConnectionBert.load(encoders(name), quiet=True)
    batch = pack(encoder.tokenize(SENTENCES)[0])
    with torch.no_grad():
        alone = encoder(batch)
    assert (encoder(batch) - alone).abs().max() < 1e-5
    encoder.train()
    if name.startswith("modernbert"):  # has none by default
        return
    assert (encoder(batch) - alone).abs().max() > 1e-2  # dropout
    torch.manual_seed(3)
    first = encoder(batch)
    torch.manual_seed(3)
    assert torch.equal(encoder(batch), first)


def oracle(folder: Path) -> Any:
    theirs = pytest.importorskip("sentence_transformers", reason="sentence-transformers, the oracle, is not installed")
    return theirs.SentenceTransformer(str(folder), device="cpu", local_files_only=True)


@every_one
def test_tokens_and_vectors_are_those_of_sentence_transformers_before_and_after_saving(
    encoders: Encoders, name: str, tmp_path: Path
) -> None:
    encoder = ConnectionBert.load(encoders(name), pooling="mean", max_tokens=33, quiet=True)
    theirs = oracle(encoders(name))
    theirs.max_seq_length = 33
    assert_same(encoder, theirs)
    encoder.pooling = "cls"
    encoder.save(tmp_path / "ours")
    again = oracle(tmp_path / "ours")
    assert again.max_seq_length == 33 and again[1].pooling_mode == "cls"
    assert_same(encoder, again)
    again.save(str(tmp_path / "theirs"), create_model_card=False)
    loaded = ConnectionBert.load(tmp_path / "theirs", quiet=True)
    assert (loaded.pooling, loaded.max_tokens) == ("cls", 33)
    assert_same(loaded, again)
    ConnectionBert.load(tmp_path / "ours", quiet=True).save(tmp_path / "twice")
    for path in (tmp_path / "ours").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "twice" / path.relative_to(tmp_path / "ours")).read_bytes(), path.name
    plain = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")(SENTENCES[0], return_tensors="pt")
    state = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()(**plain).last_hidden_state[0, 0]
    assert np.abs(state.detach().numpy() - encoder.encode(SENTENCES[:1])[0]).max() < 1e-5


def assert_same(ours: ConnectionBert, theirs: Any) -> None:
    tokens = theirs.tokenizer(SENTENCES, truncation=True, max_length=theirs.max_seq_length)["input_ids"]
    assert [ids.tolist() for ids in ours.tokenize(SENTENCES)[0]] == tokens
    vectors = theirs.encode(SENTENCES, show_progress_bar=False)
    assert np.abs(ours.encode(SENTENCES) - vectors).max() < 1e-5
    assert np.abs(vectors[0] - vectors[1]).max() > 0.01


def test_a_roberta_is_trained_and_resumed_to_the_byte(encoders: Encoders, pairs_files: dict[str, Path], tmp_path: Path) -> None:
    runs.check_training(script, encoders("roberta, WordPiece"), pairs_files, tmp_path)


@pytest.mark.slow
@every_one
def test_each_is_trained_and_resumed_to_the_byte(
    encoders: Encoders, pairs_files: dict[str, Path], tmp_path: Path, name: str
) -> None:
    runs.check_training(script, encoders(name), pairs_files, tmp_path)


def test_a_bias_by_position_takes_part_in_training(encoders: Encoders) -> None:
    """MPNet's, shared by its layers."""
    encoder = ConnectionBert.load(encoders("mpnet, WordPiece"), quiet=True)
    encoder(pack(encoder.tokenize(SENTENCES)[0])).square().sum().backward()
    assert encoder.bert.encoder.relative_attention_bias.weight.grad.abs().max() > 1e-4


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("roberta, BPE", {"pad_token_id": None}, '"pad_token_id" is None; RoBERTa counts positions from it'),
        ("roberta, BPE", {"pad_token_id": 58}, '"pad_token_id" is 58'),
        ("mpnet, WordPiece", {"relative_attention_num_buckets": 16}, "at least 32 is expected"),
        ("distilbert, WordPiece", {"n_heads": 5}, '"dim" is not a multiple of "n_heads"'),
        ("electra, WordPiece", {"embedding_size": 0}, '"embedding_size" is 0; a whole number from 1'),
        ("modernbert, BPE", {"rope_scaling": {"type": "yarn"}}, "rotary positions are scaled"),
    ],
)
def test_a_configuration_that_a_family_cannot_have_is_named(
    encoders: Encoders, tmp_path: Path, name: str, change: dict[str, object], message: str
) -> None:
    folder = Path(shutil.copytree(encoders(name), tmp_path / "changed"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    with pytest.raises(UserMistake, match=message):
        ConnectionBert.load(folder)
