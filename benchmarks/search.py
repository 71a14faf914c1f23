"""Compares the building and searching of an index with sentence-transformers, and the engines with one another.

    python -m pip install -r benchmarks/requirements.txt
    python benchmarks/search.py                              # 100,000 sentences, 1,000 queries × the nearest 10, closest pairs
    python benchmarks/search.py --sentences 10000 --alternations 5
    python benchmarks/search.py --only queries closest
    python benchmarks/search.py --products
    python benchmarks/search.py --engines exact hnsw milvus --vectors 1000000

Each sentence is one of the STS benchmark in which a drawn word stands in the place of another, so that all differ; so is each
query. What is compared with sentence-transformers:
  building  a text file is read and encoded, the vectors are written to the disk. Theirs: `encode`, `numpy.save`.
  queries   1,000 vectors are searched for at once. Theirs: `util.semantic_search`.
  alone     50 of them are searched for one by one; the time is that of one.
  closest   the 10,000 closest pairs are found. Theirs: `util.paraphrase_mining_embeddings` with its own constants.
Each runs in a process of its own, ours and theirs in turn, with all-MiniLM-L6-v2 on the CPU. Loading is not counted. Both
search the same vectors, so that what they find can be compared.
--products: the speed of products of 512 with 8,192 vectors of 384 numbers in float32, bfloat16 and 8-bit integers.
--engines: the engines alone, on drawn vectors of 384 numbers around a tenth as many centres: seconds to build, milliseconds a
query for 1,000 queries at once and one by one, recall@10. Needs requirements-extra.txt and requirements-milvus.txt.
Needs the STS benchmark (data/README.md) and all-MiniLM-L6-v2 (downloadBert.py). Writes benchmarks/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from against_sentence_transformers import MINILM, ROOT, STSB

SYSTEMS = ("ours", "theirs")
MEDIUM = "theirs, medium"  # theirs with torch.set_float32_matmul_precision("medium"); the faster of both counts
QUERIES, ALONE, TOP_K, PAIRS = 1_000, 50, 10, 10_000
SIZE = 384  # of drawn vectors


def make_sentences(count: int, seed: int) -> list[str]:
    """Distinct sentences of the STS benchmark's lengths."""
    import pandas as pd

    tables = [pd.read_csv(STSB / name, keep_default_na=False) for name in ("train.csv", "dev.csv")]
    sentences = list(dict.fromkeys(text for table in tables for side in ("sentence1", "sentence2") for text in table[side]))
    words = sorted({word for text in sentences for word in text.split()})
    random = np.random.default_rng(seed)
    made: dict[str, None] = {}
    while len(made) < count:
        parts = sentences[random.integers(len(sentences))].split()
        parts[random.integers(len(parts))] = words[random.integers(len(words))]
        made.setdefault(" ".join(parts))
    return list(made)


# --- what each process does: it returns seconds, and writes what it found ---


def build_ours(folder: Path) -> float:
    import bertSearchWithConnectionData as script
    from ConnectionBert import ConnectionBert

    encoder = ConnectionBert.load(MINILM)
    encoder.encode(["warm up"])
    ConnectionBert.load = classmethod(lambda cls, *arguments, **options: encoder)
    flags = {"encoder": MINILM, "corpus-file": folder / "corpus.txt", "index": folder / "index", "device": "cpu"}
    started = time.perf_counter()
    script.main([*(f"--{name}={value}" for name, value in flags.items()), "--query=a man is playing a guitar"])
    return time.perf_counter() - started


def build_theirs(folder: Path) -> float:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(MINILM), device="cpu", local_files_only=True)
    model.encode(["warm up"])
    started = time.perf_counter()
    sentences = (folder / "corpus.txt").read_text(encoding="utf-8").splitlines()
    np.save(folder / "theirs.npy", model.encode(sentences, show_progress_bar=False, normalize_embeddings=True))
    return time.perf_counter() - started


