"""The layer written by hand computes what transformers' BertModel computes: outputs, every gradient, with dropout too."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertModel

import connection.encoder.packed.dropout
import connection.encoder.packed.forward
import connection.encoder.packed.processor
import connection.encoder.packed.products
from connection.encoder.packed.attention_plan import AttentionPlan, choose_groups
from connection.encoder.packed.dropout import draw_masks
from connection.encoder.packed.forward import row_count
from connection.encoder.packed.processor import has_bfloat16, is_intel
from connection.encoder.packed.products import (
    has_onednn,
    input_gradient,
    linear,
    products_in,
    weight_gradient,
    weights_cast_once,
    works,
)
from connection.encoder.packed.trained_rows import TrainedRows
from ConnectionBert import ConnectionBert
from ConnectionDataset import PackedBatch, pack

LENGTHS = [3, 3, 4, 9, 9, 5, 17, 2, 30, 5, 1]  # ragged: alone, equal, near and far lengths
Bert = Callable[..., BertModel]


def make_batch(lengths: list[int] = LENGTHS, seed: int = 0, highest: int = 50) -> tuple[PackedBatch, list[np.ndarray]]:
    random = np.random.default_rng(seed)
    sentences = [random.integers(5, highest, size=length).astype(np.int32) for length in lengths]
    return pack(sentences), sentences


def make_encoder(bert: BertModel, pooling: str = "mean") -> ConnectionBert:
    bert.set_attn_implementation("connection_packed")
    return ConnectionBert(bert, None, pooling=pooling, normalize=False, max_tokens=64).to(torch.float64)


def gradients(encoder: ConnectionBert, batch: PackedBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Embeddings, and the gradient of every weight of a sum that weighs each of their numbers otherwise."""
    encoder.zero_grad()
    embeddings = encoder(batch)
    (embeddings * torch.arange(embeddings.numel(), dtype=embeddings.dtype).view_as(embeddings).sin()).sum().backward()
    return embeddings.detach(), {name: x.grad for name, x in encoder.named_parameters() if x.grad is not None}


def assert_same(first: tuple, second: tuple, atol: float = 1e-12) -> None:
    assert (first[0] - second[0]).abs().max() < atol
    assert first[1].keys() == second[1].keys() and len(first[1]) > 16
    for name, gradient in first[1].items():
        assert (gradient - second[1][name]).abs().max() < atol * max(1, gradient.abs().max()), name
        assert name.endswith("key.bias") or gradient.abs().max() > 1e-6, name  # softmax takes no notice of the key's bias


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_outputs_and_every_gradient_are_those_of_transformers_layers(bert_factory: Bert, pooling: str) -> None:
    encoder, (batch, _) = make_encoder(bert_factory(), pooling), make_batch()
    by_hand = gradients(encoder, batch)
    encoder.by_hand = False
    assert_same(by_hand, gradients(encoder, batch))


def test_outputs_are_those_of_bert_padded(bert_factory: Bert) -> None:
    bert, (batch, sentences) = bert_factory().double(), make_batch()
    ids = torch.zeros(len(sentences), max(LENGTHS), dtype=torch.long)
    for row, sentence in zip(ids, sentences, strict=True):
        row[: len(sentence)] = torch.from_numpy(sentence.astype(np.int64))
    mask = (torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]).double()
    states = bert(ids, attention_mask=mask).last_hidden_state
    expected = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    assert (make_encoder(bert)(batch) - expected).abs().max() < 1e-12


