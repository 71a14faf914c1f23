"""Interchange with sentence-transformers, and training beside it: the same vectors, the same weights after five steps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel, get_linear_schedule_with_warmup

from connection import UserMistake
from connection.training.losses.cosine import cosine_loss
from connection.training.optimizer import make_optimizer
from connection.training.schedule import learning_rate_at
from ConnectionBert import ConnectionBert
from ConnectionDataset import ConnectionDataset, epoch_loader

pytest.importorskip("sentence_transformers", reason="sentence-transformers, the oracle of these tests, is not installed")
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses, modules

SENTENCES = ["a cat is sleeping.", "The red DOG?", "two", "the woman was never eating " * 9, "five blue bird", ""]
POOLINGS = ["mean", "cls", "max"]
Save = Callable[..., Path]


def oracle(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def assert_same_vectors(ours: ConnectionBert, theirs: SentenceTransformer, sentences: list[str] = SENTENCES) -> None:
    expected = theirs.encode(sentences, show_progress_bar=False)
    assert np.abs(ours.encode(sentences) - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 0.01


@pytest.fixture
def saved_by_them(tiny_encoder: Path, tmp_path: Path) -> Save:
    """Let sentence-transformers build an encoder from the tiny BERT and save it; returns the folder."""

    def save(*then: torch.nn.Module, pooling: str | tuple[str, ...] = "mean", tokens: int = 20, **settings: object) -> Path:
        transformer = modules.Transformer(str(tiny_encoder))
        transformer.max_seq_length = tokens
        parts = [transformer, modules.Pooling(32, pooling_mode=pooling), *then]
        model = SentenceTransformer(modules=parts, device="cpu", **settings)
        model.save(str(tmp_path / "theirs"), create_model_card=False)
        return tmp_path / "theirs"

    return save


def change_json(path: Path, **changes: object) -> None:
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(old | changes), encoding="utf-8")


# -------------------------------------------------------------------------------------------------------- from here to there


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_they_load_what_we_save(tiny_encoder: Path, tmp_path: Path, pooling: str, normalize: bool) -> None:
    encoder = ConnectionBert.load(tiny_encoder, pooling=pooling, max_tokens=17)
    encoder.normalize = normalize
    encoder.save(tmp_path)
    theirs = oracle(tmp_path)
    assert theirs.max_seq_length == 17 and theirs[1].pooling_mode == pooling and len(theirs) == 2 + normalize
    assert_same_vectors(encoder, theirs)
    assert np.allclose(np.linalg.norm(encoder.encode(SENTENCES), axis=1), 1) == normalize


@pytest.mark.parametrize("lower_case_first", [True, False])
def test_they_load_a_cased_encoder_of_ours(
    tmp_path: Path,
    bert_factory: Callable[..., BertModel],
    encoder_writer: Callable[..., Path],
    lower_case_first: bool,
) -> None:
    words = ["The", "the", "cat", "Cat", "##s", "고양이", *(f"Word{i}" for i in range(46))]
    source = encoder_writer(tmp_path / "cased", bert_factory(4), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    change_json(source / "sentence_bert_config.json", max_seq_length=17, do_lower_case=lower_case_first)
    encoder = ConnectionBert.load(source, pooling="max")
    assert encoder.lower_case_first == lower_case_first
    sentences = ["The Cats", "the cats", "THE 고양이", "Cat " * 40]
    text_is_equal = np.abs(np.diff(encoder.encode(sentences)[:2], axis=0)).max() < 1e-6
    assert text_is_equal == lower_case_first
    encoder.save(tmp_path / "saved")
    expected = oracle(tmp_path / "saved").encode(sentences, show_progress_bar=False)
    assert np.abs(encoder.encode(sentences) - expected).max() < 1e-5
    assert np.abs(ConnectionBert.load(tmp_path / "saved").encode(sentences) - expected).max() < 1e-5


def test_they_load_an_encoder_without_a_pooler(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    encoder.bert.pooler = None
    encoder.save(tmp_path)
    assert_same_vectors(encoder, oracle(tmp_path))


def test_what_they_train_on_comes_back(tiny_encoder: Path, tmp_path: Path) -> None:
    before = ConnectionBert.load(tiny_encoder, pooling="cls", max_tokens=17)
    before.normalize = True
    before.save(tmp_path / "ours")
    theirs = oracle(tmp_path / "ours")
    theirs.train()
    features = [theirs.tokenize(side) for side in (SENTENCES[:3], SENTENCES[3:])]
    losses.CosineSimilarityLoss(theirs)(features, torch.tensor([0.1, 0.9, 0.4])).backward()
    torch.optim.AdamW(theirs.parameters(), lr=1e-2).step()
    theirs.eval()
    theirs.save(str(tmp_path / "theirs"), create_model_card=False)
    after = ConnectionBert.load(tmp_path / "theirs")
    assert (after.pooling, after.normalize, after.max_tokens) == ("cls", True, 17)
    assert_same_vectors(after, theirs)
    assert np.abs(after.encode(SENTENCES) - before.encode(SENTENCES)).max() > 1e-3


# -------------------------------------------------------------------------------------------------------- from there to here


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_we_load_what_they_save(saved_by_them: Save, pooling: str, normalize: bool) -> None:
    folder = saved_by_them(*[modules.Normalize()] * normalize, pooling=pooling)
    encoder = ConnectionBert.load(folder)
    assert (encoder.pooling, encoder.normalize, encoder.max_tokens) == (pooling, normalize, 20)
    assert_same_vectors(encoder, oracle(folder))
    assert encoder.tokenize(SENTENCES)[1] == 1  # the longest was cut


def test_another_pooling_takes_the_place_of_the_folders(saved_by_them: Save, tmp_path: Path) -> None:
    folder = saved_by_them(pooling="max")
    assert (ConnectionBert.load(folder).pooling, ConnectionBert.load(folder, pooling="max").pooling) == ("max", "max")
    encoder = ConnectionBert.load(folder, pooling="cls")
    encoder.save(tmp_path / "ours")
    assert_same_vectors(encoder, oracle(tmp_path / "ours"))


def test_their_lower_casing_is_kept(saved_by_them: Save) -> None:
    """do_lower_case with a tokenizer that keeps case."""
    folder = saved_by_them()
    change_json(folder / "tokenizer_config.json", do_lower_case=False)
    assert np.ptp(ConnectionBert.load(folder).encode(["THE dog", "the dog"]), axis=0).max() > 0.01
    change_json(folder / "sentence_bert_config.json", do_lower_case=True)
    encoder = ConnectionBert.load(folder)
    assert encoder.lower_case_first and np.ptp(encoder.encode(["THE dog", "the dog"]), axis=0).max() == 0
    assert_same_vectors(encoder, oracle(folder))


def test_the_old_layout_with_two_folders(saved_by_them: Save, tmp_path: Path) -> None:
    new, old = saved_by_them(pooling="cls"), tmp_path / "old"
    (old / "1_Pooling").mkdir(parents=True)
    bert = old / "0_Transformer"
    bert.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        shutil.copyfile(new / name, bert / name)
    (bert / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 11, "do_lower_case": False}))
    modes = {"cls_token": True, "mean_tokens": False, "max_tokens": False, "mean_sqrt_len_tokens": False}
    pooling = {"word_embedding_dimension": 32} | {f"pooling_mode_{mode}": on for mode, on in modes.items()}
    (old / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    types = ["Transformer", "Pooling"]
    listed = [
        {"idx": i, "name": str(i), "path": f"{i}_{x}", "type": f"sentence_transformers.models.{x}"} for i, x in enumerate(types)
    ]
    (old / "modules.json").write_text(json.dumps(listed))
    encoder = ConnectionBert.load(old)
    assert (encoder.pooling, encoder.normalize, encoder.max_tokens) == ("cls", False, 11)
    assert_same_vectors(encoder, oracle(old))


def test_the_embedded_encoder_has_the_vectors_of_theirs(minilm: Path) -> None:
    sentences = ["A man is playing a guitar.", "Ein Mädchen läuft.", "The stock market fell 3.5% today.", "", "long " * 400]
    encoder = ConnectionBert.load(minilm)
    assert (encoder.pooling, encoder.normalize, encoder.dimension) == ("mean", True, 384)
    assert encoder.max_tokens == oracle(minilm).max_seq_length
    assert_same_vectors(encoder, oracle(minilm), sentences)


REFUSED: dict[str, tuple[Callable[[Save], object], str]] = {
    "Dense": (lambda save: save(modules.Dense(32, 8)), "Transformer, Pooling, Dense"),
    "two poolings": (lambda save: save(pooling=("cls", "mean")), r"cls \+ mean"),
    "mean_sqrt_len": (lambda save: save(pooling="mean_sqrt_len_tokens"), "mean_sqrt_len"),
    "no BERT": (lambda save: change_json(save() / "config.json", model_type="t5"), 'model type is "t5"'),
    "a decoder": (lambda save: change_json(save() / "config.json", is_decoder=True), "decoder"),
    "another task": (
        lambda save: change_json(save() / "sentence_bert_config.json", transformer_task="fill-mask"),
        "transformer_task",
    ),
    "a foreign module": (lambda save: rename_module(save(), "type", "evil.models.Transformer"), "Transformer, Pooling"),
    "a path outside": (lambda save: rename_module(save(), "path", "../elsewhere"), "outside of its folder|lacks"),
}


def rename_module(folder: Path, field: str, value: str) -> None:
    listed = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    listed[0][field] = value
    (folder / "modules.json").write_text(json.dumps(listed), encoding="utf-8")


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_supported_is_refused_by_name(
    saved_by_them: Save, tmp_path: Path, make: Callable[[Save], object], message: str
) -> None:
    make(saved_by_them)
    with pytest.raises(UserMistake, match=message) as error:
        ConnectionBert.load(tmp_path / "theirs")
    assert str(tmp_path / "theirs") in str(error.value)


def test_prompts_without_a_default_are_fine_and_kept(saved_by_them: Save, tmp_path: Path) -> None:
    folder = saved_by_them(prompts={"asked": "query: "}, similarity_fn_name="dot")
    encoder = ConnectionBert.load(folder)
    assert_same_vectors(encoder, oracle(folder))
    encoder.save(tmp_path / "ours")
    theirs, again = oracle(folder), oracle(tmp_path / "ours")
    assert again.prompts["asked"] == "query: " and again.similarity_fn_name == "dot"
    found, expected = (model.encode(["a cat"], prompt_name="asked") for model in (again, theirs))
    np.testing.assert_allclose(found, expected, atol=1e-6)


# ------------------------------------------------------------------------------------------------------------- training


def train_theirs(folder: Path, batches: list[list[int]], texts: tuple, pooling: str, normalize: bool, clip: float) -> BertModel:
    """AdamW with two groups by name, transformers' schedule, clipping: five steps of CosineSimilarityLoss."""
    then = [modules.Normalize()] * normalize
    model = SentenceTransformer(
        modules=[modules.Transformer(str(folder)), modules.Pooling(32, pooling_mode=pooling), *then], device="cpu"
    ).double()
    model.train()
    no_decay = ("bias", "LayerNorm.weight")
    named = list(model.named_parameters())
    groups = [
        {"params": [weight for name, weight in named if not name.endswith(no_decay)], "weight_decay": 0.01},
        {"params": [weight for name, weight in named if name.endswith(no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, foreach=False)
    schedule = get_linear_schedule_with_warmup(optimizer, 2, len(batches))
    objective = losses.CosineSimilarityLoss(model)
    for rows in batches:
        features = [model.tokenize([side[row] for row in rows]) for side in texts[:2]]
        objective(features, torch.tensor([texts[2][row] for row in rows], dtype=torch.float64)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    return model[0].model


@pytest.mark.parametrize(("pooling", "normalize", "clip"), [("mean", False, 1.0), ("cls", False, 0.02), ("max", True, 0.02)])
def test_five_steps_are_those_of_cosine_similarity_loss(
    tmp_path: Path,
    bert_factory: Callable[..., BertModel],
    encoder_writer: Callable[..., Path],
    sentence_factory: Callable[..., list[str]],
    pooling: str,
    normalize: bool,
    clip: float,
) -> None:
    bert = bert_factory(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    folder = encoder_writer(tmp_path / "still", bert)
    sentences = sentence_factory(60)
    texts = (sentences[:40], sentences[20:], [float(np.float32(i / 39)) for i in range(40)])
    encoder = ConnectionBert.load(folder, pooling=pooling).double().train()
    encoder.normalize = normalize
    optimizer = make_optimizer(encoder, weight_decay=0.01)
    batches = list(epoch_loader(ConnectionDataset(*texts, encoder.tokenize), batch_size=9, seed=3, epoch=1))
    assert len(batches) == 5 and len(batches[-1].rows) == 4
    clipped = 0
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, 5, 1e-3, 0.4)
        cosine_loss(encoder(batch).chunk(2), batch.scores.double()).backward()
        clipped += bool(torch.nn.utils.clip_grad_norm_(encoder.parameters(), clip) > clip)
        optimizer.step()
        optimizer.zero_grad()
    assert clip == 1 or clipped >= 4  # the clipping had something to do

    start = dict(bert.named_parameters())
    theirs = dict(
        train_theirs(folder, [batch.rows.tolist() for batch in batches], texts, pooling, normalize, clip).named_parameters()
    )
    assert theirs.keys() | {"pooler.dense.weight", "pooler.dense.bias"} == start.keys()
    for name, weight in encoder.bert.named_parameters():
        if name.startswith("pooler."):
            assert torch.equal(weight.float(), start[name]), name  # no gradient: not even decay
            continue
        difference = (weight - theirs[name]).abs().max().item()
        assert difference < 1e-9, (name, difference)
        moved = (weight - start[name].double()).abs().max().item()
        # A key's bias adds the same to all scores of a query; the softmax takes it out again: its gradient is rounding.
        assert moved > (0 if name.endswith("key.bias") else 1e-4), (name, moved)