def query_ours(folder: Path) -> float:
    from connection.use.search.engines.exact import search_exactly
    from connection.use.search.index import Generation

    generation, queries = Generation(folder / "index" / "generation-1"), np.load(folder / "queries.npy")
    search_exactly(generation, queries[:10], TOP_K)
    started = time.perf_counter()
    numbers, similarities = search_exactly(generation, queries, TOP_K)
    seconds = time.perf_counter() - started
    np.savez(folder / "queries-ours.npz", numbers=numbers, similarities=similarities)
    return seconds


def query_theirs(folder: Path) -> float:
    import torch
    from sentence_transformers import util

    corpus, queries = (torch.from_numpy(np.load(folder / name)) for name in ("corpus.npy", "queries.npy"))
    util.semantic_search(queries[:10], corpus, top_k=TOP_K)
    started = time.perf_counter()
    found = util.semantic_search(queries, corpus, top_k=TOP_K)
    seconds = time.perf_counter() - started
    numbers, similarities = ([[hit[name] for hit in hits] for hits in found] for name in ("corpus_id", "score"))
    np.savez(folder / "queries-theirs.npz", numbers=numbers, similarities=similarities)
    return seconds


def alone_ours(folder: Path) -> float:
    from connection.use.search.engines.exact import search_exactly
    from connection.use.search.index import Generation

    generation, queries = Generation(folder / "index" / "generation-1"), np.load(folder / "queries.npy")
    return one_by_one(queries, lambda query: search_exactly(generation, query, TOP_K))


def alone_theirs(folder: Path) -> float:
    import torch
    from sentence_transformers import util

    corpus, queries = (torch.from_numpy(np.load(folder / name)) for name in ("corpus.npy", "queries.npy"))
    return one_by_one(queries, lambda query: util.semantic_search(query, corpus, top_k=TOP_K))


def one_by_one(queries: Any, search: Callable[[Any], object]) -> float:
    """The median of seconds, each query searched for alone; the first one is not counted."""
    seconds = []
    for number in range(ALONE + 1):
        started = time.perf_counter()
        search(queries[number : number + 1])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def closest_ours(folder: Path) -> float:
    from connection.use.search.closest import closest_sentences
    from connection.use.search.index import Generation

    generation = Generation(folder / "index" / "generation-1")
    started = time.perf_counter()
    pairs = closest_sentences(generation, PAIRS, -1.0)
    seconds = time.perf_counter() - started
    np.savez(folder / "closest-ours.npz", numbers=np.stack(pairs[:2], axis=1), similarities=pairs.similarities)
    return seconds


def closest_theirs(folder: Path) -> float:
    import torch
    from sentence_transformers import util

    corpus = torch.from_numpy(np.load(folder / "corpus.npy"))
    started = time.perf_counter()
    found = util.paraphrase_mining_embeddings(corpus, max_pairs=PAIRS)[:PAIRS]
    seconds = time.perf_counter() - started
    numbers, similarities = [sorted(pair[1:]) for pair in found], [pair[0] for pair in found]
    np.savez(folder / "closest-theirs.npz", numbers=numbers, similarities=similarities)
    return seconds


TASKS: dict[str, dict[str, Callable[[Path], float]]] = {
    "building": {"ours": build_ours, "theirs": build_theirs},
    "queries": {"ours": query_ours, "theirs": query_theirs},
    "alone": {"ours": alone_ours, "theirs": alone_theirs},
    "closest": {"ours": closest_ours, "theirs": closest_theirs},
}


