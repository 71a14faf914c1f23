"""The optimizer's groups, the learning rate of every step, the steps of evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertModel, get_linear_schedule_with_warmup

from connection.training.optimizer import make_optimizer
from connection.training.schedule import learning_rate_at, spread_steps
from ConnectionBert import ConnectionBert


def test_biases_and_layer_norms_have_no_decay_and_all_the_rest_has(tiny_encoder: Path) -> None:
    encoder = ConnectionBert.load(tiny_encoder)
    optimizer = make_optimizer(encoder, weight_decay=0.01)
    assert isinstance(optimizer, torch.optim.AdamW)
    decay = {}
    for group in optimizer.param_groups:
        decay |= {id(weight): group["weight_decay"] for weight in group["params"]}
    for name, weight in encoder.named_parameters():
        if ".pooler." in name:  # has no gradient, ever
            continue
        assert decay.pop(id(weight)) == (0.0 if name.endswith(".bias") or "LayerNorm" in name else 0.01), name
    assert not decay  # and nothing else


def test_the_optimizer_moves_by_the_rate_set_in_its_groups(bert_factory: Callable[..., BertModel]) -> None:
    """After one step of AdamW without decay a weight has moved by the learning rate, whatever its gradient's length."""
    bert = bert_factory()
    before = bert.embeddings.word_embeddings.weight.detach().clone()
    optimizer = make_optimizer(bert, weight_decay=0.0)
    bert.embeddings.word_embeddings.weight.grad = torch.full_like(before, 5.0)
    optimizer.step()
    assert torch.equal(bert.embeddings.word_embeddings.weight, before)  # lr is 0 until the loop sets it
    for group in optimizer.param_groups:
        group["lr"] = 0.25
    optimizer.step()
    assert torch.allclose(bert.embeddings.word_embeddings.weight, before - 0.25, atol=1e-5)


def test_decay_shrinks_matrices_alone(bert_factory: Callable[..., BertModel]) -> None:
    bert = bert_factory()
    before = {name: weight.detach().clone() for name, weight in bert.named_parameters()}
    optimizer = make_optimizer(bert, weight_decay=0.5)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for weight in bert.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in bert.named_parameters():
        assert torch.allclose(weight, before[name] * (0.95 if weight.dim() > 1 else 1.0)), name


SCHEDULES = [(1, 0), (1, 1), (5, 0), (5, 1), (10, 0.1), (10, 0.2), (7, 0.5), (7, 0.01), (100, 0.1), (33, 0.37), (3, 0.99)]


@pytest.mark.parametrize(("total", "warmup"), SCHEDULES)
def test_the_learning_rate_of_every_step_is_that_of_transformers(total: int, warmup: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2e-5)
    warmup_steps = next(steps for steps in range(total + 1) if steps >= warmup * total)  # rounded up
    schedule = get_linear_schedule_with_warmup(optimizer, warmup_steps, total)
    for step in range(total):
        assert learning_rate_at(step, total, 2e-5, warmup) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=0)
        optimizer.step()
        schedule.step()


def test_the_learning_rate_peaks_after_the_warm_up_and_falls_to_almost_0() -> None:
    rates = [learning_rate_at(step, 20, 1.0, 0.25) for step in range(20)]
    assert rates[0] == 0 and rates[5] == max(rates) == 1
    assert rates[:6] == sorted(rates[:6]) and rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 15)  # the step after the last would have 0


def test_without_a_warm_up_the_first_step_has_the_highest_rate() -> None:
    assert [learning_rate_at(step, 4, 1.0, 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@given(st.integers(1, 500), st.integers(1, 500))
def test_spread_steps_are_evenly_spread_and_the_last_is_among_them(steps_per_epoch: int, evaluations: int) -> None:
    steps = sorted(spread_steps(steps_per_epoch, evaluations))
    assert len(steps) == min(steps_per_epoch, evaluations)
    assert steps[0] >= 1 and steps[-1] == steps_per_epoch
    gaps = [after - before for before, after in zip([0, *steps], steps, strict=False)]
    assert max(gaps) - min(gaps) <= 1


def test_one_evaluation_an_epoch_is_at_its_end() -> None:
    assert spread_steps(13, 1) == {13}
    assert spread_steps(1, 5) == {1}
    assert spread_steps(3, 10**12) == {1, 2, 3}  # at once
