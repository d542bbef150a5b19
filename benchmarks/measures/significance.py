"""Confidence intervals and significance tests of accuracies."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000


def bootstrap_interval(correct: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of an accuracy (Efron 1979).

    It covers the choice of test images, not the randomness of training. `correct` is (images,) bool, or (runs, images), whose
    mean over runs is resampled.
    """
    share = np.atleast_2d(np.asarray(correct, float)).mean(axis=0)  # (images,)
    if share.min() == share.max():
        return float(share[0]), float(share[0])
    found = stats.bootstrap(
        (share,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile", batch=100, rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare two models by McNemar's exact test (1947) on (images,) bool, whether each is correct.

    Returns:
        `only_first` and `only_second`, counts of images that only one model classifies correctly, and the two-sided `p`.

    Raises:
        ValueError: the shapes differ.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Both must be (images,) of the same images. Received: {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    split = only_first + only_second
    p = float(stats.binomtest(only_first, split, 0.5).pvalue) if split else 1.0
    return {"only_first": only_first, "only_second": only_second, "p": p}


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values adjusted for multiple comparisons (Holm 1979)."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