def peak_megabytes() -> float:
    """Of this process. getrusage would count what the process that started it had at that time."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1e3 if found else float("nan")


def work(task: str, system: str, folder: Path) -> None:
    """Run one task of one system in this process; the last line printed holds the figures."""
    if system == MEDIUM:
        import torch

        torch.set_float32_matmul_precision("medium")
    seconds = TASKS[task]["theirs" if system == MEDIUM else system](folder)
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


# --- what is compared ---


def run(arguments: list[object]) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare(tasks: list[str], count: int, alternations: int) -> list[dict[str, Any]]:
    """Run the tasks in turn. Prints a line of the table for each."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "corpus.txt").write_text("\n".join(make_sentences(count, seed=1)) + "\n", encoding="utf-8")
        write_queries(folder / "queries.npy")
        if "building" not in tasks:
            run(["--work", "building", "ours", folder])
            write_corpus(folder)
        print("| | ours | theirs | theirs / ours, median (lowest to highest) | peak memory, MB, ours, theirs |")
        print("| --- | --- | --- | --- | --- |")
        for task in (task for task in TASKS if task in tasks):
            rounds = []
            for _ in range(alternations):
                if task == "building":
                    shutil.rmtree(folder / "index", ignore_errors=True)
                rounds.append({system: run(["--work", task, system, folder]) for system in ("ours", MEDIUM, "theirs")})
                results.append({"task": task, **rounds[-1]})
            print_row(task, rounds)
            if task == "building":
                write_corpus(folder)
                difference = np.abs(np.load(folder / "theirs.npy") - np.load(folder / "corpus.npy")).max()
                print(f"  vectors differ by at most {difference:.1e}")
            elif task != "alone":
                print_agreement(folder, task)
    return results


def in_both(found: np.ndarray, expected: np.ndarray) -> int:
    """How many of the numbers found for each query are expected ones."""
    return sum(len({*one} & {*other}) for one, other in zip(found.tolist(), expected.tolist(), strict=True))


