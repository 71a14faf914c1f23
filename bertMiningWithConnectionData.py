"""Mine hard negatives for pairs that belong together: to each row, wrong answers that an encoder takes for nearly right ones.

Edit the constants below and run:  python bertMiningWithConnectionData.py
Each constant is also a flag for one run. The result is a training file with NEGATIVE_COLUMNS; the command is printed.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from connection.constants import MINING_KINDS
from connection.script.environment import prepare_environment
from connection.script.requirements import check_packages, check_python
from connection.script.running import run_script
from connection.script.settings import Settings, read_settings
from connection.text import counted

if TYPE_CHECKING:
    from connection.reading.rows import PairRows
    from connection.reading.sentences import SentenceRows
    from connection.use.mining import Rules, Sentences
    from ConnectionBert import ConnectionBert

# torch and what builds on it are imported inside the functions, as in the training script.

# --- encoder ---

# Folder of the encoder that ranks the candidates: best/ of a run, or any encoder that training takes. The better it is, the
# better are the negatives: train once without negatives, mine with that encoder, train again from the beginning.
ENCODER = "output/connections/best"

# Prompt: a text before every first sentence, or the name of one in the encoder's folder. Empty: as the encoder was trained.
# "none": no prompt.
SENTENCE1_PROMPT = ""

# The same for the second sentence.
SENTENCE2_PROMPT = ""

# --- pairs ---

# Pairs that belong together, usually the training file: a CSV, TSV, Excel, JSON, Parquet or Arrow file, recognised by the
# ending of its name. A score in it is not read.
PAIRS_FILE = "data/helpdesk-train.csv"

# File for the result: the columns of PAIRS_FILE, the similarity of the pair, then negative1, its similarity1, and so on. Its
# name ends in .csv, .tsv or .xlsx. A file that is already there is renamed.
OUTPUT_FILE = "output/negatives.csv"

# Column of the first sentence: its name in the header, or its number (from 1) in a file without a header.
SENTENCE1_COLUMN = "question"

# Column of the second sentence: name or number. Each one is a candidate for the other rows.
SENTENCE2_COLUMN = "answer"

# More candidates: a file with a sentence in each row, such as all answers that there are. Empty: those of PAIRS_FILE only.
CORPUS_FILE = ""

# Column of the sentences in CORPUS_FILE: name or number.
CORPUS_COLUMN = "sentence"

# Text between cells, one or more characters. Empty: detected among , ; tab | and ||.
SEPARATOR = ""

# True: double quotes enclose a cell. False: they are ordinary characters, as in the original STS benchmark.
QUOTING = True

# Text encoding, such as "cp1252" (Western Excel) or "cp949" (Korean Excel). Empty: detected, and refused where unsure.
ENCODING = ""

# Sheet of PAIRS_FILE, if it is an Excel workbook. Empty: the first one, as always of CORPUS_FILE.
SHEET = ""

# --- negatives ---

# Negatives of each row. Each makes a step of training longer, as a sentence more in every row.
NEGATIVES = 1

# Ranks of the candidates to choose from, the nearest first; what a row pairs with the same sentence1 has no rank. The first
# ones are the hardest and the most likely to be right answers that nobody has marked: raise the lower rank to leave those out.
RANKS = (1, 100)

# Least distance: a negative is at least this much less similar to sentence1 than the row's sentence2 is. Empty: no limit.
MARGIN = ""

# The same as a share of that similarity: 0.05 allows negatives of at most 95 % of it. Empty: no limit.
RELATIVE_MARGIN = 0.05

# Guard against right answers in other words: a negative is at most this similar to the row's sentence2. Empty: no limit.
MOST_ALIKE = 0.9

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
    """Mine from one file into another. Returns 0; raises UserMistake with a message for the user."""
    check_python()
    settings = read_settings(__file__, globals(), MINING_KINDS, arguments)
    check_packages()
    prepare_environment(settings.THREADS)
    from connection.disk.claim import claimed
    from connection.script.interruption import stoppable
    from connection.use.encoder import check_encoder
    from connection.use.mining import Rules, check_candidates
    from connection.use.output import check_output

    # All errors in constants and files are found here, before weights are loaded.
    rules = Rules.of(settings)
    folder = check_encoder(settings)
    inputs = {name: path for name in ("PAIRS_FILE", "CORPUS_FILE") if (path := getattr(settings, name))}
    check_output(settings.OUTPUT_FILE, **inputs)
    rows, corpus = open_files(settings)
    sentences = read(settings, rows, corpus, folder.pair_prompts, rules)
    check_candidates(sentences, rules)
    from connection.encoder.device import memory_errors_named  # not earlier: it imports torch, which takes seconds
    from connection.use.encoder import load_encoder
    from ConnectionBert import ConnectionBert

    encoder = load_encoder(settings, partial(ConnectionBert.load, whole=False))
    with (
        stoppable(),
        claimed(settings.OUTPUT_FILE, "OUTPUT_FILE"),
        memory_errors_named(encoder.device, BATCH_SIZE=settings.BATCH_SIZE),
    ):
        mine(settings, encoder, rows, sentences, rules)
    return 0


def open_files(settings: Settings) -> tuple[PairRows, SentenceRows | None]:
    """PAIRS_FILE and, if there is one, CORPUS_FILE. Raises UserMistake if one cannot be read or lacks its columns."""
    from connection.reading.layout import Layout
    from connection.reading.rows import PairRows
    from connection.reading.sentences import SentenceLayout, SentenceRows

    common = {name: getattr(settings, name.upper()) for name in ("separator", "quoting", "encoding", "sheet")}
    layout = Layout(settings.SENTENCE1_COLUMN, settings.SENTENCE2_COLUMN, None, **common)
    rows = PairRows(settings.PAIRS_FILE, layout)
    if not settings.CORPUS_FILE:
        return rows, None
    common["sheet"] = ""  # SHEET is that of the pairs
    return rows, SentenceRows(settings.CORPUS_FILE, SentenceLayout(settings.CORPUS_COLUMN, **common))


def read(settings: Settings, rows: PairRows, corpus: SentenceRows | None, prompts: tuple[str, str], rules: Rules) -> Sentences:
    """Check every row and collect the distinct sentences. Prints what was read."""
    from connection.reading.formats.workbook_output import check_fits
    from connection.use.mining import read_sentences
    from connection.use.output import is_workbook

    for_workbook = is_workbook(settings.OUTPUT_FILE)
    sentences = read_sentences(rows, corpus or (), prompts=prompts, for_workbook=for_workbook)
    if for_workbook:
        check_fits(len(sentences), len(rows.columns) + 1 + 2 * rules.negatives, sentences.longest_cell)
    print(f"{counted(len(sentences), 'pair')} from {settings.PAIRS_FILE}\nRead as {', '.join(rows.notes)}.")
    if corpus is not None:
        print(f"{counted(corpus.count, 'sentence')} from {settings.CORPUS_FILE}\nRead as {', '.join(corpus.notes)}.")
    return sentences


def mine(settings: Settings, encoder: ConnectionBert, rows: PairRows, sentences: Sentences, rules: Rules) -> None:
    """Say what it will take, encode, compare, write OUTPUT_FILE, and show some of the rows.

    rows: those that were read; they are read again.
    """
    from connection.encoder.composition import composition_text
    from connection.reading.rows import PairRows
    from connection.use.encoding import SentenceEncoder
    from connection.use.mined import MinedRows, cost_text, mined_text, training_text
    from connection.use.mining import Miner, comparing_seconds
    from connection.use.output import replace_output, table_pieces

    encode = SentenceEncoder(encoder, settings.BATCH_SIZE, settings.PRECISION)
    seconds = (encode.estimate(sentences.texts), comparing_seconds(sentences, rules, encoder.embedding_size))
    print(cost_text(sentences, encoder.embedding_size, *seconds))
    mined = Miner(encode(sentences.texts), sentences, rules).mine()
    table = MinedRows(PairRows(settings.PAIRS_FILE, rows.layout), sentences, mined, rules)
    replace_output(settings.OUTPUT_FILE, table_pieces(settings.OUTPUT_FILE, table.header, table, rows.style))
    print(encode.counts.text())
    if encode.counts.composed:
        print(composition_text(encode.counts.composed))
    print(mined_text(mined, sentences, rules))
    print(f"Negatives: {settings.OUTPUT_FILE}")
    print(training_text(training_constants(settings, rows), rules))


def training_constants(settings: Settings, rows: PairRows) -> dict[str, object]:
    """The constants of training that read OUTPUT_FILE, its negatives aside."""
    names = {name: rows.columns[rows.indices[name]] for name in ("SENTENCE1_COLUMN", "SENTENCE2_COLUMN")}
    return {"TRAIN_FILE": str(settings.OUTPUT_FILE), "DEV_FILE": "", "TEST_FILE": "", **names, "SCORE_COLUMN": ""}


if __name__ == "__main__":
    sys.exit(run_script(main))
