"""Score a file of sentence pairs with a trained encoder: its columns, and the similarity of each pair.

Edit the constants below and run:  python bertScoringWithConnectionData.py
Each constant is also a flag for one run; a single pair:  --sentence1 "A kitten is asleep." --sentence2 "A cat sleeps."
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.constants import SCORING_KINDS
from connection.script.environment import prepare_environment
from connection.script.requirements import check_packages, check_python
from connection.script.running import run_script
from connection.script.settings import Settings, read_settings
from connection.text import counted

if TYPE_CHECKING:
    from connection.encoder.folder import EncoderFolder
    from connection.reading.layout import Layout
    from connection.reading.rows import PairRows
    from connection.training.calibration import Calibration
    from connection.use.classifier import Classifier
    from connection.use.survey import Survey
    from ConnectionBert import ConnectionBert

# torch and what builds on it are imported inside the functions, as in the training script.

# --- encoder ---

# Folder of the encoder: best/ of a run, or any encoder that training takes.
ENCODER = "output/connections/best"

# Prompt: a text before every first sentence, or the name of one in the encoder's folder. Empty: as the encoder was trained.
# "none": no prompt.
SENTENCE1_PROMPT = ""

# The same for the second sentence.
SENTENCE2_PROMPT = ""

# --- pairs ---

# Pairs to score: a CSV, TSV, Excel, JSON, Parquet or Arrow file, recognised by the ending of its name.
PAIRS_FILE = "data/connections-test.csv"

# File for the result: the columns of PAIRS_FILE, then the similarity. Its name ends in .csv, .tsv or .xlsx. A file that is
# already there is renamed.
OUTPUT_FILE = "output/scores.csv"

# Column of the first sentence: its name in the header, or its number (from 1) in a file without a header. In JSON, Parquet
# and Arrow, "labels.score" is the field score within labels.
SENTENCE1_COLUMN = "sentence1"

# Column of the second sentence: name or number.
SENTENCE2_COLUMN = "sentence2"

# Column of the score that a person gave: name or number. It is only used to measure the encoder; a file with a header
# may lack it. Empty: no score.
SCORE_COLUMN = "score"

# Column of the class that a person gave, for an encoder that was trained with classes; only used to measure it. Empty: none.
LABEL_COLUMN = ""

# Lowest and highest possible score. Use (0, 1) for yes/no labels.
SCORE_RANGE = (0, 5)

# Text between cells, one or more characters. Empty: detected among , ; tab | and ||.
SEPARATOR = ""

# True: double quotes enclose a cell. False: they are ordinary characters, as in the original STS benchmark.
QUOTING = True

# Text encoding, such as "cp1252" (Western Excel) or "cp949" (Korean Excel). Empty: detected, and refused where unsure.
ENCODING = ""

# Decimal sign of the scores: "." or ",". Empty: a point, or a comma where that does not separate the cells.
DECIMAL = ""

# Sheet of an Excel workbook. Empty: the first one.
SHEET = ""

# --- a single pair ---

# A single pair: set SENTENCE1 and SENTENCE2, and their similarity is printed; no file is read or written.
SENTENCE1 = ""

# Second sentence of the single pair.
SENTENCE2 = ""

# --- running ---

# Maximum number of sentences encoded at once. Lower it if memory runs out; results change by rounding only.
BATCH_SIZE = 256

# Device: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:1 (a GPU by its number) or mps.
DEVICE = "auto"

# Number format of the matrix products: float32; tf32, less exact and faster on NVIDIA GPUs since 2020; or bfloat16, less exact
# still and faster on recent GPUs and CPUs.
PRECISION = "float32"

# CPU threads. 0: one for each core that the process may use. Use 1 or 2 if other programs need the CPU.
THREADS = 0


def main(arguments: list[str] | None = None) -> int:
    """Score a file, or one pair. Returns 0; raises UserMistake with a message for the user."""
    check_python()
    settings = read_settings(__file__, globals(), SCORING_KINDS, arguments)
    check_packages()
    prepare_environment(settings.THREADS)
    from connection.training.calibration import Calibration
    from connection.use.classifier import has_classifier
    from connection.use.encoder import check_encoder

    folder = check_encoder(settings)
    if settings.LABEL_COLUMN and not has_classifier(settings.ENCODER):
        raise UserMistake(
            f"LABEL_COLUMN is set, but {settings.ENCODER} predicts no classes: train with LABEL_COLUMN, or empty it here."
        )
    calibration = Calibration.load(settings.ENCODER)
    if settings.SENTENCE1.strip() or settings.SENTENCE2.strip() or {"SENTENCE1", "SENTENCE2"} & settings.flagged:
        score_pair(settings, calibration)
        return 0
    score_file(settings, folder, calibration)
    return 0


def score_pair(settings: Settings, calibration: Calibration | None) -> None:
    """Print the similarity of SENTENCE1 and SENTENCE2."""
    for name in ("SENTENCE1", "SENTENCE2"):
        if not getattr(settings, name).strip():
            raise UserMistake(f"{name} is empty: a single pair needs both sentences, SENTENCE1 and SENTENCE2.")
    from connection.encoder.device import memory_errors_named
    from connection.use.classifier import Classifier
    from connection.use.encoder import load_encoder
    from connection.use.scoring import pair_text
    from ConnectionBert import ConnectionBert

    encoder = load_encoder(settings, partial(ConnectionBert.load, whole=False))
    classifier = Classifier.load(settings.ENCODER, encoder.embedding_size)
    with memory_errors_named(encoder.device, BATCH_SIZE=settings.BATCH_SIZE):
        print(pair_text(encoder, settings.SENTENCE1, settings.SENTENCE2, calibration, classifier, settings.PRECISION))


def score_file(settings: Settings, folder: EncoderFolder, calibration: Calibration | None) -> None:
    """Check every row of PAIRS_FILE, then score it into OUTPUT_FILE, which appears complete or not at all."""
    from connection.disk.claim import claimed
    from connection.reading.formats.workbook_output import check_fits
    from connection.reading.rows import PairRows
    from connection.reading.scores import range_warning
    from connection.script.interruption import stoppable
    from connection.use.output import check_output, is_workbook
    from connection.use.survey import survey

    check_output(settings.OUTPUT_FILE, PAIRS_FILE=settings.PAIRS_FILE)
    for_workbook = is_workbook(settings.OUTPUT_FILE)
    layout = read_layout(settings)
    rows = PairRows(settings.PAIRS_FILE, layout)
    if layout.score is not None and rows.layout.score is None:
        print(f'{settings.PAIRS_FILE} has no column "{layout.score}" (SCORE_COLUMN): similarities only, no metrics.')
    has_scores = rows.layout.score is not None
    surveyed = survey(rows, has_scores=has_scores, prompts=folder.pair_prompts, for_workbook=for_workbook)
    if for_workbook:
        check_fits(surveyed.pairs, len(rows.columns) + 4, surveyed.longest_cell)
    print(f"{counted(surveyed.pairs, 'pair')} from {settings.PAIRS_FILE}\nRead as {', '.join(rows.notes)}.")
    if surveyed.scores is not None and (warning := range_warning(surveyed.scores, layout.score_range)):
        print(warning)
    from connection.encoder.device import memory_errors_named  # not earlier: it imports torch, which takes seconds
    from connection.use.classifier import Classifier
    from connection.use.encoder import load_encoder
    from ConnectionBert import ConnectionBert

    encoder = load_encoder(settings, partial(ConnectionBert.load, whole=False))
    classifier = Classifier.load(settings.ENCODER, encoder.embedding_size)
    if calibration is None and classifier is None:
        print(f"{settings.ENCODER} has no calibration of training: similarity only, no score_predicted.")
    with (
        stoppable(),
        claimed(settings.OUTPUT_FILE, "OUTPUT_FILE"),
        memory_errors_named(encoder.device, BATCH_SIZE=settings.BATCH_SIZE),
    ):
        write_scores(settings, encoder, rows, surveyed, (calibration, classifier))


def write_scores(
    settings: Settings,
    encoder: ConnectionBert,
    rows: PairRows,
    surveyed: Survey,
    predictors: tuple[Calibration | None, Classifier | None],
) -> None:
    """Encode the pairs, write OUTPUT_FILE and, if there are scores or classes, print metrics against them.

    rows: those that were surveyed; they are read again.
    """
    import numpy as np

    from connection.encoder.composition import composition_text
    from connection.reading.rows import PairRows
    from connection.use.classifier import accuracy_text
    from connection.use.output import replace_output, table_pieces
    from connection.use.scoring import PairScorer, ScoredRows, metrics_text

    scorer = PairScorer(encoder, surveyed, settings.BATCH_SIZE, settings.PRECISION)
    calibration, classifier = predictors
    scored = ScoredRows(PairRows(settings.PAIRS_FILE, rows.layout), scorer, surveyed, calibration, classifier)
    output = settings.OUTPUT_FILE
    replace_output(output, table_pieces(output, scored.header, scored.rows_for(output), rows.style))
    print(scorer.counts.text())
    if scorer.counts.composed:
        print(composition_text(scorer.counts.composed))
    if scorer.unknown_pairs.count:
        print(scorer.unknown_pairs.text(f"{surveyed.pairs:,} pairs", settings.PAIRS_FILE))
    if surveyed.scores is not None:
        print(metrics_text(np.concatenate(scored.similarities), surveyed.scores, rows.layout, calibration))
    if surveyed.labels and classifier is not None:
        print(accuracy_text(scored.classes, surveyed.labels, classifier))
    print(f"Scores: {output}")


def read_layout(settings: Settings) -> Layout:
    """The layout of PAIRS_FILE. Raises UserMistake if the sentence columns are numbers but the score column is a name."""
    from connection.reading.layout import Layout

    sentences = (settings.SENTENCE1_COLUMN, settings.SENTENCE2_COLUMN)
    score = settings.SCORE_COLUMN or None
    if isinstance(score, str) and all(isinstance(column, int) for column in sentences):
        raise UserMistake(
            "SENTENCE1_COLUMN and SENTENCE2_COLUMN are numbers, for a file without a header, but SCORE_COLUMN is the name "
            f'"{score}": give its number, or "" if the file holds no scores.'
        )
    return Layout.of(settings, needs_score=False)


if __name__ == "__main__":
    sys.exit(run_script(main))
