"""What an accuracy does not show: confused classes, calibration, selective accuracy, confident mistakes."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.calibration import CALIBRATION_BINS, confidence_intervals

COVERAGES = 20


def confusion_pairs(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return for each pair of classes how many images two models take for the other class, both directions added up.

    Args:
        before: confusion matrix of counts (classes, classes), rows true and columns predicted.
        after: the same of the other model, on the same images.
        class_names: in the order of rows and columns.

    Returns:
        Rows `classes` (two names), `before`, `after`, and the relative `change`, None if there were none before; the hardest
        pair comes first.
    """
    matrices = [np.asarray(matrix) + np.asarray(matrix).T for matrix in (before, after)]
    rows = []
    for i, j in itertools.combinations(range(len(class_names)), 2):
        had, has = (int(matrix[i, j]) for matrix in matrices)
        rows.append(
            {
                "classes": [class_names[i], class_names[j]],
                "before": had,
                "after": has,
                "change": (has - had) / had if had else None,
            }
        )
    return sorted(rows, key=lambda row: -row["before"])


def reliability(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> list[dict[str, float]]:
    """Return the reliability diagram of probabilities (n, classes): a row for each bin of confidence with images in it.

    Rows have `images`, `confidence` and `accuracy`, means over the bin (Guo et al. 2017, arXiv 1706.04599).
    """
    confidence, right = _confidence(probabilities, labels)
    interval = confidence_intervals(confidence, bins)
    return [
        {
            "images": int(inside.sum()),
            "confidence": float(confidence[inside].mean()),
            "accuracy": float(right[inside].mean()),
        }
        for inside in (interval == number for number in range(bins))
        if inside.any()
    ]


def calibration_error_by_chance(rows: Sequence[Mapping[str, float]]) -> float:
    """Return the expected calibration error that a perfectly calibrated model would show on a finite sample.

    In each bin the number of correct predictions is taken to be normally distributed around its mean confidence. The error is
    a mean of absolute values, so chance does not cancel out (Roelofs et al. 2022, "Mitigating bias in calibration
    error estimation", arXiv 2012.08668).

    Args:
        rows: a reliability diagram, as `reliability` returns it.
    """
    variances = [row["images"] * row["confidence"] * (1 - row["confidence"]) for row in rows]
    return float(np.sqrt(2 / np.pi * np.array(variances)).sum() / sum(row["images"] for row in rows))


def coverage_curve(probabilities: np.ndarray, labels: np.ndarray, points: int = COVERAGES) -> list[dict[str, float]]:
    """Return the accuracy on the images with the highest confidence, by coverage, the share of images that they are.

    Rows have `coverage`, `confidence` (the lowest of these images) and `accuracy` (El-Yaniv and
    Wiener 2010, "On the foundations of noise-free selective classification").
    """
    confidence, right = _confidence(probabilities, labels)
    order = np.argsort(-confidence, kind="stable")
    rows = []
    for share in np.arange(1, points + 1) / points:
        answered = order[: max(1, round(share * len(order)))]
        rows.append(
            {
                "coverage": float(share),
                "confidence": float(confidence[answered[-1]]),
                "accuracy": float(right[answered].mean()),
            }
        )
    return rows


def confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of the wrong predictions with the highest confidence, in descending order: (at most `count`,)."""
    confidence, right = _confidence(probabilities, labels)
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
