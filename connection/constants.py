"""The kind of value that each constant of both scripts takes. Layer 6: the choices come from tables of lower layers."""

from __future__ import annotations

from connection.script.kinds import (
    Kind,
    check_column,
    check_device,
    check_dimensions,
    check_encoding,
    check_range,
    check_separator,
    choice,
    number,
)
from connection.training.losses import LOSSES
from connection.training.losses.expression import check_loss

_COLUMN = Kind(str, check_column, is_column=True)
KINDS = {
    "ENCODER": Kind(str, lambda value: None if value else "must name a folder", is_path=True, also_in="transformers/bert"),
    "POOLING": choice("", "mean", "cls", "max"),
    "MAX_TOKENS": number(int, 3, 1_000_000, or_zero=True),
    "SENTENCE1_PROMPT": Kind(str),
    "SENTENCE2_PROMPT": Kind(str),
    "TRAIN_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "DEV_FILE": Kind(str, is_path=True),
    "TEST_FILE": Kind(str, is_path=True),
    "SENTENCE1_COLUMN": _COLUMN,
    "SENTENCE2_COLUMN": _COLUMN,
    "SCORE_COLUMN": _COLUMN,
    "SCORE_RANGE": Kind(tuple, check_range),
    "SEPARATOR": Kind(str, check_separator),
    "QUOTING": Kind(bool),
    "ENCODING": Kind(str, lambda value: check_encoding(value) if value else None),
    "DECIMAL": choice("", ".", ","),
    "SHEET": Kind(str),
    "OVERLAP": choice("report", "drop", "refuse"),
    "DEV_SHARE": number(float, 0, 1, open_low=True, open_high=True),
    "LOSS": Kind(str, check_loss, choices=LOSSES, meanings=lambda: {name: loss.meaning for name, loss in LOSSES.items()}),
    "DIMENSIONS": Kind(tuple, check_dimensions, item=int),
    "EPOCHS": number(int, 0, 1_000_000),
    "BATCH_SIZE": number(int, 1, 1_000_000),
    "LEARNING_RATE": number(float, 0, 1, open_low=True),
    "WARMUP": number(float, 0, 1),
    "WEIGHT_DECAY": number(float, 0, 1_000),
    "MAX_GRADIENT_NORM": number(float, 0, 1_000_000),
    "SEED": number(int, 0, 2**63 - 1),
    "OUTPUT": Kind(str, lambda value: None if value else "must name a folder", is_path=True),
    "EVALUATIONS_PER_EPOCH": number(int, 1, 1_000_000),
    "PATIENCE": number(int, 0, 1_000_000),
    "CHECKPOINTS_PER_EPOCH": number(int, 1, 1_000_000),
    "KEEP_CHECKPOINTS": Kind(bool),
    "DEVICE": Kind(str, check_device),
    "PRECISION": choice("float32", "tf32", "bfloat16"),
    "THREADS": number(int, 0, 1_024),
    "TENSORBOARD": Kind(bool),
    "START_OVER": Kind(bool),
}
# Defaults of the training script's constants, as JSON values. Files are left out: runs compare their contents, not paths.
TRAINING_DEFAULTS = {
    "POOLING": "",
    "MAX_TOKENS": 0,
    "SENTENCE1_PROMPT": "",
    "SENTENCE2_PROMPT": "",
    "SENTENCE1_COLUMN": "sentence1",
    "SENTENCE2_COLUMN": "sentence2",
    "SCORE_COLUMN": "score",
    "SCORE_RANGE": [0, 5],
    "SEPARATOR": "",
    "QUOTING": True,
    "ENCODING": "",
    "DECIMAL": "",
    "SHEET": "",
    "OVERLAP": "report",
    "DEV_SHARE": 0.1,
    "LOSS": "cosine",
    "DIMENSIONS": [],
    "EPOCHS": 4,
    "BATCH_SIZE": 16,
    "LEARNING_RATE": 2e-05,
    "WARMUP": 0.1,
    "WEIGHT_DECAY": 0.0,
    "MAX_GRADIENT_NORM": 1.0,
    "SEED": 42,
    "EVALUATIONS_PER_EPOCH": 1,
    "PATIENCE": 0,
    "CHECKPOINTS_PER_EPOCH": 1,
    "KEEP_CHECKPOINTS": False,
    "DEVICE": "auto",
    "PRECISION": "float32",
    "THREADS": 0,
    "TENSORBOARD": False,
    "START_OVER": False,
}
# The scoring script shares these kinds with training; only its SCORE_COLUMN differs, which may be empty.
_READING = "SENTENCE1_COLUMN SENTENCE2_COLUMN SCORE_RANGE SEPARATOR QUOTING ENCODING DECIMAL SHEET"
_SHARED = f"ENCODER SENTENCE1_PROMPT SENTENCE2_PROMPT {_READING} BATCH_SIZE DEVICE PRECISION THREADS"
SCORING_KINDS = {name: KINDS[name] for name in _SHARED.split()} | {
    "PAIRS_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "OUTPUT_FILE": Kind(
        str,
        lambda value: None if value.endswith((".csv", ".tsv", ".xlsx")) else 'must end in ".csv", ".tsv" or ".xlsx"',
        is_path=True,
    ),
    "SENTENCE1": Kind(str),
    "SENTENCE2": Kind(str),
    "SCORE_COLUMN": Kind(str, lambda value: check_column(value) if value else None, is_column=True),
}
