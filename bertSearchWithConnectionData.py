"""Index sentences and find the nearest ones of a query, or the closest pairs and groups among them.

Edit the constants below and run:  python bertSearchWithConnectionData.py
Each constant is also a flag for one run; a single query:  --query "my badge does nothing"
"""

from __future__ import annotations

import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from connection import UserMistake
from connection.constants import SEARCH_KINDS
from connection.script.environment import prepare_environment
from connection.script.requirements import check_packages, check_python
from connection.script.running import run_script
from connection.script.settings import Settings, read_settings
from connection.text import counted

if TYPE_CHECKING:
    from connection.encoder.folder import EncoderFolder
    from connection.reading.sentences import SentenceRows
    from connection.use.search.corpus import Corpus
    from connection.use.search.index import Header
    from connection.use.search.questions import Queries
    from connection.use.search.session import Session

# torch and what builds on it are imported inside the functions, as in the training script.

# --- encoder ---

# Folder of the encoder: best/ of a run, or any encoder that training takes.
ENCODER = "output/connections/best"

# Prompt: a text before every query, or the name of one in the encoder's folder. Empty: as the encoder was trained (that of
# sentence1, or the one named query). "none": no prompt.
QUERY_PROMPT = ""

# The same for the sentences of the corpus (that of sentence2, or the one named document or passage).
CORPUS_PROMPT = ""

# --- sentences ---

# The sentences to search in: any file that training reads, or plain text (.txt), a sentence a line. Empty: INDEX as it is.
CORPUS_FILE = "data/helpdesk-answers.txt"

# Column of the sentences: its name in the header, or its number (from 1) in a file without a header. Plain text needs none.
SENTENCE_COLUMN = "sentence"

# Text between cells, one or more characters. Empty: detected among , ; tab | and ||.
SEPARATOR = ""

# True: double quotes enclose a cell. False: they are ordinary characters.
QUOTING = True

# Text encoding, such as "cp1252" (Western Excel) or "cp949" (Korean Excel). Empty: detected, and refused where unsure.
ENCODING = ""

# Sheet of CORPUS_FILE, if it is an Excel workbook. Empty: the first one, as always of QUERY_FILE.
SHEET = ""

# --- index ---

# Folder of the index, with the vectors of all sentences. It is built at the first start; later ones only add, change and drop
# what has changed in CORPUS_FILE.
INDEX = "output/index"

# Engine: exact compares with every sentence; hnsw finds most of the nearest ones much faster, from some 100,000 sentences on
# (needs requirements-extra.txt); milvus keeps the vectors in a database or a cluster (needs requirements-milvus.txt).
ENGINE = "exact"

# Address of a Milvus server or cluster, such as "http://localhost:19530". Empty: Milvus inside of this process, in INDEX.
MILVUS_URI = ""

# Length of the vectors: the first so many numbers of an embedding, for an encoder that was trained with DIMENSIONS. 0: all.
DIMENSION = 0

# Number format of the stored vectors: float32, or float16 for half the size and a rounding in the fourth decimal.
NUMBERS = "float32"

# --- what to find ---

# A single query: its nearest sentences are printed.
QUERY = ""

# A file of queries: OUTPUT_FILE gets the nearest sentences of each. Any file as for CORPUS_FILE.
QUERY_FILE = ""

# Column of the queries in QUERY_FILE: name or number. Empty: as SENTENCE_COLUMN.
QUERY_COLUMN = ""

# True: ask for queries, one a line, and print the nearest sentences of each, until an empty line.
PROMPT = False

# Number of nearest sentences of each query.
TOP_K = 10

# Without a query, the closest pairs of the corpus are found: this many, and the groups that they form.
CLOSEST_PAIRS = 10_000

# Least similarity of the closest pairs.
LEAST_SIMILARITY = 0.0

# Similarity from which a pair belongs to a group. Look at pairs around it before you trust it: it depends on the encoder.
GROUP_SIMILARITY = 0.8

# File for what is found for QUERY_FILE, or for the closest pairs; its name ends in .csv, .tsv or .xlsx. search.html, a page to
# browse, is written beside it. Files that are already there are renamed.
OUTPUT_FILE = "output/connections.csv"

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
    """Bring the index up to CORPUS_FILE, then answer. Returns 0; raises UserMistake with a message for the user."""
    check_python()
    settings = read_settings(__file__, globals(), SEARCH_KINDS, arguments)
    check_packages()
    prepare_environment(settings.THREADS)
    from connection.script.interruption import stoppable
    from connection.use.output import check_output
    from connection.use.search.engines import check_engine
    from connection.use.search.questions import refuse_query, writes_file

    # All errors in constants and files are found here, before weights are loaded or a file is written.
    check_engine(settings.ENGINE)
    refuse_query(settings)
    folder, prompts = inspect(settings)
    header = find_index(settings, folder, prompts)
    files = open_files(settings)
    if writes_file(settings):
        check_output(settings.OUTPUT_FILE, **{name: rows.path for name, rows in files.items()})
    corpus = read_corpus(files["CORPUS_FILE"]) if "CORPUS_FILE" in files else None
    queries = read_queries(files["QUERY_FILE"]) if "QUERY_FILE" in files else None
    from connection.use.search.session import Session  # not earlier: it imports torch, which takes seconds
    from ConnectionBert import ConnectionBert

    with stoppable(), closing(Session(settings, header, prompts, partial(ConnectionBert.load, whole=False))) as session:
        if corpus is not None:
            session.update(corpus, files["CORPUS_FILE"])
        session.open()
        answer(settings, session, queries)
    return 0


