"""Saves a training to a checkpoint, and resumes from one.

A checkpoint holds only what cannot be derived: the weights, the optimizer's state, counters and times, and the best weights if
they are neither the current nor the initial ones. Row order, dropout and learning rates follow from seed and step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch

from connection import UserMistake
from connection.disk import durable
from connection.disk.files import sha256
from connection.disk.safetensors_file import safetensors_chunks
from connection.encoder.device import describe_device
from connection.encoder.folder import inspect_encoder
from connection.encoder.packed.trained_rows import TrainedRows
from connection.training.evaluation import Evaluation
from connection.training.losses import LOSS_WEIGHTS
from connection.training.optimizer import optimizer_tensors, restore_optimizer
from connection.training.progress import Best, EpochRow, Training

if TYPE_CHECKING:
    from pathlib import Path

    from connection.run.folder import Run
    from connection.training.job import Job
    from ConnectionBert import ConnectionBert

OLD_FIGURES = ("spearman", "pearson")  # of a checkpoint of an older version, which had no others but those of yes/no scores


def save_training(job: Job, training: Training, optimizer: torch.optim.Optimizer) -> None:
    """Write a checkpoint of the last step. Raises UserMistake if that fails; the previous checkpoint is then unchanged."""
    run, encoder = job.run, job.encoder
    training.lap()
    moments = optimizer_tensors(optimizer, job.trained)
    weights = encoder.weights()
    own = job.loss.weights()
    state = _state(training) | {"environment": environment(run, encoder), "trained_rows": _trained_rows(encoder)}
    files = {
        "before.safetensors": safetensors_chunks(_arrays(training.before)),
        "model.safetensors": safetensors_chunks(weights),
        "optimizer.safetensors": safetensors_chunks(moments),
        "state.json": [json.dumps(state, indent=2, allow_nan=False).encode() + b"\n"],
    }
    size = 4 * sum(tensor.numel() for tensor in (*weights.values(), *moments.values(), *own.values()))
    if own:
        files[LOSS_WEIGHTS] = safetensors_chunks(own)
    if training.best.step not in (None, 0, training.step):
        for name, path in {"best.safetensors": "model.safetensors", f"best-{LOSS_WEIGHTS}": LOSS_WEIGHTS}.items():
            best = run.best / path
            if path != LOSS_WEIGHTS or own:
                files[name] = durable.read_blocks(best)
                size += best.stat().st_size
    run.sync_log()
    run.checkpoints.write(training.step, files, size)
    training.saving_seconds += training.lap()


def read_before(run: Run) -> dict[str, Evaluation] | None:
    """The evaluations before the first step, from the newest checkpoint; None if there is none in it.

    They were computed on the machine on which the run began; a resumed run does not compute them again.
    """
    step = run.checkpoints.newest
    folder = run.checkpoints.of_step(step or 0)
    if step is None or not (folder / "before.safetensors").is_file():  # a checkpoint of an older version
        return None
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    arrays = {name: x.numpy() for name, x in safetensors.torch.load_file(folder / "before.safetensors").items()}
    found = {}
    for name, metrics in state["before"].items():
        by_row = {key.removeprefix(f"{name}/row/"): x for key, x in arrays.items() if key.startswith(f"{name}/row/")}
        evaluation = dataclasses.replace(_restored_evaluation(metrics), similarities=arrays[name], by_row=by_row)
        found[name] = dataclasses.replace(evaluation, items=arrays.get(f"{name}/items", evaluation.items))
    return found


def _arrays(evaluations: Mapping[str, Evaluation]) -> dict[str, torch.Tensor]:
    """What evaluations have for each row, as tensors: similarities by the set's name, the others below it."""
    found = {}
    for name, evaluation in evaluations.items():
        found[name] = evaluation.similarities
        found |= {f"{name}/items": evaluation.items} if len(evaluation.items) else {}
        found |= {f"{name}/row/{column}": values for column, values in evaluation.by_row.items()}
    return {name: torch.from_numpy(values) for name, values in found.items()}


def resume_training(job: Job, optimizer: torch.optim.Optimizer) -> Training | None:
    """Restore encoder, loss, optimizer and best/ from the run's newest checkpoint; None if there is none.

    The encoder is as loaded for a new run. Prints the step, and what has changed on the machine since then.
    Raises UserMistake if the sentences now give other tokens.
    """
    run, encoder = job.run, job.encoder
    step = run.checkpoints.newest
    if step is None:
        return None
    folder = run.checkpoints.of_step(step)
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state["trained_rows"] != _trained_rows(encoder):
        raise UserMistake(
            f"{folder}: the sentences now give other tokens, because another version of transformers or tokenizers is "
            "installed. Install the old version, or set START_OVER = True (--start-over)."
        )
    training = _restored(state)
    training.before = read_before(run) or {}
    if training.best.step:
        is_current = training.best.step == step
        _load(job, folder, *(("model.safetensors", "") if is_current else ("best.safetensors", "best-")))
        run.keep_best(job.save)
    else:  # what is there is of a later step than the checkpoint
        run.forget_best()
    _load(job, folder, "model.safetensors", "")
    restore_optimizer(optimizer, job.trained, safetensors.torch.load_file(folder / "optimizer.safetensors"))
    print(f"Resuming after step {step:,}, from {folder}.")
    saved, current = state["environment"], environment(run, encoder)
    changes = [f"{name} {saved.get(name)} → {current[name]}" for name in current if saved.get(name) != current[name]]
    if changes:
        print(f"Changed since then: {'; '.join(changes)}. The run continues; results may differ in the last digits.")
    return training


