"""Whether one model is better than another on the same test images, or by chance."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

RESAMPLES = 2000


def bootstrap_interval(correct: np.ndarray, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of an accuracy over test images (Efron 1979).

    Args:
        correct: (images,) bool, or (runs, images): images are drawn anew, and each brings the mean of its runs. It says how
            far another draw of test images would move the number; how far another seed would is in the deviation of runs.
        level: the share of draws inside.
        seed: of the draws.
    """
    share = np.atleast_2d(np.asarray(correct, float)).mean(axis=0)  # (images,)
    if share.min() == share.max():
        return float(share[0]), float(share[0])
    found = stats.bootstrap(
        (share,), np.mean, confidence_level=level, n_resamples=RESAMPLES, method="percentile", batch=100, rng=seed
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def mcnemar(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Compare two models on the same images by those that one of them alone gets right (McNemar 1947, exact).

    Args:
        first: (images,) bool, whether one model is right.
        second: the same of the other.

    Returns:
        `only_first` and `only_second`, counts of images; `p`: how often chance alone splits them so unevenly.

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
    """Return p values adjusted for their number (Holm 1979): below 0.05 all together are wrong at most one time in twenty."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values, float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
