"""The optimizer of a phase, its learning rates by step and by layer, and weight averaging."""

import functools
from collections.abc import Sequence

import keras
import numpy as np

from training.checkpoint import assign, values
from training.recipes.recipe import PhaseConfig

EVERY = 5  # steps between two updates of the average
EMA_DECAY = 0.99  # per update; an average over about the last 500 steps
LOOKAHEAD_DECAY = 0.95**5
_KINDS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


def make_optimizer(phase: PhaseConfig, trainee: keras.Model, images: int) -> keras.optimizers.Optimizer:
    """Return a phase's optimizer, built for `trainee`; `images` is the number of training images."""
    options = {"momentum": phase.momentum, "nesterov": True} if phase.optimizer == "sgd" else {}
    if phase.weight_decay or phase.optimizer == "adamw":  # AdamW decays weights by default
        options["weight_decay"] = phase.weight_decay
    kind, rates = _KINDS[phase.optimizer], variable_rates(phase, trainee)
    if any(rate != 1 for rate in rates):
        kind = functools.partial(_with_rates(kind), rates)
    optimizer = kind(learning_rate(phase, images), **options)
    optimizer.build(trainee.trainable_variables)
    return optimizer


def carry_over(old: keras.optimizers.Optimizer, new: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Copy the step count and moments of `old` to `new`, which is built for fewer variables; return `new`."""
    held = {variable.name: variable for variable in old.variables}
    for variable in new.variables:
        variable.assign(held[variable.name])
    return new


def learning_rate(phase: PhaseConfig, images: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a phase's learning rate or schedule for a Keras optimizer; `images` is the number of training images."""
    steps, peak = phase.steps(images), phase.learning_rate
    if phase.schedule == "constant":
        return peak
    if phase.schedule == "triangle":
        return Triangle(peak, steps, *phase.triangle)
    rising = min(round(steps * phase.warmup / phase.epochs), steps // 2)
    if not rising:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(0.0, steps - rising, warmup_target=peak, warmup_steps=rising)


class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise from `start * peak` to `peak` over the share `top` of `steps`, then linear fall to `end * peak`."""

    def __init__(self, peak: float, steps: int, start: float, top: float, end: float):
        self.peak = peak
        self.steps = steps
        self.start, self.top, self.end = start, int(top * steps), end

    def __call__(self, step):
        done = keras.ops.cast(step, "float32")
        rising = self.start + (1 - self.start) * done / max(self.top, 1)
        falling = 1 - (1 - self.end) * (done - self.top) / max(self.steps - self.top, 1)
        return self.peak * keras.ops.minimum(rising, falling)


def variable_rates(phase: PhaseConfig, trainee: keras.Model) -> list[float]:
    """Return the learning rate multiplier of each trainable variable, in the model's order."""
    learning = [layer for layer in trainee.layers if layer.trainable_variables]
    rates = []
    for behind, layer in zip(reversed(range(len(learning))), learning, strict=True):
        rate = phase.first_layer_rate ** (behind / max(len(learning) - 1, 1))
        for variable in layer.trainable_variables:
            is_beta = isinstance(layer, keras.layers.BatchNormalization) and variable.name == "beta"
            rates.append(rate * phase.bias_rate if is_beta else rate)
    return rates


def _with_rates(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Return a subclass of an optimizer with one rate per variable; weight decay uses the common learning rate."""

    class WithRates(kind):
        def __init__(self, rates, *arguments, **options):
            super().__init__(*arguments, **options)
            self.rates = rates

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * self.rates[self._get_variable_index(variable)])

    return WithRates


def averaged(networks: Sequence[Sequence[np.ndarray]], shares: Sequence[float]) -> list[np.ndarray]:
    """Return the weighted average of networks' weights; `shares` sum to 1 (model soups, Wortsman et al. 2022)."""
    return [
        sum(share * array for share, array in zip(shares, arrays, strict=True))
        for arrays in zip(*networks, strict=True)
    ]


class WeightAverage(keras.callbacks.Callback):
    """Average all weights of the model during `fit`; validation uses the average.

    Every fifth step, `average = decay · average + (1 - decay) · weights`, BatchNormalization's statistics included.

    Args:
        weights: the model's initial weights.
        kind: "ema": decay 0.99, less in the first updates (exponential moving average); or "lookahead": decay
            0.95⁵ (t/T)³ at step t of T, and training continues from the average (Jordan 2024, arXiv 2404.00498; after
            Zhang et al. 2019, arXiv 1907.08610).
        steps: T, the total number of steps.
        average: the average to resume from.
        step: the step to resume from.
    """

    def __init__(self, weights, kind: str, steps: int, *, average: list[np.ndarray] | None = None, step: int = 0):
        super().__init__()
        self.kind = kind
        self.steps = steps
        self.step = step
        self.average = average or values(weights)
        self._held: list[np.ndarray] = []

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step % EVERY == 0:
            self._update()

    def on_test_begin(self, logs=None):
        self._held = values(self.model.weights)
        assign(self.model.weights, self.average)

    def on_test_end(self, logs=None):
        assign(self.model.weights, self._held)

    def _update(self) -> None:
        if self.kind == "ema":
            updates = self.step // EVERY
            decay = min(EMA_DECAY, (1 + updates) / (10 + updates))
        else:
            decay = LOOKAHEAD_DECAY * (self.step / self.steps) ** 3
        weights = self.model.weights  # under jax, reading `model` updates them: `fit` holds them elsewhere
        now = values(weights)
        self.average = [decay * mean + (1 - decay) * value for mean, value in zip(self.average, now, strict=True)]
        if self.kind == "lookahead":
            assign(weights, self.average)