def restore_initial(job: Job, load: Callable[[Path], ConnectionBert]) -> None:
    """Give encoder and loss the weights that they had before training. load: `ConnectionBert.load`.

    Raises UserMistake if ENCODER has changed since then.
    """
    path = job.settings.ENCODER
    folder, begun = inspect_encoder(path), job.run.description["sha256"]["ENCODER"]
    if sorted(map(sha256, folder.files.values())) != sorted(begun.values()):
        raise UserMistake(
            f"ENCODER: the files in {path} have changed since this run began, and no evaluation was better than the one before "
            "training, so best/ needs them. Put the old files back and run the same command; it has nothing to train any more."
        )
    job.encoder.load_weights(load(path).weights())
    job.loss.load_weights(job.loss.initial_weights())


def _load(job: Job, folder: Path, weights: str, prefix: str) -> None:
    """Restore the encoder's weights from a file of a checkpoint, and those of losses' own from the one with this prefix."""
    job.encoder.load_weights(safetensors.torch.load_file(folder / weights))
    if job.loss.weights():
        job.loss.load_weights(safetensors.torch.load_file(folder / f"{prefix}{LOSS_WEIGHTS}"))


def environment(run: Run, encoder: ConnectionBert) -> dict[str, str]:
    """Versions, device and CPU instructions: besides constants and files, the last bits of a result depend on them."""
    device = {"device": describe_device(encoder.device), "instructions": torch.backends.cpu.get_cpu_capability()}
    return {**run.description["versions"], **device}


def _trained_rows(encoder: ConnectionBert) -> str | None:
    """A checksum of the tokens whose word embeddings are trained, in order: the optimizer's state has a row for each."""
    words = encoder.words
    return hashlib.sha256(str(words.tokens).encode()).hexdigest() if isinstance(words, TrainedRows) else None


def _state(training: Training) -> dict[str, Any]:
    """The training as JSON values. Floats are exact; null stands for a number that is not finite."""
    best = training.best
    return {
        "step": training.step,
        "pairs": training.pairs,
        "tokens": training.tokens,
        "over": training.over,
        "train_seconds": training.train_seconds,
        "saving_seconds": training.saving_seconds,
        "best": {"step": best.step, "value": _plain(best.value), "stale": best.stale},
        "before": {name: _evaluation_state(evaluation) for name, evaluation in training.before.items()},
        "rows": [vars(row) | {"dev": row.dev and _evaluation_state(row.dev)} for row in training.rows],
    }


def _evaluation_state(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "figures": {name: _plain(value) for name, value in evaluation.figures.items()},
        "loss": _plain(evaluation.loss),
        "seconds": evaluation.seconds,
        "interval": list(evaluation.interval) if evaluation.interval else None,
        "random_similarity": evaluation.random_similarity,
        "by_length": {str(length): _plain(value) for length, value in evaluation.by_length.items()},
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _restored(state: Mapping[str, Any]) -> Training:
    best = state["best"]
    value = best["value"] if "value" in best else best["spearman"]  # as an older version called it
    value = -math.inf if value is None else value
    counters = {name: state[name] for name in ("step", "pairs", "tokens", "train_seconds", "saving_seconds", "over")}
    rows = [EpochRow(**row | {"dev": row["dev"] and _restored_evaluation(row["dev"])}) for row in state["rows"]]
    return Training(Best(best["step"], value, best["stale"]), rows, **counters)


def _restored_evaluation(state: Mapping[str, Any]) -> Evaluation:
    """The metrics of an evaluation, without what it has for each row. A checkpoint of an older version has less."""
    figures = state["figures"] if "figures" in state else {name: state[name] for name in OLD_FIGURES}
    low_high = state.get("interval")
    return Evaluation(
        figures={name: _number(value) for name, value in figures.items()},
        loss=_number(state["loss"]),
        similarities=np.empty(0),
        seconds=_number(state["seconds"]),
        interval=tuple(low_high) if low_high else None,
        random_similarity=state.get("random_similarity"),
        by_length={int(length): _number(value) for length, value in state.get("by_length", {}).items()},
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else value
