"""Writes the result of a run. summary.json comes last, because it marks the run as complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from connection.encoder.prompts import without_prompt
from connection.reading.shape import Shape
from connection.run.model_card import model_card
from connection.run.predictions import prediction_rows
from connection.run.report import write_report
from connection.training import calibration

if TYPE_CHECKING:
    from connection.training.evaluation import Evaluation
    from connection.training.job import Job
    from ConnectionBert import ConnectionBert


def write_result(
    job: Job, best: ConnectionBert, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation], summary: dict[str, Any]
) -> None:
    """Write predictions, calibration, the model card, the report and summary.json into the run's folder.

    best: the encoder loaded from best/. before, after: the evaluations of dev and, if there is one, test.
    """
    run, splits = job.run, job.splits
    for name, evaluation in after.items():
        pairs = splits.named()[name]
        texts = [without_prompt(text, best.pair_prompts) for text in job.held_out[name].texts]
        header, rows = prediction_rows(pairs, before[name], evaluation, texts, splits.classes)
        run.write_table(f"predictions-{name}.csv", header, rows, pairs.style)
    fitted = None
    if splits.shape is Shape.SCORED:
        scores = splits.dev.table["score"].to_numpy()
        fitted = calibration.Calibration.fit(after["dev"].similarities, scores, job.settings.SCORE_RANGE)
    if fitted:
        run.write_json(f"best/{calibration.FILE}", fitted.as_json())
    card = model_card(best, run.description, summary, calibrated=fitted is not None)
    run.write_text("best/README.md", card)
    write_report(run.folder, summary)
    run.write_json("summary.json", summary)
