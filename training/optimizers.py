"""The optimizer of a phase: its learning rate step by step, and layer by layer."""

import functools

import keras

from training.recipes import PhaseConfig

_KINDS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}


def make_optimizer(phase: PhaseConfig, trainee: keras.Model, images: int) -> keras.optimizers.Optimizer:
    """Return the optimizer of a phase, built for the variables of `trainee` that learn.

    Args:
        phase: its settings.
        trainee: what is trained.
        images: the number of training images.
    """
    options = {"momentum": phase.momentum, "nesterov": True} if phase.optimizer == "sgd" else {}
    if phase.weight_decay:
        options["weight_decay"] = phase.weight_decay
    kind, rates = _KINDS[phase.optimizer], variable_rates(phase, trainee)
    if any(rate != 1 for rate in rates):
        kind = functools.partial(_with_rates(kind), rates)
    optimizer = kind(learning_rate(phase, images), **options)
    optimizer.build(trainee.trainable_variables)
    return optimizer


def learning_rate(phase: PhaseConfig, images: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return a phase's learning rate as Keras optimizers take it; `images` is the number of training images."""
    steps, peak = phase.steps(images), phase.learning_rate
    if phase.schedule == "constant":
        return peak
    if phase.schedule == "triangle":
        return Triangle(peak, steps)
    rising = round(steps * phase.warmup / phase.epochs)
    if not rising:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(0.0, steps - rising, warmup_target=peak, warmup_steps=rising)


@keras.saving.register_keras_serializable("thaw")
class Triangle(keras.optimizers.schedules.LearningRateSchedule):
    """Rise in a straight line from 0.2 of `peak` until 23 % of `steps`, then fall to 0.07 of it (arXiv 2404.00498)."""

    start, top, end = 0.2, 0.23, 0.07

    def __init__(self, peak: float, steps: int):
        self.peak = peak
        self.steps = steps

    def __call__(self, step):
        done, top = keras.ops.cast(step, "float32"), int(self.top * self.steps)
        rising = self.start + (1 - self.start) * done / max(top, 1)
        falling = 1 - (1 - self.end) * (done - top) / max(self.steps - top, 1)
        return self.peak * keras.ops.minimum(rising, falling)

    def get_config(self):
        return {"peak": self.peak, "steps": self.steps}


def variable_rates(phase: PhaseConfig, trainee: keras.Model) -> list[float]:
    """Return what each of the variables that learn, in the model's order, multiplies the learning rate by."""
    learning = [layer for layer in trainee.layers if layer.trainable_variables]
    last = max(len(learning) - 1, 1)
    rates = []
    for place, layer in enumerate(learning):
        rate = phase.first_layer_rate ** ((last - place) / last)
        if isinstance(layer, keras.layers.BatchNormalization):
            rate *= phase.bias_rate
        rates += [rate] * len(layer.trainable_variables)
    return rates


def _with_rates(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Return a kind of optimizer with a rate for each variable; weight decay goes by the common one."""

    class WithRates(kind):
        def __init__(self, rates, *arguments, **options):
            super().__init__(*arguments, **options)
            self.rates = rates

        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate * self.rates[self._get_variable_index(variable)])

    return WithRates
