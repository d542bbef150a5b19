"""What lies behind an accuracy: which classes are confused, how far confidence can be trusted, which images decide."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from training.evaluation import CALIBRATION_BINS, confidence_intervals

COVERAGES = 20


def confusion_pairs(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return each pair of classes with the images that two models take for the other one, both directions added up.

    Args:
        before: confusion matrix of counts (classes, classes), rows true and columns predicted.
        after: the same of the other model, on the same images.
        class_names: in the order of rows and columns.

    Returns:
        Rows `classes` (two names), `before`, `after`, and `change`, from -1 (all of them gone), None where there were none;
        the pair that was hardest before comes first.
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
    """Return the reliability diagram of probabilities (n, classes): a row for each interval of confidence that holds images.

    Rows have `images`, `confidence` and `accuracy`, means over the interval's images (Guo et al. 2017, arXiv 1706.04599).
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
    """Return the expected calibration error that a model without any would show, by the luck of which images it is asked.

    Each interval's right answers are taken to be drawn at its mean confidence, and their number to be normally distributed.
    The error is a mean of absolute values, so luck does not cancel out (Roelofs et al. 2022, "Mitigating bias in calibration
    error estimation", arXiv 2012.08668).

    Args:
        rows: a reliability diagram, as `reliability` returns it.
    """
    variances = [row["images"] * row["confidence"] * (1 - row["confidence"]) for row in rows]
    return float(np.sqrt(2 / np.pi * np.array(variances)).sum() / sum(row["images"] for row in rows))


def coverage_curve(probabilities: np.ndarray, labels: np.ndarray, points: int = COVERAGES) -> list[dict[str, float]]:
    """Return the accuracy on the images that a model is surest of, by the share of them that it answers.

    Rows have `coverage` (share of images answered), `confidence` (of the least sure of them) and `accuracy` (El-Yaniv and
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
    """Return the indices of the wrong answers that a model is surest of, the surest first: (at most `count`,)."""
    confidence, right = _confidence(probabilities, labels)
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def without_doubtful(
    right: np.ndarray, lists: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float | int | None]]:
    """Return accuracies on the test images without those of each list, and on those alone.

    Args:
        right: (images,) bool, whether the model is right.
        lists: as `review_lists.fetch_review` returns them.

    Returns:
        For each list, and for `all` of them together: `images` in it, `accuracy_with` them, `accuracy_without`, and
        `accuracy_on` them alone (None where there are none). Empty without any list.
    """
    if not lists:
        return {}
    chosen = {name: np.asarray(each["images"], int) for name, each in lists.items()}
    chosen["all"] = np.unique(np.concatenate(list(chosen.values())))
    found = {}
    for name, rows in chosen.items():
        if len(rows) and rows.max() >= len(right):
            raise ValueError(f"{name} names image {rows.max()}, and there are {len(right)}.")
        rest = np.delete(right, rows)
        found[name] = {
            "images": len(rows),
            "accuracy_with": float(right.mean()),
            "accuracy_without": float(rest.mean()),
            "accuracy_on": float(right[rows].mean()) if len(rows) else None,
        }
    return found


def _confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = np.asarray(probabilities, np.float64), np.asarray(labels)
    return probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