def write_queries(path: Path) -> None:
    from ConnectionBert import ConnectionBert

    vectors = ConnectionBert.load(MINILM).encode(make_sentences(QUERIES, seed=2))
    np.save(path, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def write_corpus(folder: Path) -> None:
    """The vectors of our index as a file of numpy, for theirs."""
    from connection.use.search.index import Generation

    np.save(folder / "corpus.npy", np.array(Generation(folder / "index" / "generation-1").vectors))


def print_row(task: str, rounds: list[dict[str, dict[str, float]]]) -> None:
    seconds = {system: statistics.median(one[system]["seconds"] for one in rounds) for system in rounds[0]}
    best = min(("theirs", MEDIUM), key=seconds.__getitem__)
    memory = ", ".join(f"{max(one[system]['megabytes'] for one in rounds):,.0f}" for system in ("ours", best))
    ratios = [one[best]["seconds"] / one["ours"]["seconds"] for one in rounds]
    spread = f"{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
    print(
        f"| {task} | {seconds['ours']:.4g} s | {seconds['theirs']:.4g} s (medium {seconds[MEDIUM]:.4g} s) "
        f"| **{spread} | {memory} |",
        flush=True,
    )


def print_agreement(folder: Path, task: str) -> None:
    ours, theirs = (np.load(folder / f"{task}-{system}.npz") for system in SYSTEMS)
    if task == "queries":
        same, total = in_both(ours["numbers"], theirs["numbers"]), ours["numbers"].size
    else:
        pairs = [set(map(tuple, one["numbers"].tolist())) for one in (ours, theirs)]
        same, total = len(pairs[0] & pairs[1]), len(pairs[0])
    difference = np.abs(ours["similarities"] - theirs["similarities"]).max()
    print(f"  the same: {same:,} of {total:,}; similarities differ by at most {difference:.1e}", flush=True)


# --- the engines alone ---


def drawn(count: int, seed: int, centres: np.ndarray) -> np.ndarray:
    """Vectors around centres."""
    random = np.random.default_rng(seed)
    vectors = np.empty((count, SIZE), dtype=np.float32)
    for start in range(0, count, 100_000):
        part = vectors[start : start + 100_000]
        part[:] = centres[random.integers(len(centres), size=len(part))]
        part += 0.7 * random.standard_normal(part.shape, dtype=np.float32)
    return vectors


def measure_engine(name: str, count: int) -> dict[str, float]:
    """Build an index of drawn vectors with an engine, and search in it."""
    from connection.disk.claim import claimed
    from connection.use.nearest import scale
    from connection.use.search.building import Builder
    from connection.use.search.corpus import survey_corpus
    from connection.use.search.engines import Setup, open_engine
    from connection.use.search.engines.exact import search_exactly
    from connection.use.search.index import Generation, generation_folder, new_header
    from connection.use.search.names import ENGINES

    centres = np.random.default_rng(0).standard_normal((max(1, count // 10), SIZE), dtype=np.float32)
    vectors, queries = drawn(count, 1, centres), drawn(QUERIES, 2, centres)
    scale(queries)
    corpus = survey_corpus(map(str, range(count)))
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name) / "index"
        header = new_header({})
        builder = Builder(folder, header, corpus, "float32", SIZE)
        plan = builder.plan(None, stored=ENGINES[name].stored)
        with claimed(folder, "INDEX"):
            builder.begin()
            engine = open_engine(name, Setup(folder, header, "float32", SIZE))
            started = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                builder.build(
                    plan,
                    map(str, range(count)),
                    lambda texts: vectors[int(texts[0]) : int(texts[0]) + len(texts)],
                    engine.vectors,
                    lambda building, contents: engine.finish(building, contents, None),
                )
            generation = Generation(generation_folder(folder, builder.header.generation))
            engine.use(generation)
            seconds = time.perf_counter() - started
        engine.search(queries[:10], TOP_K)
        started = time.perf_counter()
        found, _ = engine.search(queries, TOP_K)
        together = time.perf_counter() - started
        alone = one_by_one(queries, lambda query: engine.search(query, TOP_K))
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        engine.close()
    scale(vectors)
    expected, _ = search_exactly(InMemory(vectors), queries, TOP_K)
    return {
        "build": seconds,
        "together": together / QUERIES * 1e3,
        "alone": alone * 1e3,
        "recall": in_both(found, expected) / expected.size,
        "disk": size / 1e6,
        "memory": peak_megabytes(),
    }


class InMemory:
    """Vectors as a generation has them."""

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors

    def blocks(self, size: int) -> Any:
        return (self.vectors[start : start + size] for start in range(0, len(self.vectors), size))


def measure_engines(names: list[str], count: int) -> list[dict[str, Any]]:
    print("| engine | build | a query, of 1,000 at once | a query alone | recall@10 | disk | peak memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    results = []
    for name in names:
        result = run(["--engine", name, "--vectors", count])
        results.append({"engine": name, "vectors": count, **result})
        times = f"{result['build']:,.0f} s | {result['together']:.2f} ms | {result['alone']:.2f} ms"
        sizes = f"{result['disk']:,.0f} MB | {result['memory']:,.0f} MB"
        print(f"| `{name}` | {times} | {result['recall']:.4f} | {sizes} |", flush=True)
    return results


def measure_products() -> None:
    """Print GFLOP/s, the best of 20 in turn."""
    import torch

    rows, columns = (torch.nn.functional.normalize(torch.randn(count, SIZE)) for count in (512, 8192))
    half, integers = ([each.to(kind) for each in (rows, columns)] for kind in (torch.bfloat16, torch.int8))
    kinds: dict[str, Callable[[], object]] = {
        "float32": lambda: rows @ columns.T,
        "bfloat16": lambda: half[0] @ half[1].T,
        "8-bit integers": lambda: torch._int_mm(integers[0], integers[1].T),
    }
    best = dict.fromkeys(kinds, float("inf"))
    for _ in range(20):
        for name, multiply in kinds.items():
            started = time.perf_counter()
            multiply()
            best[name] = min(best[name], time.perf_counter() - started)
    for name, seconds in best.items():
        print(f"{name}: {2 * len(rows) * len(columns) * SIZE / seconds / 1e9:,.0f} GFLOP/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=100_000)
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--products", action="store_true")
    parser.add_argument("--engines", nargs="+", choices=["exact", "hnsw", "milvus"])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.work[0], options.work[1], Path(options.work[2]))
    if options.engine:
        return print(json.dumps(measure_engine(options.engine, options.vectors)))
    if options.products:
        return measure_products()
    if options.engines:
        results = measure_engines(options.engines, options.vectors)
    elif not (STSB / "train.csv").is_file() or not (MINILM / "model.safetensors").is_file():
        sys.exit("Skipped: needs the STS benchmark (STSB or data/stsb/) and all-MiniLM-L6-v2 (downloadBert.py).")
    else:
        results = compare(options.only, options.sentences, options.alternations)
    path = ROOT / "benchmarks" / "results" / "search.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
