"""A new loss, file format, encoder family or engine of search is one file and one line: shown by adding one of each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
import safetensors.torch
import torch
import warm
from transformers import Data2VecTextConfig, Data2VecTextModel

import bertFineTuningWithConnectionData as script

ROOT = Path(script.__file__).resolve().parent
FILES = {
    "connection/training/losses/absolute.py": """
import torch.nn.functional as F

def absolute_loss(embeddings, scores):
    return (F.cosine_similarity(*embeddings) - scores).abs().mean()
""",
    "connection/reading/formats/bar_table.py": """
from connection.reading.formats.table import Table

def open_file(path, reading):
    return BarTable(path)

class BarTable(Table):
    def __init__(self, path):
        first, *self.rows = [line.split("|") for line in path.read_text(encoding="utf-8").splitlines()]
        super().__init__(path, first)

    def __iter__(self):
        return iter(enumerate(self.rows, start=2))
""",
    "connection/use/search/engines/slow.py": """
import numpy as np
from connection.use.search.engines.exact import Exact

def open_engine(setup):
    return Slow(setup)

class Slow(Exact):
    def search(self, queries, most):
        similarities = queries @ self.generation.block(0, self.generation.count).T
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :most]
        return order, np.take_along_axis(similarities, order, axis=1).astype(float)

    def text(self):
        return "Slowly."
""",
    "connection/encoder/families/data2vec.py": """
from connection.encoder.families.bert import Bert

class Data2Vec(Bert):
    name = "data2vec"
    config_class, model_class, prefix = "Data2VecTextConfig", "Data2VecTextModel", "data2vec_text."

    def positions(self, input_ids, positions, config):
        return positions + config.pad_token_id + 1

    def most_tokens(self, config):
        return config.max_position_embeddings - config.pad_token_id - 1

FAMILY = Data2Vec()
""",
}
LINES = {  # file → what stands there, and the one line that comes after it
    "connection/training/losses/__init__.py": (
        "LOSSES = {\n",
        '    "absolute": Entry("connection.training.losses.absolute:absolute_loss", meaning="the distance"),\n',
    ),
    "connection/reading/formats/__init__.py": ("FORMATS = {\n", '    ".bars": "connection.reading.formats.bar_table",\n'),
    "connection/use/search/names.py": ("ENGINES = {\n", '    "slow": Named("connection.use.search.engines.slow"),\n'),
    "connection/encoder/families/__init__.py": (
        "FAMILIES = {\n",
        '    "data2vec-text": "connection.encoder.families.data2vec",\n',
    ),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the three files and the three lines."""
    folder = tmp_path_factory.mktemp("extended")
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    shutil.copytree(ROOT / "connection", folder / "connection", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name, (there, line) in LINES.items():
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(there) == 1
        (folder / name).write_text(text.replace(there, there + line), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data2vec(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A tiny data2vec, whose positions are RoBERTa's, with the vocabulary of the tiny BERT."""
    folder = tmp_path_factory.mktemp("encoders") / "data2vec"
    config = json.loads((tiny_encoder / "config.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    sizes = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    model = Data2VecTextModel(
        Data2VecTextConfig(
            **{name: config[name] for name in sizes}, max_position_embeddings=40, type_vocab_size=1, pad_token_id=0
        )
    )
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(model.config.to_dict()), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}', encoding="utf-8")
    shutil.copy(tiny_encoder / "vocab.txt", folder)
    safetensors.torch.save_file(
        {f"data2vec_text.{name}": weight for name, weight in model.state_dict().items()}, folder / "model.safetensors"
    )
    return folder


def test_an_engine_of_search_is_one_file_and_one_line(project: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    corpus = runs.write_lines(tmp_path / "corpus.txt", runs.make_sentences(20))
    said = []
    for engine in ("slow", "exact"):
        flags = runs.flags(encoder=tiny_encoder, engine=engine, corpus_file=corpus, index=tmp_path / engine, query="a cat")
        done = warm.run([project / "bertSearchWithConnectionData.py", *flags], cwd=project)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "Slowly.\n" in said[0] and said[0].rpartition("Slowly.\n")[2] == "\n".join(said[1].splitlines()[-10:]) + "\n"


def test_a_loss_a_format_and_a_family_are_one_file_and_one_line_each(
    project: Path, data2vec: Path, pairs_files: dict[str, Path], tmp_path: Path
) -> None:
    files = {}
    for name, path in pairs_files.items():
        files[name] = tmp_path / f"{name}.bars"
        files[name].write_text(path.read_text(encoding="utf-8").replace(",", "|"), encoding="utf-8")
    flags = [f"--{name}-file={path}" for name, path in files.items()]
    flags += [f"--encoder={data2vec}", "--loss=absolute", f"--output={tmp_path / 'run'}", "--epochs=1", "--max-tokens=40"]
    command = project / "bertFineTuningWithConnectionData.py"
    shown = warm.run([command, "--help"], cwd=project).stdout
    assert "{absolute,cosine,cosent,angle,contrastive,online_contrastive,in_batch,triplet,softmax}" in "".join(
        shown.split()
    ) and "absolute: the distance" in " ".join(shown.split())
    run = warm.run([command, *flags], cwd=project)
    assert run.returncode == 0, run.stderr
    assert "MAX_TOKENS 40 is more than the encoder has positions for: 39 is used." in run.stdout
    code = "import numpy, sys; from ConnectionBert import ConnectionBert; "
    code += "encoder = ConnectionBert.load(sys.argv[1]); a = encoder.encode(sys.argv[3:]); "
    code += "encoder.by_hand = False; numpy.save(sys.argv[2], [a, encoder.encode(sys.argv[3:])])"
    sentences = ["a cat is sleeping.", "the man was eating two red birds."]
    vectors = tmp_path / "vectors.npy"
    assert warm.run(["-c", code, tmp_path / "run" / "best", vectors, *sentences], cwd=project).returncode == 0
    ours, with_their_layers = np.load(vectors)
    theirs = their_vectors(tmp_path / "run" / "best", sentences)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(with_their_layers, theirs, atol=1e-5)


def their_vectors(folder: Path, sentences: list[str]) -> np.ndarray:
    """Mean-pooled vectors as transformers computes them, a sentence at a time; it counts its positions itself."""
    from transformers import BertTokenizer

    model, tokenizer = Data2VecTextModel.from_pretrained(folder).eval(), BertTokenizer.from_pretrained(folder)
    with torch.no_grad():
        return np.array(
            [
                model(tokenizer(text, return_tensors="pt")["input_ids"]).last_hidden_state[0].mean(0).numpy()
                for text in sentences
            ]
        )


def test_help_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, bertFineTuningWithConnectionData as s\ntry: s.main(['--help'])\nexcept SystemExit: pass\n"
    code += "sys.exit(' '.join({'torch', 'pandas', 'numpy', 'transformers'} & sys.modules.keys()) or None)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (run.returncode, run.stderr) == (0, "")
