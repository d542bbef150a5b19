"""Diagnosis of a classifier: confused classes, reliability, selective accuracy, confident mistakes."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.calibration import CALIBRATION_BINS, confidence_intervals

COVERAGES = 20


def confusion_pairs(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Compare two models by how many images of each pair of classes they confuse, both directions added up.

    Args:
        before: confusion matrix of counts (classes, classes), rows true and columns predicted.
        after: the same of the other model, on the same images.
        class_names: in the order of rows and columns.

    Returns:
        Rows `classes` (two names), `before`, `after` and the relative `change` (None if `before` is 0), by descending `before`.
    """
    matrices = [np.asarray(matrix) + np.asarray(matrix).T for matrix in (before, after)]
    rows = []
    for i, j in itertools.combinations(range(len(class_names)), 2):
        had, has = (int(matrix[i, j]) for matrix in matrices)
        change = (has - had) / had if had else None
        rows.append({"classes": [class_names[i], class_names[j]], "before": had, "after": has, "change": change})
    return sorted(rows, key=lambda row: -row["before"])


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> list[dict[str, float]]:
    """Return the reliability diagram of probabilities (n, classes) (Guo et al. 2017, arXiv 1706.04599).

    Each bin with images has a row of `images`, mean `confidence` and `accuracy`.
    """
    confidence, correct = _confidence(probabilities, labels)
    interval = confidence_intervals(confidence, bins)
    rows = []
    for number in np.unique(interval):
        inside = interval == number
        means = {"confidence": float(confidence[inside].mean()), "accuracy": float(correct[inside].mean())}
        rows.append({"images": int(inside.sum()), **means})
    return rows


def calibration_error_by_chance(rows: Sequence[Mapping[str, float]]) -> float:
    """Return the expected calibration error of a perfectly calibrated model on a finite sample.

    The error is a mean of absolute values, so chance does not cancel out (Roelofs et al. 2022, arXiv 2012.08668). In each bin
    the number of correct predictions is taken as normally distributed around its mean confidence.

    Args:
        rows: a reliability diagram, as `reliability` returns it.
    """
    variances = [row["images"] * row["confidence"] * (1 - row["confidence"]) for row in rows]
    return float(np.sqrt(2 / np.pi * np.array(variances)).sum() / sum(row["images"] for row in rows))


def coverage_curve(probabilities: np.ndarray, labels: np.ndarray, points: int = COVERAGES) -> list[dict[str, float]]:
    """Return the accuracy on the most confident images by coverage, their share of all (El-Yaniv and Wiener 2010, JMLR 11).

    Rows have `coverage`, `confidence` (the lowest among these images) and `accuracy`.
    """
    confidence, correct = _confidence(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for share in np.arange(1, points + 1) / points:
        kept = order[: max(1, round(share * len(order)))]
        lowest, accuracy = float(confidence[kept[-1]]), float(correct[kept].mean())
        rows.append({"coverage": float(share), "confidence": lowest, "accuracy": accuracy})
    return rows


def confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the wrong predictions with the highest confidence, in descending order: (at most `count`,)."""
    confidence, correct = _confidence(probabilities, labels)
    wrong = np.flatnonzero(~correct)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
