"""The script's own training loop, run whole, against sentence-transformers' loss in a loop by hand.

Dropout 0, so that both see the same numbers; warm-up, weight decay and clipping that all have something to do; two epochs whose
last batch is smaller. What `metrics.jsonl` says of learning rates, gradient norms and losses is held against the same loop.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

import bertFineTuningWithConnectionData as script
from connection.randomness import STEP, derive_seed
from connection.training.job import Job
from ConnectionDataset import EpochBatches, PackedPairs

sentence_transformers = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

EPOCHS, BATCH_SIZE, SEED = 2, 8, 7
RATE, WARMUP, DECAY, CLIP = 1e-3, 0.4, 0.01, 0.02


@dataclass
class Steps:
    """What a loop did: of each step its learning rate, its gradient's norm before clipping, its loss; the weights after it."""

    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def train_theirs(folder: Path, rows: list[dict[str, str]], decay: float, clip: float) -> Steps:
    """CosineSimilarityLoss, AdamW with decay of all but biases and LayerNorms, transformers' schedule, clipping."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import losses, modules

    model = SentenceTransformer(modules=[modules.Transformer(str(folder)), modules.Pooling(32)], device="cpu").train()
    no_decay = ("bias", "LayerNorm.weight")
    named = list(model.named_parameters())
    groups = [
        {"params": [weight for name, weight in named if not name.endswith(no_decay)], "weight_decay": decay},
        {"params": [weight for name, weight in named if name.endswith(no_decay)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATE, foreach=False)
    batches = [batch for epoch in range(1, EPOCHS + 1) for batch in EpochBatches(len(rows), BATCH_SIZE, SEED, epoch)]
    schedule = get_linear_schedule_with_warmup(optimizer, int(np.ceil(WARMUP * len(batches))), len(batches))
    objective, steps = losses.CosineSimilarityLoss(model), Steps()
    for batch in batches:
        features = [model.tokenize([rows[row][side] for row in batch]) for side in ("sentence1", "sentence2")]
        loss = objective(features, torch.tensor([float(rows[row]["score"]) / 5 for row in batch]))
        loss.backward()
        steps.norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), clip or np.inf).item())
        steps.rates.append(optimizer.param_groups[0]["lr"])
        steps.losses.append(loss.item())
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    steps.weights = {name: weight.detach() for name, weight in model[0].model.named_parameters()}
    return steps


def train_ours(folder: Path, train: Path, output: Path, decay: float, clip: float = CLIP) -> Steps:
    """The script, from its flags on."""
    flags = {"encoder": folder, "train-file": train, "dev-file": train, "test-file": "", "output": output, "device": "cpu"}
    flags |= {"epochs": EPOCHS, "batch-size": BATCH_SIZE, "seed": SEED, "learning-rate": RATE}
    flags |= {"warmup": WARMUP, "weight-decay": decay, "max-gradient-norm": clip}
    script.main([*(f"--{name}={value}" for name, value in flags.items()), "--keep-checkpoints"])
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [record for record in records if "split" not in record]
    columns = ([step[name] for step in steps] for name in ("learning_rate", "gradient_norm", "loss"))
    (newest,) = (output / "checkpoints").glob(f"step-{len(steps):08d}")
    return Steps(*columns, safetensors.torch.load_file(newest / "model.safetensors"))


@pytest.mark.parametrize(
    ("decay", "clip"), [(DECAY, CLIP), (0.0, CLIP), (DECAY, 0.0)], ids=["decay", "trained rows only", "never clipped"]
)
def test_the_loop_is_that_of_sentence_transformers(
    decay: float, clip: float, tmp_path: Path, bert_factory: Callable, encoder_writer: Callable, pairs_writer: Callable
) -> None:
    bert = bert_factory(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    folder = encoder_writer(tmp_path / "still", bert)
    train = pairs_writer(tmp_path / "train.csv", 20)
    ours = train_ours(folder, train, tmp_path / "run", decay, clip)
    theirs = train_theirs(folder, read_rows(train), decay, clip)

    assert len(ours.rates) == 6 and ours.rates[0] == 0 and max(ours.rates) == RATE
    np.testing.assert_allclose(ours.rates, theirs.rates, rtol=1e-12)
    np.testing.assert_allclose(ours.norms, theirs.norms, rtol=1e-4)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-4)
    assert min(ours.norms) > 2 * clip  # the clipping had something to do in every step
    start = dict(bert.named_parameters())
    for name, weight in theirs.weights.items():
        if name.endswith("key.bias"):  # adds the same to all scores of a query: its gradient is rounding, which Adam scales up
            continue
        difference = (ours.weights[name] - weight).abs().max().item()
        assert difference < 1e-6, (name, difference)  # decay alone moves a weight of 1 by 3e-5
        moved = (ours.weights[name] - start[name]).abs().max().item()
        assert (moved == 0) if name.startswith("pooler.") else (moved > 2e-3), (name, moved)


def test_every_step_has_dropout_of_its_own(
    tmp_path: Path, tiny_encoder: Path, pairs_writer: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    backward = script.backward

    def seen_backward(job: Job, batch: PackedPairs) -> Tensor:
        seen.append((job.encoder.training, torch.initial_seed()))
        return backward(job, batch)

    monkeypatch.setattr(script, "backward", seen_backward)
    train_ours(tiny_encoder, pairs_writer(tmp_path / "train.csv", 20), tmp_path / "run", DECAY)
    assert seen == [(True, derive_seed(SEED, STEP, step)) for step in range(6)]


def test_rates_and_norms_are_those_of_the_formulas(tmp_path: Path, tiny_encoder: Path, pairs_writer: Callable) -> None:
    """6 steps, of which ceil(0.4 · 6) = 3 are warm-up; the norm is that of the gradient before it is clipped."""
    train = pairs_writer(tmp_path / "train.csv", 20)
    steps = train_ours(tiny_encoder, train, tmp_path / "run", DECAY)
    assert steps.rates == [pytest.approx(RATE * share, rel=1e-12) for share in (0, 1 / 3, 2 / 3, 1, 2 / 3, 1 / 3)]
    assert min(steps.norms) > CLIP
