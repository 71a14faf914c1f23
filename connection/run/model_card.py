"""Writes best/README.md, the model card: origin, figures, constants and usage. It contains no sentence of the data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connection.encoder.preview import encoder_name, encoder_text
from connection.encoder.prompts import prompts_text
from connection.training.bootstrap import with_interval
from connection.training.metrics import NAMES

if TYPE_CHECKING:
    from ConnectionBert import ConnectionBert

_TRAINING = "LOSS EPOCHS BATCH_SIZE LEARNING_RATE WARMUP WEIGHT_DECAY MAX_GRADIENT_NORM PRECISION SEED".split()
_CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
- sentence-similarity
- feature-extraction
---

# {name}, fine-tuned on sentence pairs

A sentence encoder: {family} with {model}. It was fine-tuned from `{name}` {purpose}.

## Figures

{figures}

[ ]: 95 % interval, by bootstrap over the pairs.

Trained on {train:,} pairs in {steps:,} steps; {best}. Dev chose that step{aside}.

| constant | value |
| --- | --- |
{constants}

Files: {files}. Versions: {versions}.

## Use

The folder can be copied anywhere; replace `best` below by its path.

```python
from ConnectionBert import ConnectionBert

encoder = ConnectionBert.load("best")
first, second = encoder.encode(["A kitten is asleep.", "The small cat sleeps."])
print(first @ second / (first @ first * second @ second) ** 0.5)
```

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("best")
embeddings = model.encode(["A kitten is asleep.", "The small cat sleeps."])
print(model.similarity(embeddings[0], embeddings[1]))
```
{prompts}
Score a file, or one pair:

```
python bertScoringWithConnectionData.py --encoder best --pairs-file pairs.csv --output-file scores.csv
python bertScoringWithConnectionData.py --encoder best --sentence1 "A kitten is asleep." --sentence2 "The small cat sleeps."
```
{calibration}"""
_CALIBRATION = """
`calibration.json` maps a similarity to a score from {low:g} to {high:g}, by an isotonic regression fitted on dev.
"""


_PROMPTS = """
It was trained with prompts: {texts} Pass them to `encode`: `prompt={first}` here, `prompt_name="sentence1"` in
sentence-transformers.
"""
_ONE_PROMPT = """
{texts} Both programs put it there by themselves.
"""


def model_card(encoder: ConnectionBert, description: Mapping[str, Any], summary: Mapping[str, Any], *, calibrated: bool) -> str:
    """The text of best/README.md.

    encoder: that of best/. description: the contents of settings.json. summary: the contents of summary.json. calibrated:
    whether best/ has a calibration.
    """
    constants, versions = description["constants"], description["versions"]
    low, high = constants["SCORE_RANGE"]
    best_step = summary["best_step"]
    files = [_name(constants[name]) for name in ("TRAIN_FILE", "DEV_FILE", "TEST_FILE") if constants[name]]
    return _CARD.format(
        name=encoder_name(Path(constants["ENCODER"])),
        family=encoder.family.name,
        model=encoder_text(encoder),
        prompts=_prompts(encoder.pair_prompts),
        purpose=_purpose(summary, low, high),
        figures=_figures(summary),
        train=summary["pairs"]["train"],
        steps=summary["steps"],
        best="these are the last weights" if best_step is None else f"these are the weights after step {best_step:,}",
        aside="; test was used for the final figures only" if summary["after"]["test"] else "; there was no test set",
        constants="\n".join(f"| {name} | {summary['loss'] if name == 'LOSS' else constants[name]} |" for name in _TRAINING),
        files=", ".join(files),
        versions=", ".join(f"{package} {version}" for package, version in versions.items()),
        calibration=_CALIBRATION.format(low=low, high=high) if calibrated else "",
    )


def _prompts(texts: tuple[str, str]) -> str:
    if not any(texts):
        return ""
    if texts[0] == texts[1]:
        return _ONE_PROMPT.format(texts=prompts_text(texts))
    first = json.dumps(texts[0], ensure_ascii=False)
    return _PROMPTS.format(texts=prompts_text(texts).removeprefix("Prompts: "), first=first)


def _name(path: str) -> str:
    """The last part of a path; the folders above it are private."""
    return Path(path).name


def _purpose(summary: Mapping[str, Any], low: float, high: float) -> str:
    """What the encoder was trained for, as the end of a sentence."""
    if summary["metric"] == "mrr_at_10":
        return "so that a sentence1 is nearer to the sentence2 that belongs to it than to others, by cosine similarity"
    if summary["metric"] == "accuracy":
        return f"so that its embeddings tell the classes of pairs apart: {', '.join(summary['data']['scores']['labels'][:20])}"
    return f"so that the cosine similarity of two sentences\nfollows scores from {low:g} to {high:g}"


def _figures(summary: Mapping[str, Any]) -> str:
    """The table of metrics, before and after training."""
    sets = [name for name in ("dev", "test") if summary["after"][name]]
    metrics = [name for name in NAMES if all(name in summary["after"][split] for split in sets)]
    head = " | ".join(f"{NAMES[metric]} before | after" for metric in metrics)
    lines = [f"| | pairs | {head} |", "| --- " * (2 + 2 * len(metrics)) + "|"]
    for name in sets:
        figures = [
            _figure(summary[when][name], metric, summary["metric"]) for metric in metrics for when in ("before", "after")
        ]
        lines.append(f"| {name} | {summary['pairs'][name]:,} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _figure(metrics: Mapping[str, Any], metric: str, chosen: str) -> str:
    if metrics[metric] is None:
        return "not defined"
    return with_interval(metrics[metric], metrics.get("interval") if metric == chosen else None)
