"""The metrics of each kind of pairs, by their names in metrics.jsonl and summary.json. Imports the standard library only."""

from __future__ import annotations

from connection.reading.shape import Shape

# What people call a metric.
NAMES = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "mrr_at_10": "MRR@10",
    "recall_at_1": "recall@1",
    "recall_at_10": "recall@10",
    "triplet_accuracy": "triplet accuracy",
    "accuracy": "accuracy",
    "average_precision": "average precision",
    "f1": "best F1",
}
# The metric by which dev chooses the best weights.
CHOOSING = {
    Shape.SCORED: "spearman",
    Shape.TOGETHER: "mrr_at_10",
    Shape.NEGATIVES: "mrr_at_10",
    Shape.CLASSES: "accuracy",
}
MEANINGS = {
    "spearman": "Spearman compares the order of similarities with the order of scores: 1 is the same order, 0 none.",
    "mrr_at_10": "MRR@10 is the mean of 1 / rank of the first right sentence2 among all of the set, 0 beyond rank 10.",
    "accuracy": "Accuracy is the share of the pairs whose class is found.",
}