def test_dropout_falls_where_it_falls_in_bert_and_its_gradients_are_right(
    bert_factory: Bert, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the masks of the one way given to the other. One sentence: then both lay attention out alike."""
    encoder, (batch, _) = make_encoder(bert_factory(3)), make_batch([13])
    encoder.train()
    rows = row_count(13)
    masks = draw_masks([(rows, 32)] * 5 + [(4, 13, 13)] * 2, 0.4)
    hidden, attention = masks[:5], masks[5:]
    monkeypatch.setattr(
        connection.encoder.packed.forward, "draw_masks", lambda shapes, p: hidden if len(shapes) == 5 else attention
    )
    by_hand = gradients(encoder, batch)

    order = (hidden[0], attention[0], hidden[1], hidden[2], attention[1], hidden[3], hidden[4])
    places = iter([mask.factors().double() for mask in order])
    monkeypatch.setattr(
        F, "dropout", lambda x, p, training=True, inplace=False: x * next(places)[..., : x.shape[-2], :].view_as(x)
    )
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda q, k, v, attn_mask, dropout_p, scale: (
            F.dropout(torch.softmax(q @ k.transpose(-1, -2) * scale, -1), dropout_p) @ v
        ),
    )
    encoder.by_hand = False
    assert_same(by_hand, gradients(encoder, batch))
    assert next(places, None) is None


def test_gradients_are_those_of_finite_differences(bert_factory: Bert) -> None:
    """Without any other backward to lean on: the directional derivative, along a random direction, dropout on."""
    encoder, (batch, _) = make_encoder(bert_factory(5)), make_batch([2, 3, 5, 7])
    encoder.train()

    def loss() -> Tensor:
        torch.manual_seed(1)
        return encoder(batch).sin().sum()

    loss().backward()
    weights = [weight for weight in encoder.parameters() if weight.grad is not None]
    directions = [torch.randn_like(weight) for weight in weights]
    slope = sum((weight.grad * direction).sum() for weight, direction in zip(weights, directions, strict=True))
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for weight, direction in zip(weights, directions, strict=True):
                weight.add_(direction, alpha=sign * 1e-5 * (1 if sign > 0 else 2))
            values.append(loss())
    assert torch.isclose((values[0] - values[1]) / 2e-5, slope, rtol=1e-6)


def test_inference_is_the_same_computation(bert_factory: Bert) -> None:
    encoder, (batch, _) = make_encoder(bert_factory()), make_batch()
    with torch.inference_mode():
        inferred = encoder(batch)
    assert (inferred - encoder(batch)).abs().max() < 1e-12


@pytest.mark.parametrize("change", [{"hidden_act": "relu"}, {"hidden_act": "gelu_new"}])
def test_another_activation_is_left_to_transformers(bert_factory: Bert, change: dict) -> None:
    encoder, (batch, _) = make_encoder(bert_factory(**change)), make_batch()
    chosen = encoder(batch)
    encoder.by_hand = False
    assert torch.equal(chosen, encoder(batch))


def test_in_bfloat16_layers_by_hand_and_composed_are_as_near_to_float32_as_those_of_transformers(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, (batch, _) = ConnectionBert.load(tiny_encoder), make_batch(highest=20)
    (exact, exact_gradients), found = gradients(encoder, batch), []
    with torch.autocast("cpu", torch.bfloat16):
        found.append(gradients(encoder, batch))
        monkeypatch.setattr(ConnectionBert, "runs_by_hand", False)
        for encoder.by_hand in (True, False):
            found.append(gradients(encoder, batch))
    by_hand, composed, theirs = (float((embeddings - exact).abs().max()) for embeddings, _ in found)
    assert 1e-5 < by_hand < 2 * theirs < 0.1 and 1e-5 < composed < 2 * theirs and by_hand != composed
    assert len(exact_gradients) > 16
    for name, gradient in exact_gradients.items():
        own, _, other = (float((named[name] - gradient).norm()) for _, named in found)
        assert found[0][1][name].dtype == torch.float32 and own < 2 * other + 1e-6, name


def test_in_bfloat16_each_weight_is_cast_once_a_step_and_once_for_all_batches_of_encode(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, cast = ConnectionBert.load(tiny_encoder), []
    weights = {id(x) for x in encoder.parameters() if x.dim() == 2}
    real = torch.Tensor.to

    def to(self: Tensor, *arguments: object, **named: object) -> Tensor:
        if torch.bfloat16 in arguments and id(self) in weights and self.dtype == torch.float32:
            cast.append(id(self))
        return real(self, *arguments, **named)

    monkeypatch.setattr(torch.Tensor, "to", to)
    with torch.autocast("cpu", torch.bfloat16):
        gradients(encoder, make_batch()[0])
        once = len(cast)
        encoder.encode_tokens(make_batch(highest=20)[1], batch_size=2)
    layers = encoder.bert.config.num_hidden_layers
    assert once == len(set(cast)) == 6 * layers and len(cast) == 2 * once
    with weights_cast_once(), torch.no_grad():  # outside, a changed weight is cast anew
        pass
    before = encoder.encode_tokens(make_batch(highest=20)[1])
    with torch.no_grad():
        next(x for x in encoder.parameters() if id(x) in cast).mul_(2)
    assert not np.array_equal(before, encoder.encode_tokens(make_batch(highest=20)[1]))


def test_in_bfloat16_a_step_has_the_same_bits_each_time(tiny_encoder: Path) -> None:
    encoder, results = ConnectionBert.load(tiny_encoder).train(), []
    for _ in range(2):
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16):
            results.append(gradients(encoder, make_batch(highest=20)[0]))
    (first, named), (second, again) = results
    assert torch.equal(first, second) and all(torch.equal(x, again[name]) for name, x in named.items())


def test_without_instructions_for_bfloat16_products_stay_in_float32(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, (batch, _) = ConnectionBert.load(tiny_encoder), make_batch(highest=20)
    exact, found = encoder(batch), []
    for has in (False, True):
        monkeypatch.setattr(connection.encoder.packed.products, "has_bfloat16", lambda has=has: has)
        with products_in("bfloat16", encoder.device):
            found.append(torch.equal(encoder(batch), exact))
    with products_in("float32", encoder.device):
        assert torch.equal(encoder(batch), exact)
    assert found == [True, False]


@pytest.mark.parametrize(
    ("capabilities", "old", "expected"),
    [
        ({"avx512_bf16": True}, {}, True),
        ({"amx_bf16": True}, {}, True),
        ({"avx2": True, "avx512_bf16": False}, {}, False),
        (None, {"_is_avx512_bf16_supported": lambda: True}, True),
        (None, {"_is_avx512_bf16_supported": lambda: False, "_is_amx_tile_supported": lambda: True}, True),
        (None, {}, False),  # a torch that has renamed both
    ],
)
def test_the_instructions_are_those_that_torch_reports(
    capabilities: dict | None, old: dict, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    for name, function in old.items():
        monkeypatch.setattr(torch.cpu, name, function, raising=False)
    if capabilities is not None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    assert has_bfloat16.__wrapped__() is expected
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert has_bfloat16.__wrapped__() is False


@pytest.mark.parametrize(("facts", "expected"), [("vendor_id\t: GenuineIntel\n", True), ("vendor_id\t: AuthenticAMD\n", False)])
def test_the_maker_of_the_processor_is_read(
    facts: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(connection.encoder.packed.processor, "PROCESSOR_FACTS", path)
    monkeypatch.setenv("PROCESSOR_IDENTIFIER", f"Family 6 Model 1, {facts.split()[-1]}")  # as on Windows
    assert is_intel.__wrapped__() is expected
    path.write_text(facts, encoding="utf-8")
    monkeypatch.delenv("PROCESSOR_IDENTIFIER")
    assert is_intel.__wrapped__() is expected


# ---------------------------------------------------------------------------------------------------------- attention's groups


@pytest.mark.parametrize("group_cost", [0, 30, 10**9])
def test_the_plan_lays_out_every_head_and_brings_it_back(group_cost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connection.encoder.packed.attention_plan.GROUP_COST", group_cost)
    batch, _ = make_batch()
    tokens = len(batch.input_ids)
    plan = AttentionPlan(batch.groups, heads=4, dimension=2, filled=tokens + 3)
    states = torch.arange(8.0, 8 + (tokens + 3) * 8).view(-1, 8)
    gathered = plan.gather(states)
    made = plan.new_rows(gathered)
    made[:-1] = gathered
    back = plan.scatter(made)
    assert torch.equal(back[:-3], states[:-3]) and not back[-3:].any()
    start = 0
    blocks = [block for group in plan.groups for block in group.block(gathered).unflatten(0, (group.count, 4))]
    for length, block in zip(batch.lengths.tolist(), blocks, strict=True):  # (heads, longest, d)
        assert torch.equal(block[:, :length].transpose(0, 1).flatten(1), states[start : start + length])
        start += length
    real = sum(LENGTHS) * 4
    assert len(gathered) - len(plan.padding) == real and (group_cost or len(gathered) == real)


def test_groups_cost_the_least_of_all_ways_to_put_runs_together() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        runs = [(length, int(random.integers(1, 5))) for length in sorted(random.choice(40, size=6, replace=False) + 1)]
        cost = int(random.integers(0, 3000))

        def total(groups: list, cost: int = cost) -> int:
            return sum(sum(count for _, count in group) * group[-1][0] ** 2 + cost for group in groups)

        ways = []
        for cuts in range(32):
            groups = [[runs[0]]]
            for i, run in enumerate(runs[1:]):
                groups.append([run]) if cuts >> i & 1 else groups[-1].append(run)
            ways.append(total(groups))
        chosen = choose_groups(runs, cost)
        assert [run for group in chosen for run in group] == runs and total(chosen) == min(ways)


# ------------------------------------------------------------------------------------------------------------------- dropout


def test_masks_drop_their_share_and_keep_the_mean() -> None:
    torch.manual_seed(0)
    for probability in (0.0, 0.1, 0.5):
        masks = draw_masks([(1000, 1000), (3, 5)], probability)
        first, second = (mask.factors() for mask in masks)
        assert first.shape == (1000, 1000) and second.shape == (3, 5) and first.dtype == torch.float32
        dropped = (first == 0).double().mean().item()
        assert abs(dropped - probability) < 4 * (probability * (1 - probability) / 1e6) ** 0.5 + 2e-5
        kept = first[first != 0]
        assert torch.all(kept == kept[0]) and abs(float(kept[0]) - 1 / (1 - probability)) < 1e-4
        # neighbours, which come out of one drawn number, know nothing of each other
        flat = (first == 0).double().flatten()
        for distance in (1, 2, 3, 4):
            both = (flat[:-distance] * flat[distance:]).mean().item()
            assert abs(both - dropped**2) < 1e-3


def test_large_masks_take_a_quarter_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    floats = draw_masks([(40, 30), (7,)], 0.3)
    monkeypatch.setattr(connection.encoder.packed.dropout, "_FLOATS_KEPT", 1206)
    torch.manual_seed(3)
    bools = draw_masks([(40, 30), (7,)], 0.3)
    assert all(mask.kept.dtype == torch.bool for mask in bools) and all(mask.kept.dtype == torch.float32 for mask in floats)
    assert all(torch.equal(one.factors(), other.factors()) for one, other in zip(floats, bools, strict=True))


def test_masks_follow_from_the_seed_whatever_was_drawn_before() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return draw_masks([(50, 7)], 0.3)[0].factors()

    first = draw(1)
    torch.rand(100)
    assert torch.equal(draw(1), first) and not torch.equal(draw(2), first)


# ------------------------------------------------------------------------------------------------------------------ products


@pytest.fixture(params=[False, True], ids=["torch's products", "oneDNN's"])
def each_product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either way, whichever is faster here."""
    if request.param and not works():
        pytest.skip("this torch has no such operator")
    monkeypatch.setattr(connection.encoder.packed.products, "is_faster", lambda: request.param)


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (64, 32, 48), (33, 1, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.usefixtures("each_product")
def test_products_are_those_of_a_linear_layer(shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    tokens, inner, outer = shape
    states, gradient = torch.randn(tokens, inner, dtype=dtype), torch.randn(tokens, outer, dtype=dtype)
    weight, bias = torch.randn(outer, inner, dtype=dtype), torch.randn(outer, dtype=dtype)
    tolerance = {"atol": 1e-4 if dtype == torch.float32 else 1e-12, "rtol": 0}
    assert torch.allclose(linear(states, weight, bias), states @ weight.t() + bias, **tolerance)
    assert torch.allclose(input_gradient(gradient, weight), gradient @ weight, **tolerance)
    assert torch.allclose(weight_gradient(gradient, states), gradient.t() @ states, **tolerance)


@pytest.mark.parametrize("shape", [(5, 7, 3), (64, 32, 48), (33, 1, 9)])
def test_products_in_bfloat16_are_those_of_the_rounded_operands(shape: tuple[int, int, int]) -> None:
    tokens, inner, outer = shape
    states, gradient, weight = torch.randn(tokens, inner), torch.randn(tokens, outer), torch.randn(outer, inner)
    bias = torch.randn(outer)
    x, g, w = (tensor.bfloat16() for tensor in (states, gradient, weight))
    for found, expected in (
        (linear(x, w), x.double() @ w.double().t()),
        (linear(x, w, bias) - bias, x.double() @ w.double().t()),
        (input_gradient(g, w), g.double() @ w.double()),
        (weight_gradient(g, x), g.double().t() @ x.double()),
    ):
        assert found.dtype == torch.float32
        assert torch.allclose(found.double(), expected, rtol=2**-8, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no oneDNN here")
def test_this_torch_still_has_the_operator() -> None:
    """If this fails, a new torch has renamed it: training is right all the same, but slower."""
    assert works()


@pytest.mark.parametrize(
    ("capability", "intel", "expected"), [("AVX512", False, True), ("AVX512", True, False), ("AVX2", False, False)]
)
def test_the_operator_is_used_where_it_is_faster(
    capability: str, intel: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = connection.encoder.packed.products
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(products, "is_intel", lambda: intel)
    monkeypatch.setattr(products, "is_faster", products.is_faster.__wrapped__)
    assert has_onednn() is (expected and works())
    monkeypatch.setattr(products, "works", lambda: False)
    assert not has_onednn()


def test_without_the_operator_torchs_own_products_are_taken(bert_factory: Bert, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, (batch, _), found = make_encoder(bert_factory()).float(), make_batch(), []
    for has in (True, False):
        for module in (connection.encoder.packed.products, connection.encoder.packed.forward):
            monkeypatch.setattr(module, "has_onednn", lambda has=has: has and works())
        found.append(gradients(encoder, batch))
    assert_same(*found, atol=1e-3)


# -------------------------------------------------------------------------------------------------------------- trained rows


def test_training_some_rows_gives_the_weights_of_training_all(tiny_encoder: Path) -> None:
    results = []
    for only_some in (False, True):
        encoder = ConnectionBert.load(tiny_encoder).to(torch.float64)
        batches = [make_batch(seed=seed, highest=20)[0] for seed in range(4)]
        if only_some:
            encoder.train_rows_of(np.concatenate([batch.input_ids.numpy() for batch in batches]))
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2, weight_decay=0.0)
        encoder.train()
        for step, batch in enumerate(batches):
            torch.manual_seed(step)
            encoder(batch).sin().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        results.append((encoder.eval(), encoder.weights()))
    (_, expected), (encoder, found) = results
    assert list(expected) == list(found)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    words = encoder.bert.embeddings.word_embeddings
    assert isinstance(words, TrainedRows) and len(words.rows) == 15 and len(words.rest) == len(words.row_of) - 15 > 0


def test_a_padding_token_in_a_text_has_no_gradient_whatever_is_trained(tiny_encoder: Path) -> None:
    batch = pack([np.array([2, 0, 9, 3], dtype=np.int32)])
    for only_some in (False, True):
        encoder = ConnectionBert.load(tiny_encoder).train()
        before = encoder.weights()["embeddings.word_embeddings.weight"].clone()
        if only_some:
            encoder.train_rows_of(batch.input_ids.numpy())
        optimizer = torch.optim.SGD(encoder.parameters(), lr=1.0)
        encoder(batch).sin().sum().backward()
        optimizer.step()
        moved = (encoder.weights()["embeddings.word_embeddings.weight"] != before).any(1)
        assert moved.nonzero().flatten().tolist() == [2, 3, 9]


def test_trained_rows_are_in_the_table_at_once_and_are_saved_in_its_order(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    before = encoder.weights()["embeddings.word_embeddings.weight"].clone()
    encoder.train_rows_of(np.array([9, 7, 9]))
    with torch.no_grad():
        encoder.bert.embeddings.word_embeddings.rows += 1
    expected = before.clone()
    expected[[7, 9]] += 1
    assert torch.equal(encoder.bert.embeddings.word_embeddings(torch.arange(len(before))), expected)
    encoder.save(tmp_path)
    assert torch.equal(ConnectionBert.load(tmp_path).weights()["embeddings.word_embeddings.weight"], expected)


def test_weights_come_back_into_the_tensors_that_are_there(tiny_encoder: Path, bert_factory: Bert) -> None:
    source, encoder = make_encoder(bert_factory(7)).float(), ConnectionBert.load(tiny_encoder)
    encoder.train_rows_of(np.arange(5, 20))
    places = {name: weight.data_ptr() for name, weight in encoder.named_parameters()}
    encoder.load_weights(source.weights())
    assert places == {name: weight.data_ptr() for name, weight in encoder.named_parameters()}
    assert all(torch.equal(weight, source.weights()[name]) for name, weight in encoder.weights().items())
    with pytest.raises(ValueError, match="another encoder"):
        encoder.load_weights({name: weight[:1] for name, weight in source.weights().items()})


def trained_encoder(folder: Path) -> tuple[ConnectionBert, Tensor]:
    """An encoder that trains the rows of two tokens, moved by 1; and the whole table as it is then."""
    encoder = ConnectionBert.load(folder)
    expected = encoder.weights()["embeddings.word_embeddings.weight"].clone()
    encoder.train_rows_of(np.array([9, 7]))
    with torch.no_grad():
        encoder.bert.get_input_embeddings().rows += 1
    expected[[7, 9]] += 1
    return encoder, expected


def table_of(encoder: torch.nn.Module) -> Tensor:
    return encoder.weights()["embeddings.word_embeddings.weight"]


def test_a_copy_of_trained_rows_is_whole_and_its_own(tiny_encoder: Path) -> None:
    encoder, expected = trained_encoder(tiny_encoder)
    twin = copy.deepcopy(encoder)
    with torch.no_grad():
        twin.bert.get_input_embeddings().rows += 1
    assert torch.equal(table_of(encoder), expected)
    expected[[7, 9]] += 1
    assert torch.equal(table_of(twin), expected)
    words = twin.bert.get_input_embeddings().eval()
    assert torch.equal(words(torch.arange(len(expected))), expected)


def test_an_average_of_trained_rows_is_that_of_their_tables(tiny_encoder: Path) -> None:
    encoder, expected = trained_encoder(tiny_encoder)
    average = torch.optim.swa_utils.AveragedModel(encoder, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5))
    average.update_parameters(encoder)
    with torch.no_grad():
        encoder.bert.get_input_embeddings().rows += 1
    average.update_parameters(encoder)
    expected[[7, 9]] += 0.5
    torch.testing.assert_close(table_of(average.module), expected)


def test_a_cast_and_a_state_dict_take_trained_rows_along(tiny_encoder: Path) -> None:
    encoder, expected = trained_encoder(tiny_encoder)
    other = ConnectionBert.load(tiny_encoder)
    other.train_rows_of(np.array([7, 9]))
    other.load_state_dict(encoder.state_dict())
    assert torch.equal(table_of(other), expected)
    encoder.double()
    assert table_of(encoder).dtype == torch.float64 and torch.equal(table_of(encoder), expected.double())
    assert encoder.eval()(pack([np.array([2, 9, 3], dtype=np.int32)])).dtype == torch.float64
    assert {tensor.device.type for tensor in encoder.to("meta").state_dict().values()} == {"meta"}


# ------------------------------------------------------------------------------------------------ modules not the plain ones


class LowRank(torch.nn.Module):
    """A linear layer with an adapter beside it, as LoRA has it (Hu et al., 2021)."""

    def __init__(self, linear: torch.nn.Linear):
        super().__init__()
        self.linear = linear
        self.weight, self.bias = linear.weight, linear.bias
        self.down, self.up = (torch.nn.Parameter(torch.full(shape, 0.5)) for shape in ((2, 32), (32, 2)))

    def forward(self, states: Tensor) -> Tensor:
        return self.linear(states) + states @ self.down.t() @ self.up.t()


def test_an_adapter_is_computed_and_trained(tiny_encoder: Path) -> None:
    batch = make_batch()[0]
    encoder = ConnectionBert.load(tiny_encoder)
    plain = encoder(batch).detach()
    attention = encoder.bert.encoder.layer[1].attention.self
    attention.query = LowRank(attention.query)
    found = encoder(batch)
    assert (found - plain).abs().max() > 1e-3
    encoder.by_hand = False
    torch.testing.assert_close(found, encoder(batch))
    found.sin().sum().backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in (attention.query.down, attention.query.up))


@pytest.mark.parametrize("where", ["attention.output.dense", "intermediate", ""])
def test_a_hook_is_called(tiny_encoder: Path, where: str) -> None:
    encoder, calls = ConnectionBert.load(tiny_encoder), []
    module = encoder.bert.encoder.layer[0].get_submodule(where)
    handle = module.register_forward_hook(lambda *arguments: calls.append(1))
    encoder(make_batch()[0])
    assert len(calls) == 1
    handle.remove()
    encoder(make_batch()[0])
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_weights_of_8_bits_are_computed_by_their_own_modules(tiny_encoder: Path) -> None:
    encoder, sentences = ConnectionBert.load(tiny_encoder), ["a cat sleeps.", "the man was eating."]
    expected = encoder.encode(sentences)
    encoder.bert = torch.ao.quantization.quantize_dynamic(encoder.bert, {torch.nn.Linear}, torch.qint8)
    found = encoder.encode(sentences)
    assert 1e-5 < np.abs(found - expected).max() < 0.2


def test_the_pooler_is_kept_and_takes_no_part_in_training(tiny_encoder: Path, tmp_path: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    pooler = {name: weight for name, weight in encoder.named_parameters() if ".pooler." in name}
    assert pooler and not any(weight.requires_grad for weight in pooler.values())
    encoder.train()(make_batch()[0]).sin().sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)  # as DDP wants it
    encoder.save(tmp_path)
    assert ConnectionBert.load(tmp_path).weights().keys() == encoder.weights().keys()
