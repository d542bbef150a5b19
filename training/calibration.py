"""Calibration: fit temperature and exponent on validation images, and measure the expected calibration error."""

import dataclasses
import logging

import numpy as np
from scipy import optimize, special

from models.saved.calibration import Calibration, distances, log_probabilities

log = logging.getLogger(__name__)

CALIBRATION_BINS = 15
TEMPERATURE_RANGE, EXPONENT_RANGE = (0.05, 20.0), (0.5, 3.0)


def fit_calibration(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Return the calibration that minimises the cross-entropy of `probabilities` (n, classes) against `labels` (n,).

    Log-probabilities replace logits, from which they differ by a constant per row. Predicted classes do not change.
    """
    probabilities = distributions(probabilities)
    labels = checked_labels(labels, probabilities)
    distance = distances(probabilities)
    bounds = np.log([TEMPERATURE_RANGE, EXPONENT_RANGE])
    options = {"initial_simplex": np.log([(1, 1), (2, 1), (1, 1.5)])}  # (temperature, exponent)

    def loss(logarithms: np.ndarray) -> float:
        temperature, exponent = np.exp(logarithms)
        return _cross_entropy(-((distance / temperature) ** exponent), labels)

    found = optimize.minimize(loss, np.zeros(2), method="Nelder-Mead", bounds=bounds, options=options)
    if (abs(found.x[:, np.newaxis] - bounds) < 1e-3).any():
        ranges = f"temperature {TEMPERATURE_RANGE}, exponent {EXPONENT_RANGE}"
        log.warning("The calibration is at the limit of its range (%s): too few or too uniform predictions.", ranges)
    return Calibration(*map(float, np.exp(found.x)))


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error, 0..1, over `bins` equal intervals of confidence (Guo et al. 2017, equation 5)."""
    probabilities = distributions(probabilities)
    labels = checked_labels(labels, probabilities)
    confidence = probabilities.max(axis=1)
    gaps = confidence - (probabilities.argmax(axis=1) == labels)
    sums = np.bincount(confidence_intervals(confidence, bins), weights=gaps, minlength=bins)
    return float(np.abs(sums).sum() / len(labels))


def confidence_intervals(confidence: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Return the index of the interval (low, high] of each confidence, out of `bins` equal ones over 0..1."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration(probabilities: np.ndarray, labels: np.ndarray, fitted: Calibration) -> dict[str, float]:
    """Return a calibration's parameters, and cross-entropy (nats) and expected calibration error before and after it."""
    probabilities = distributions(probabilities)
    calibrated = fitted(probabilities)
    labels = checked_labels(labels, probabilities)
    return {
        **dataclasses.asdict(fitted),
        "loss_before": _cross_entropy(log_probabilities(probabilities), labels),
        "loss_after": _cross_entropy(log_probabilities(calibrated), labels),
        "ece_before": expected_calibration_error(probabilities, labels),
        "ece_after": expected_calibration_error(calibrated, labels),
    }


def distributions(probabilities: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Return probabilities as float64 (n, classes) with rows that sum to exactly 1.

    Raises:
        ValueError: wrong shape, or a row is not a distribution.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or len(probabilities) == 0 or classes not in (None, probabilities.shape[1]):
        columns = classes or "classes"
        raise ValueError(f"probabilities must have the shape (n, {columns}), n > 0. Received: {probabilities.shape}")
    sums = probabilities.sum(axis=1, keepdims=True)
    if not (np.isfinite(sums).all() and (probabilities >= 0).all() and (abs(sums - 1) < 1e-2).all()):
        raise ValueError(
            "Each row of probabilities must be finite, not negative, and sum to 1. Received: sums from "
            f"{sums.min():.4g} to {sums.max():.4g}, least value {probabilities.min():.4g}"
        )
    return probabilities / sums


def checked_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return labels (n,) as an array.

    Raises:
        ValueError: wrong shape, or a label is out of range.
    """
    labels = np.asarray(labels)
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels must have the shape {probabilities.shape[:1]}. Received: {labels.shape}")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"labels must lie in 0..{probabilities.shape[1] - 1}. Received: {labels.min()}..{labels.max()}"
        )
    return labels


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
