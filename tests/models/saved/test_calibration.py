"""Calibration: temperature scaling with an exponent."""

import numpy as np
import pytest

from models.saved.calibration import Calibration, distances

CERTAIN = np.array([[1, 0, 0], [0.5, 0.5, 0], [1e-30, 1 - 1e-7, 1e-7]], np.float32)


@pytest.fixture
def probabilities():
    powers = np.exp(np.random.default_rng(0).normal(0, 2, (50, 5)))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def test_the_formula():
    # Distances ln 4 and 0: (ln 4 / 2)² = ln² 2.
    wrong = np.exp(-(np.log(2) ** 2))
    found = Calibration(2, 2)(np.array([[0.2, 0.8]]))
    np.testing.assert_allclose(found, [[wrong / (1 + wrong), 1 / (1 + wrong)]])


def test_temperature_and_exponent_1_change_nothing(probabilities):
    np.testing.assert_allclose(Calibration()(probabilities), probabilities, rtol=1e-5)


def test_exponent_1_is_temperature_scaling(probabilities):
    scaled = probabilities.astype(np.float64) ** (1 / 2.5)
    np.testing.assert_allclose(Calibration(2.5)(probabilities), scaled / scaled.sum(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("exponent", [0.3, 1, 2])
@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_the_order_of_the_classes_stays(probabilities, temperature, exponent):
    found = Calibration(temperature, exponent)(probabilities)
    np.testing.assert_array_equal(found.argsort(axis=1), probabilities.argsort(axis=1))
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize("exponent", [0.5, 1, 3])
@pytest.mark.parametrize("temperature", [0.05, 1, 20])
def test_probabilities_of_0_stay_finite(temperature, exponent):
    assert np.isfinite(distances(CERTAIN)).all()
    found = Calibration(temperature, exponent)(CERTAIN)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[1, 0] == found[1, 1] > 0.49 * (1 - found[1, 2])


@pytest.mark.parametrize("value", [0, -1, float("nan")])
@pytest.mark.parametrize("name", ["temperature", "exponent"])
def test_a_number_out_of_range_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} .*{name}={value}"):
        Calibration(**{name: value})
