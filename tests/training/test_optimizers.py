"""Learning-rate schedules, layer-wise learning rates, weight decay, and optimizers for fewer variables."""

import keras
import numpy as np
import pytest

from training.optimizers import carry_over, learning_rate, make_optimizer, variable_rates
from training.recipes.recipe import PhaseConfig


def rates_of(phase, images):
    schedule = learning_rate(phase, images)
    return [float(schedule(step)) for step in range(phase.steps(images) + 1)]


def test_a_triangle_rises_and_falls():
    rates = rates_of(PhaseConfig("scratch", learning_rate=2.0, epochs=10, batch_size=10, schedule="triangle"), 100)
    assert rates[0] == pytest.approx(0.4)
    assert rates[23] == max(rates) == pytest.approx(2.0)
    assert rates[100] == pytest.approx(0.14)
    np.testing.assert_allclose(np.diff(rates[:24]), 1.6 / 23, rtol=1e-4)
    np.testing.assert_allclose(np.diff(rates[23:]), -1.86 / 77, rtol=1e-4)


def test_a_cosine_rises_first_and_ends_at_zero():
    phase = PhaseConfig("finetune", learning_rate=1.0, epochs=4, batch_size=10, schedule="cosine", warmup=0.5)
    rates = rates_of(phase, 100)
    np.testing.assert_allclose(rates[:6], np.arange(6) / 5, atol=1e-6)
    assert rates[5] == max(rates)
    assert np.all(np.diff(rates[5:]) < 0)
    assert rates[40] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("epochs", [0.5, 1])
def test_a_warm_up_takes_at_most_half_of_the_steps(epochs):
    phase = PhaseConfig("finetune", learning_rate=1.0, epochs=epochs, batch_size=10, schedule="cosine", warmup=1.0)
    rates = rates_of(phase, 100)
    assert max(rates) == rates[phase.steps(100) // 2] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0, abs=1e-6)


def two_layers():
    layers = [
        keras.layers.Dense(3, use_bias=False),
        keras.layers.BatchNormalization(scale=False),
        keras.layers.Dense(2),
    ]
    return keras.Sequential([keras.Input((3,)), *layers])


def step(optimizer, model, gradient):
    variables = model.trainable_variables
    optimizer.apply([gradient(variable.shape) for variable in variables], variables)


def test_rates_grow_from_the_first_layer_to_the_last():
    phase = PhaseConfig("finetune", first_layer_rate=0.25, bias_rate=64.0)
    assert variable_rates(phase, two_layers()) == pytest.approx([0.25, 64 * 0.5, 1, 1])
    assert variable_rates(phase, keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])) == [1, 1]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_step_is_proportional_to_the_rate_of_its_layer(optimizer):
    moves = []
    for first_layer_rate in (1.0, 0.1):
        keras.utils.set_random_seed(0)
        model = two_layers()
        phase = PhaseConfig("finetune", optimizer=optimizer, first_layer_rate=first_layer_rate, learning_rate=0.01)
        before = model.get_weights()
        step(make_optimizer(phase, model, 32), model, keras.ops.ones)
        moves.append([np.abs(after - value).mean() for after, value in zip(model.get_weights(), before, strict=True)])
    assert moves[1][0] == pytest.approx(0.1 * moves[0][0], rel=1e-3)
    assert moves[1][-1] == pytest.approx(moves[0][-1], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({"optimizer": "adamw"}, 1),
        ({"optimizer": "adamw", "weight_decay": 0.1}, 0.95),
        ({"optimizer": "sgd", "weight_decay": 0.1, "momentum": 0.9}, 0.95),
        ({"optimizer": "sgd", "weight_decay": 0.1, "bias_rate": 64.0}, 0.95),  # by the learning rate of the kernels
    ],
)
def test_weight_decay_is_decoupled_from_the_gradient(settings, factor):
    model = two_layers()
    kernel = model.get_weights()[0]
    phase = PhaseConfig("finetune", learning_rate=0.5, **settings)
    step(make_optimizer(phase, model, 32), model, keras.ops.zeros)
    np.testing.assert_allclose(model.get_weights()[0], kernel * factor, rtol=1e-5)


def test_an_optimizer_carries_over_to_fewer_variables():
    model = two_layers()
    phase = PhaseConfig("finetune", optimizer="sgd", momentum=0.9, learning_rate=0.1, bias_rate=64.0)
    old = make_optimizer(phase, model, 32)
    step(old, model, keras.ops.ones)
    model.layers[0].trainable = False
    new = carry_over(old, make_optimizer(phase, model, 32))
    assert int(new.iterations) == 1
    assert len(new.variables) == len(old.variables) - 1
    momenta = [np.asarray(variable) for variable in new.variables if variable.name.endswith("momentum")]
    assert momenta and all((np.abs(momentum) > 0).all() for momentum in momenta)
