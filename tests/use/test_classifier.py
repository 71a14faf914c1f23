"""Classes predicted by the scoring script: the saved classifier, its accuracy, and a sentence for what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import runs
import safetensors.torch
import torch
from runs import write_rows

import bertScoringWithConnectionData as script
from connection import UserMistake
from connection.training.losses.softmax import initial_weights
from connection.use.classifier import Classifier, accuracy_text, has_classifier

LABELS = ["no", "unclear", "yes"]
SIZE = 32  # of the tiny encoder's embeddings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a classifier of three classes."""
    weights = {f"softmax.{name}": weight for name, weight in initial_weights(SIZE, len(LABELS), seed=1).items()}
    safetensors.torch.save_file(weights, tmp_path / "loss.safetensors")
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    return tmp_path


def test_the_most_probable_class_by_hand(folder: Path) -> None:
    sides = np.random.default_rng(0).normal(size=(20, 2, SIZE))
    classifier = Classifier.load(folder, SIZE)
    assert classifier is not None
    labels, probabilities = classifier(sides)
    weight, bias = classifier.weight.numpy(), classifier.bias.numpy()
    for (u, v), label, probability in zip(sides, labels, probabilities, strict=True):
        logits = np.einsum("ckh,kh->c", weight, np.stack([u, v, np.abs(u - v)])) + bias
        shares = np.exp(logits) / np.exp(logits).sum()
        assert label == LABELS[int(shares.argmax())] and probability == pytest.approx(shares.max())
    assert len(set(labels)) > 1


def test_accuracy_counts_unknown_classes_as_wrong(folder: Path) -> None:
    classifier = Classifier.load(folder, SIZE)
    assert classifier is not None
    text = accuracy_text(["yes", "no", "no", "yes"], ["yes", "no", "yes", "maybe"], classifier)
    assert "Accuracy 0.5000 [" in text and "2 of 4; always the most frequent class: 0.5000." in text
    assert text.endswith('Classes that the encoder was not trained on, which count as wrong (1 row): "maybe".')
    assert "not trained on" not in accuracy_text(["yes"], ["no"], classifier)


@pytest.mark.parametrize(
    ("labels", "weights", "message"),
    [
        ({"yes": 1}, None, r"labels\.json does not hold a list of classes"),
        (LABELS[:2], None, r"the classifier's weights are \(3, 3, 32\), but labels\.json has 2 classes and the embeddings 32 "),
        (LABELS, {"other": torch.zeros(1)}, r"loss\.safetensors has no weights of a classifier: 'softmax\.weight'"),
        (LABELS, b"{", r"loss\.safetensors has no weights of a classifier: "),
    ],
)
def test_what_does_not_fit_is_told(folder: Path, labels: object, weights: object, message: str) -> None:
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    if isinstance(weights, bytes):
        (folder / "loss.safetensors").write_bytes(weights)
    elif weights is not None:
        safetensors.torch.save_file(weights, folder / "loss.safetensors")
    with pytest.raises(UserMistake, match=message + ".*delete labels.json"):
        Classifier.load(folder, SIZE)


def test_a_column_of_classes_needs_a_classifier(tiny_encoder: Path, tmp_path: Path) -> None:
    assert not has_classifier(tiny_encoder)
    pairs = write_rows(tmp_path / "pairs.csv", [["sentence1", "sentence2", "label"], ["a cat", "a dog", "yes"]])
    with pytest.raises(UserMistake, match=r"LABEL_COLUMN is set, but .* predicts no classes: train with LABEL_COLUMN"):
        runs.run_script(script, encoder=tiny_encoder, pairs_file=pairs, output_file=tmp_path / "s.csv", label_column="label")


def test_a_single_pair_has_a_class(folder: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in tiny_encoder.iterdir():
        (folder / path.name).symlink_to(path)
    runs.run_script(script, encoder=folder, sentence1="a cat", sentence2="a dog", device="cpu")
    assert ", class_predicted " in capsys.readouterr().out
