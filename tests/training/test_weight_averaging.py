"""Averages of weights are those that their definitions give, and validation sees them."""

import keras
import numpy as np
import pytest

from training.checkpoint import assign, values
from training.optimizers import WeightAverage, averaged


@pytest.fixture
def model():
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])


def walk(model, average, steps):
    """Add 1 to every weight in each step, as training might."""
    average.set_model(model)
    for step in range(steps):
        assign(model.weights, [value + 1 for value in values(model.weights)])
        average.on_train_batch_end(step)


def test_an_exponential_moving_average_follows_every_fifth_step(model):
    average = WeightAverage(model.weights, "ema", steps=20)
    walk(model, average, 12)
    first = 2 / 11 * 1 + 9 / 11 * 6  # kernel: 1, after 5 steps 6, after 10 steps 11
    np.testing.assert_allclose(average.average[0], 3 / 12 * first + 9 / 12 * 11, rtol=1e-6)
    np.testing.assert_allclose(values(model.weights)[0], 13)  # training goes its own way


def test_lookahead_goes_on_from_the_average(model):
    average = WeightAverage(model.weights, "lookahead", steps=10)
    walk(model, average, 5)
    decay = 0.95**5 / 8
    expected = decay * 1 + (1 - decay) * 6
    np.testing.assert_allclose(average.average[0], expected, rtol=1e-6)
    np.testing.assert_allclose(values(model.weights)[0], expected, rtol=1e-6)


def test_validation_sees_the_average_and_training_does_not(model):
    average = WeightAverage(model.weights, "ema", steps=20)
    walk(model, average, 7)
    before = values(model.weights)
    average.on_test_begin()
    np.testing.assert_array_equal(values(model.weights)[0], average.average[0])
    assert not np.array_equal(before[0], average.average[0])
    average.on_test_end()
    np.testing.assert_array_equal(values(model.weights)[0], before[0])


def test_an_average_goes_on_where_it_stopped(model):
    start = values(model.weights)
    whole = WeightAverage(model.weights, "lookahead", steps=20)
    walk(model, whole, 15)
    assign(model.weights, start)
    first = WeightAverage(model.weights, "lookahead", steps=20)
    walk(model, first, 7)
    second = WeightAverage(model.weights, "lookahead", steps=20, average=first.average, step=7)
    walk(model, second, 8)
    np.testing.assert_array_equal(second.average[0], whole.average[0])


def test_networks_are_averaged_array_by_array():
    first, second = ([np.full((2, 3), 1.0), np.array([4.0])], [np.full((2, 3), 5.0), np.array([0.0])])
    matrix, vector = averaged([first, second], (0.25, 0.75))
    np.testing.assert_allclose(matrix, np.full((2, 3), 4.0))
    np.testing.assert_allclose(vector, [1.0])