def inspect(settings: Settings) -> tuple[EncoderFolder, tuple[str, str]]:
    """The folder of ENCODER, and the prompts of queries and corpus. Raises UserMistake for what does not fit."""
    from connection.encoder.prompts import search_prompts
    from connection.use.encoder import inspect_used

    folder = inspect_used(settings.ENCODER)
    prompts = search_prompts(folder.settings, (settings.QUERY_PROMPT, settings.CORPUS_PROMPT))
    if any(prompts) and not folder.pools_prompt:
        raise UserMistake(
            f"{folder.folder}: its pooling leaves the tokens of a prompt out (include_prompt), which is not supported. Set "
            'QUERY_PROMPT and CORPUS_PROMPT to "none", or choose another encoder.'
        )
    if folder.size < settings.DIMENSION:
        raise UserMistake(
            f"DIMENSION is {settings.DIMENSION:,}, but the embeddings of {folder.folder} have {folder.size:,} numbers."
        )
    return folder, prompts


def find_index(settings: Settings, folder: EncoderFolder, prompts: tuple[str, str]) -> Header:
    """The header of INDEX as it is, or as it will be. Raises UserMistake if INDEX is another's or was built differently."""
    from connection.use.search.fingerprint import fingerprint_of, refuse_other_index
    from connection.use.search.index import new_header, read_header

    fingerprint = fingerprint_of(folder, prompts[1], settings)
    header = read_header(settings.INDEX)
    if header is None and not settings.CORPUS_FILE:
        raise UserMistake(f"INDEX: {settings.INDEX} holds no index yet. Set CORPUS_FILE to build it.")
    if header is not None:
        refuse_other_index(settings.INDEX, header, fingerprint)
    return header or new_header(fingerprint)


def open_files(settings: Settings) -> dict[str, SentenceRows]:
    """CORPUS_FILE and QUERY_FILE, where they are set. Raises UserMistake if one cannot be read or lacks its column."""
    from connection.reading.sentences import SentenceLayout, SentenceRows

    common = {name: getattr(settings, name.upper()) for name in ("separator", "quoting", "encoding")}
    files = {}
    if settings.CORPUS_FILE:
        layout = SentenceLayout(settings.SENTENCE_COLUMN, constant="SENTENCE_COLUMN", sheet=settings.SHEET, **common)
        files["CORPUS_FILE"] = SentenceRows(settings.CORPUS_FILE, layout)
    if settings.QUERY_FILE and not settings.QUERY:
        layout = SentenceLayout(settings.QUERY_COLUMN or settings.SENTENCE_COLUMN, constant="QUERY_COLUMN", **common)
        files["QUERY_FILE"] = SentenceRows(settings.QUERY_FILE, layout)
    return files


def read_corpus(rows: SentenceRows) -> Corpus:
    """Check every row of CORPUS_FILE and find which sentences are alike. Prints what was read."""
    from connection.use.search.corpus import survey_corpus

    corpus = survey_corpus(rows)
    print(f"{counted(rows.count, 'sentence')} from {rows.path}\nRead as {', '.join(rows.notes)}.")
    return corpus


def read_queries(rows: SentenceRows) -> Queries:
    """Read QUERY_FILE. Prints what was read."""
    from connection.use.search.questions import Queries

    texts = list(rows)
    print(f"{len(texts):,} {'query' if len(texts) == 1 else 'queries'} from {rows.path}\nRead as {', '.join(rows.notes)}.")
    return Queries(texts, rows.path.name, rows.style)


def answer(settings: Settings, session: Session, queries: Queries | None) -> None:
    """QUERY, then QUERY_FILE, then PROMPT; with none of them the closest pairs of the corpus."""
    from connection.use.search.questions import answer_file, answer_prompt, answer_query, find_closest

    if settings.QUERY:
        answer_query(session, settings.QUERY)
    elif queries is not None:
        answer_file(session, queries)
    elif settings.PROMPT:
        answer_prompt(session, sys.stdin)
    else:
        find_closest(session)


if __name__ == "__main__":
    sys.exit(run_script(main))
