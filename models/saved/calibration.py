"""Calibration of a model's probabilities, so that confidence matches accuracy."""

import dataclasses

import numpy as np

from runtime.validation import require


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Temperature scaling with an additional exponent; it preserves the order of the classes.

    The distance d of a class's log-probability from the highest, in nats, becomes (d / temperature) ** exponent. Exponent 1 is
    temperature scaling (Guo et al. 2017, arXiv 1706.04599). Label smoothing compresses the differences between confident and
    likely predictions; an exponent above 1 restores them. The map is an intra order-preserving function (Rahimi et al. 2020,
    arXiv 2003.06820).

    Raises:
        ValueError: if the temperature or the exponent is not above 0.
    """

    temperature: float = 1.0  # a higher temperature lowers the confidence
    exponent: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            require(value > 0, f"{name} must be greater than 0", **{name: value})

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the calibrated probabilities, float64, for probabilities (n, classes)."""
        distance = distances(probabilities)
        powers = np.exp(-((distance / self.temperature) ** self.exponent))
        return powers / powers.sum(axis=1, keepdims=True)


def log_probabilities(probabilities: np.ndarray) -> np.ndarray:
    """Return the logarithms, float64, same shape; 0, to which a float32 softmax underflows, counts as the least float32."""
    return np.log(np.maximum(np.asarray(probabilities, np.float64), np.finfo(np.float32).tiny))


def distances(probabilities: np.ndarray) -> np.ndarray:
    """Return the distance of each log-probability from the highest in its row, in nats, (n, classes) float64."""
    logarithms = log_probabilities(probabilities)
    return logarithms.max(axis=1, keepdims=True) - logarithms
