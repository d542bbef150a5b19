"""Confusion pairs, reliability, coverage and confident mistakes."""

import numpy as np
import pytest

from benchmarks.measures.diagnosis import (
    calibration_error_by_chance,
    confident_mistakes,
    confusion_pairs,
    coverage_curve,
    reliability,
)
from training.calibration import expected_calibration_error


@pytest.fixture
def predictions():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.full(4, 0.4), 500)
    labels = np.array([generator.choice(4, p=row) for row in probabilities])
    return probabilities, labels


def test_pairs_add_up_both_directions_and_the_hardest_comes_first():
    before = [[90, 3, 7], [5, 95, 0], [20, 0, 80]]
    after = [[99, 1, 0], [0, 99, 1], [3, 0, 97]]
    assert confusion_pairs(before, after, ["cat", "ship", "dog"]) == [
        {"classes": ["cat", "dog"], "before": 27, "after": 3, "change": pytest.approx(-24 / 27)},
        {"classes": ["cat", "ship"], "before": 8, "after": 1, "change": pytest.approx(-7 / 8)},
        {"classes": ["ship", "dog"], "before": 0, "after": 1, "change": None},
    ]


def test_the_diagram_adds_up_to_the_calibration_error(predictions):
    rows = reliability(*predictions)
    assert sum(row["images"] for row in rows) == 500
    error = sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / 500
    assert error == pytest.approx(expected_calibration_error(*predictions))


def test_the_error_by_chance_is_that_of_calibrated_predictions():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.5, 1, 2000)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    drawn = [(generator.random(2000) >= confidence).astype(int) for _ in range(200)]
    errors = [expected_calibration_error(probabilities, labels) for labels in drawn]
    assert calibration_error_by_chance(reliability(probabilities, drawn[0])) == pytest.approx(np.mean(errors), rel=0.05)


def test_coverage_starts_at_the_most_confident_and_ends_at_the_accuracy(predictions):
    probabilities, labels = predictions
    rows = coverage_curve(probabilities, labels)
    assert rows[-1]["coverage"] == 1
    assert rows[-1]["accuracy"] == pytest.approx((probabilities.argmax(1) == labels).mean())
    confidences = [row["confidence"] for row in rows]
    assert confidences == sorted(confidences, reverse=True)


def test_mistakes_are_wrong_and_the_most_confident_first(predictions):
    probabilities, labels = predictions
    rows = confident_mistakes(probabilities, labels, 7)
    assert (probabilities[rows].argmax(1) != labels[rows]).all()
    wrong = probabilities.argmax(1) != labels
    np.testing.assert_array_equal(probabilities[rows].max(1), np.sort(probabilities[wrong].max(1))[::-1][:7])
