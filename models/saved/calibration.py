"""How a model's probabilities become the ones that are shown: as sure as they are right, in the same order."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A map of probabilities that keeps their order: temperature scaling with one number more.

    How far a class's log-probability lies below the highest, d in nats, becomes (d / temperature) ** exponent. Exponent 1 is
    temperature scaling (Guo et al. 2017, arXiv 1706.04599). A network that learned from smoothed labels may say much the same
    of a sure answer as of a likely one; an exponent above 1 draws the two apart. It belongs to the intra order-preserving
    functions of Rahimi et al. 2020 (arXiv 2003.06820).

    Attributes:
        temperature: above 0; a higher one makes answers less sure, the exponent being the same.
        exponent: above 0; with 1 in both nothing changes.

    Raises:
        ValueError: one of them is not above 0.
    """

    temperature: float = 1.0
    exponent: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not value > 0:
                raise ValueError(f"{name} must be greater than 0. Received: {name}={value}")

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities, float64, of rows of probabilities (n, classes)."""
        distance = distances(probabilities)
        powers = np.exp(-((distance / self.temperature) ** self.exponent))
        return powers / powers.sum(axis=1, keepdims=True)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms, float64, same shape.

    A float32 softmax underflows to 0, which has no logarithm; the smallest normal float32 stands in its place.
    """
    return np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float32).tiny))


def distances(probabilities: np.ndarray) -> np.ndarray:
    """Return how far each log-probability lies below the highest of its row, in nats, (n, classes) float64, not negative."""
    logarithms = log_probabilities(probabilities)
    return logarithms.max(axis=1, keepdims=True) - logarithms
