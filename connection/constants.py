"""The kind of value that each constant of the scripts takes. Layer 6: the choices come from tables of lower layers."""

from __future__ import annotations

from dataclasses import replace

from connection.script.kinds import (
    MOST_NEGATIVES,
    Kind,
    check_column,
    check_columns,
    check_device,
    check_dimensions,
    check_encoding,
    check_range,
    check_ranks,
    check_separator,
    choice,
    number,
)
from connection.training.losses import LOSSES
from connection.training.losses.expression import check_loss

_COLUMN = Kind(str, check_column, is_column=True)
_OPTIONAL_COLUMN = Kind(str, lambda value: None if value == "" else check_column(value), is_column=True)
KINDS = {
    "ENCODER": Kind(str, lambda value: None if value else "must name a folder", is_path=True, also_in="transformers/bert"),
    "POOLING": choice("", "mean", "cls", "max"),
    "MAX_TOKENS": number(int, 3, 1_000_000, or_zero=True),
    "SENTENCE1_PROMPT": Kind(str),
    "SENTENCE2_PROMPT": Kind(str),
    "TRAIN_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "DEV_FILE": Kind(str, is_path=True),
    "TEST_FILE": Kind(str, is_path=True),
    "POSITIVES_FILE": Kind(str, is_path=True),
    "SENTENCE1_COLUMN": _COLUMN,
    "SENTENCE2_COLUMN": _COLUMN,
    "SCORE_COLUMN": _OPTIONAL_COLUMN,
    "NEGATIVE_COLUMNS": Kind(tuple, check_columns, item=str, is_column=True),
    "LABEL_COLUMN": _OPTIONAL_COLUMN,
    "SCORE_RANGE": Kind(tuple, check_range),
    "SEPARATOR": Kind(str, check_separator),
    "QUOTING": Kind(bool),
    "ENCODING": Kind(str, lambda value: check_encoding(value) if value else None),
    "DECIMAL": choice("", ".", ","),
    "SHEET": Kind(str),
    "OVERLAP": choice("report", "drop", "refuse"),
    "DEV_SHARE": number(float, 0, 1, open_low=True, open_high=True),
    "LOSS": Kind(
        str,
        lambda value: check_loss(value) if value else None,
        choices=LOSSES,
        meanings=lambda: {name: loss.meaning for name, loss in LOSSES.items()},
    ),
    "POSITIVES_WEIGHT": number(float, 0, 1_000_000, open_low=True),
    "POSITIVE_SCORE": Kind(float, lambda value: None if abs(value) <= 1e100 else "must be a score", or_empty=True),
    "DIMENSIONS": Kind(tuple, check_dimensions, item=int),
    "EPOCHS": number(int, 0, 1_000_000),
    "BATCH_SIZE": number(int, 1, 1_000_000),
    "MEMORY_BATCH_SIZE": number(int, 0, 1_000_000),
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
    "NEGATIVE_COLUMNS": [],
    "LABEL_COLUMN": "",
    "SCORE_RANGE": [0, 5],
    "SEPARATOR": "",
    "QUOTING": True,
    "ENCODING": "",
    "DECIMAL": "",
    "SHEET": "",
    "OVERLAP": "report",
    "DEV_SHARE": 0.1,
    "LOSS": "",
    "POSITIVES_WEIGHT": 1.0,
    "POSITIVE_SCORE": "",
    "DIMENSIONS": [],
    "EPOCHS": 4,
    "BATCH_SIZE": 16,
    "MEMORY_BATCH_SIZE": 0,
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
# The scoring and the mining script share these kinds with training.
_ENCODING = "ENCODER SENTENCE1_PROMPT SENTENCE2_PROMPT BATCH_SIZE DEVICE PRECISION THREADS"
_READING = "SENTENCE1_COLUMN SENTENCE2_COLUMN SEPARATOR QUOTING ENCODING SHEET"
_PAIRS_TO_TABLE = {name: KINDS[name] for name in f"{_ENCODING} {_READING}".split()} | {
    "PAIRS_FILE": Kind(str, lambda value: None if value else "must name a file", is_path=True),
    "OUTPUT_FILE": Kind(
        str,
        lambda value: None if value.endswith((".csv", ".tsv", ".xlsx")) else 'must end in ".csv", ".tsv" or ".xlsx"',
        is_path=True,
    ),
}
SCORING_KINDS = _PAIRS_TO_TABLE | {
    **{name: KINDS[name] for name in ("SCORE_COLUMN", "LABEL_COLUMN", "SCORE_RANGE", "DECIMAL")},
    "SENTENCE1": Kind(str),
    "SENTENCE2": Kind(str),
}
MINING_KINDS = _PAIRS_TO_TABLE | {
    "CORPUS_FILE": Kind(str, is_path=True),
    "CORPUS_COLUMN": _COLUMN,
    "NEGATIVES": number(int, 1, MOST_NEGATIVES),
    "RANKS": Kind(tuple, check_ranks, item=int),
    "MARGIN": replace(number(float, -2, 2), or_empty=True),
    "RELATIVE_MARGIN": replace(number(float, 0, 1), or_empty=True),
    "MOST_ALIKE": replace(number(float, -1, 1), or_empty=True),
}
