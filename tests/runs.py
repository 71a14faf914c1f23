"""What tests are made of: a tiny BERT, pairs for it, flags, and what a run leaves without what clocks decide."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import BertConfig, BertModel

ROOT = Path(__file__).resolve().parent.parent
CLOCKS = ("time", "seconds", "_seconds", "_per_second", "_bytes")
FINISHED = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "device": "cpu"}  # the flags of the fixture finished_run

WORDS = """
    a the man woman cat dog child bird is was not never eating sleeping running red blue big small two three five
""".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, ".", "?", *"abcdefghijklmnopqrstuvwxyz", "##s", "##ing"]


def make_bert(seed: int = 0, **changes: object) -> BertModel:
    """A BERT of 2 layers with random weights, none of them at its initial 0 or 1; dropout 0.1 unless changed."""
    settings = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(seed)
    bert = BertModel(BertConfig(**settings | changes))
    with torch.no_grad():
        for weight in bert.parameters():
            weight.add_(torch.randn_like(weight) * 0.1)
    return bert.eval()


def write_encoder(folder: Path, bert: BertModel, vocabulary: list[str] = VOCABULARY) -> Path:
    """A plain BERT's folder with the three files that a person downloads by hand, the weights as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {key: value for key, value in bert.config.to_dict().items() if not key.startswith("_")}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    safetensors.torch.save_file({n: w.detach().clone() for n, w in bert.named_parameters()}, folder / "model.safetensors")
    return folder


def make_sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of 1 to 14 words of the tiny vocabulary."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, size=random.integers(1, 15))) + "." for _ in range(count)]


def write_pairs(path: Path, count: int, seed: int = 0) -> Path:
    """A CSV of pairs that can be learned: the score says what share of their words two sentences have in common."""
    random = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence1", "sentence2", "score"])
        for sentence in make_sentences(count, seed):
            words = sentence.strip(".").split()
            kept = [
                word if random.random() < share else str(random.choice(WORDS)) for share in [random.random()] for word in words
            ]
            shared = len(set(words) & set(kept)) / len(set(words) | set(kept))
            writer.writerow([sentence, " ".join(kept) + "?", round(5 * shared, 2)])
    return path


def write_shapes(path: Path, count: int, seed: int = 0) -> Path:
    """A CSV of pairs that can be learned by every kind of pairs but scored ones: columns sentence1, sentence2, negative, label.

    sentence2 has other words, one for each of sentence1; many to few, since sentence1 comes with two endings. negative is the
    sentence2 of another row, empty in every fifth row. label says whether sentence1 has more words than half of the others.
    """
    firsts = make_sentences(-(-count // 2), seed)
    other = dict(zip(WORDS, WORDS[7:] + WORDS[:7], strict=True))
    seconds = [" ".join(other[word] for word in sentence.strip(".").split()) + "?" for sentence in firsts]
    half = np.median([len(sentence.split()) for sentence in firsts])
    rows: list[list[object]] = [["sentence1", "sentence2", "negative", "label"]]
    for row in range(count):
        number = row // 2
        first = firsts[number] if row % 2 else firsts[number] + " a"
        label = "long" if len(firsts[number].split()) > half else "short"
        negative = "" if row % 5 == 4 else seconds[(number + 7) % len(seconds)]
        rows.append([first, seconds[number], negative, label])
    return write_rows(path, rows)


def without_clocks(value: object) -> object:
    """JSON as it was, without the fields that a clock or the machine's memory decides."""
    if isinstance(value, dict):
        return {name: without_clocks(x) for name, x in value.items() if not name.endswith(CLOCKS)}
    return [without_clocks(x) for x in value] if isinstance(value, list) else value


def report_shown(page: str) -> object:
    """What a report shows, without clocks and without the name of OUTPUT."""
    shown = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])
    del shown["folder"], shown["constants"]["OUTPUT"]
    return without_clocks(shown)


def run_result(output: Path) -> dict[str, object]:
    """All that a run leaves, by path: bytes, but JSON without its clocks, and without the manifests' sums of those."""
    found = {}
    for path in sorted(output.rglob("*")):
        name = path.relative_to(output).as_posix()
        if path.name in ("state.json", "summary.json"):
            found[name] = without_clocks(json.loads(path.read_text(encoding="utf-8")))
        elif path.name == "metrics.jsonl":
            found[name] = [without_clocks(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
        elif path.name == "report.html":
            found[name] = report_shown(path.read_text(encoding="utf-8"))
        elif path.name == "MANIFEST.json":
            manifest = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {**manifest, "files": {file: x for file, x in manifest["files"].items() if file != "state.json"}}
        elif path.name != "settings.json":  # which names OUTPUT
            found[name] = path.read_bytes() if path.is_file() else None
    return found


def assert_same(output: Path, golden: dict[str, object]) -> None:
    """Whether OUTPUT holds what a golden run's `run_result` says, and nothing beside."""
    found = run_result(output)
    assert found.keys() == golden.keys()
    assert [name for name in golden if found[name] != golden[name]] == []


def flags(**values: object) -> list[str]:
    """A script's flags from keywords: batch_size=8 is --batch-size=8, True the flag alone, a tuple several words, None none."""
    found: list[str] = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, tuple):
            found += [flag, *map(str, value)]
        elif value is not None:
            found.append(flag if value is True else f"{flag}={value}")
    return found


def file_flags(files: dict[str, Path]) -> list[str]:
    """The flags --train-file, --dev-file and --test-file of the files by name."""
    return flags(**{f"{name}_file": path for name, path in files.items()})


def run_script(script: ModuleType, *more: str, **values: object) -> None:
    """Run a script's `main` in this process, with these flags; it must end well."""
    assert script.main([*flags(**values), *more]) == 0


def trained(script: ModuleType, encoder: Path, files: dict[str, Path], output: Path, **changes: object) -> Path:
    """Run the training script on these files for 16 steps; returns OUTPUT."""
    values = {"epochs": 2, "batch_size": 8, "learning_rate": 3e-3, "device": "cpu", "checkpoints_per_epoch": 2} | changes
    run_script(script, *file_flags(files), encoder=encoder, output=output, **values)
    return output


def check_training(script: ModuleType, encoder: Path, files: dict[str, Path], folder: Path, **changes: object) -> None:
    """A run learns; stopped after its third checkpoint it ends, started again, with the same bytes."""
    whole = trained(script, encoder, files, folder / "whole", keep_checkpoints=True, **changes)
    metrics = [json.loads(line) for line in (whole / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [entry["loss"] for entry in metrics if "learning_rate" in entry]
    assert len(losses) == 16 and sum(losses[-4:]) < sum(losses[:4])
    golden = run_result(whole)
    first = sorted((whole / "checkpoints").glob("step-*"))[0]
    for path in (whole / "summary.json", *sorted((whole / "checkpoints").glob("step-*"))[1:]):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert first.is_dir()
    again = trained(script, encoder, files, folder / "whole", keep_checkpoints=True, **changes)
    assert_same(again, golden)


def write_lines(path: Path, lines: list[str]) -> Path:
    """A plain text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def write_rows(path: Path, rows: list[list[object]], separator: str = ",") -> Path:
    """A CSV of these rows."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=separator).writerows(rows)
    return path


def in_namespace(commands: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run a shell's commands where mounting is allowed and nobody else sees it; $1, $2 … are the arguments."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs `unshare -rm`, which this system does not allow")
    command = ["unshare", "-rm", "sh", "-c", f"set -e\n{commands}", "sh", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, cwd=ROOT)
