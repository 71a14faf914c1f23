"""The classifier of pairs that training with LABEL_COLUMN leaves beside the encoder in best/."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from connection import UserMistake
from connection.disk.json_file import parse_json
from connection.text import counted
from connection.training.bootstrap import mean_interval, with_interval
from connection.training.losses import LABELS, LOSS_WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

# torch is imported inside the functions, so that a missing classifier is told in a second.


@dataclass(frozen=True)
class Classifier:
    """Finds the class of a pair from its embeddings (`connection/training/losses/softmax.py`).

    labels: the names of the classes. weight: (classes, 3, H). bias: (classes,).
    """

    labels: list[str]
    weight: Tensor
    bias: Tensor

    @classmethod
    def load(cls, folder: Path, size: int) -> Classifier | None:
        """Load the classifier from an encoder's folder; None if there is none. Raises UserMistake if its files do not fit.

        size: H of the encoder.
        """
        import safetensors.torch

        if not has_classifier(folder):
            return None
        path, labels = folder / LABELS, parse_json(folder / LABELS)
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise UserMistake(f"{path} does not hold a list of classes. {_REMEDY}")
        try:
            weights = safetensors.torch.load_file(folder / LOSS_WEIGHTS)
            weight, bias = weights["softmax.weight"], weights["softmax.bias"]
        except (OSError, KeyError, safetensors.SafetensorError) as error:
            raise UserMistake(f"{folder / LOSS_WEIGHTS} has no weights of a classifier: {error}. {_REMEDY}") from None
        if weight.shape != (len(labels), 3, size) or bias.shape != (len(labels),):
            raise UserMistake(
                f"{folder / LOSS_WEIGHTS}: the classifier's weights are {tuple(weight.shape)}, but {path.name} has "
                f"{len(labels):,} classes and the embeddings {size} numbers. {_REMEDY}"
            )
        return cls(labels, weight.double(), bias.double())

    def __call__(self, sides: np.ndarray) -> tuple[list[str], list[float]]:
        """The most probable class of each pair, and its probability. sides: (n, 2, H) embeddings."""
        import torch

        from connection.training.losses.softmax import class_logits

        first, second = torch.from_numpy(sides.astype(np.float64)).unbind(1)  # (n, H) each
        probabilities, numbers = class_logits((first, second), self.weight, self.bias).softmax(dim=1).max(dim=1)  # (n,) each
        return [self.labels[number] for number in numbers.tolist()], probabilities.tolist()


_REMEDY = f"Copy the whole folder again, or delete {LABELS}; classes are then not predicted."


def has_classifier(folder: Path) -> bool:
    """Whether an encoder's folder has one."""
    return (folder / LABELS).is_file()


def accuracy_text(predicted: list[str], given: list[str], classifier: Classifier) -> str:
    """The accuracy of predicted against given classes (n,), and the classes that the classifier does not know."""
    right = np.array([one == other for one, other in zip(predicted, given, strict=True)], dtype=np.float64)
    counts = Counter(given)
    figure, most = with_interval(float(right.mean()), mean_interval(right)), max(counts.values()) / len(right)
    lines = [f"Accuracy {figure}, {int(right.sum()):,} of {len(right):,}; always the most frequent class: {most:.4f}."]
    unknown = {label: count for label, count in counts.items() if label not in classifier.labels}
    if unknown:
        names = ", ".join(f'"{label}"' for label in list(unknown)[:5]) + ", …" * (len(unknown) > 5)
        rows = counted(sum(unknown.values()), "row")
        lines.append(f"Classes that the encoder was not trained on, which count as wrong ({rows}): {names}.")
    return "\n".join(lines)
