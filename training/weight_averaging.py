"""Averages of weights: of one network along its way, better than those of any one step, and of two networks."""

from collections.abc import Sequence

import keras
import numpy as np

from training.checkpoint import assign, values

EVERY = 5  # steps between two updates
EMA_DECAY = 0.99  # an update; over the last 500 steps or so
LOOKAHEAD_DECAY = 0.95**5


def blended(networks: Sequence[Sequence[np.ndarray]], shares: Sequence[float]) -> list[np.ndarray]:
    """Return the weighted average of the weights of networks of one shape, array by array; `shares` sum to 1.

    Wortsman et al. 2022, "Model soups" (arXiv 2203.05482).
    """
    return [
        sum(share * array for share, array in zip(shares, arrays, strict=True))
        for arrays in zip(*networks, strict=True)
    ]


class WeightAverage(keras.callbacks.Callback):
    """Average all weights of the model that is fitted; validation sees the average in their place.

    Every fifth step, `average = decay · average + (1 - decay) · weights`, BatchNormalization's statistics included.

    "ema": decay 0.99, less in the first updates (an exponential moving average). "lookahead": decay 0.95⁵ (t/T)³ at step
    t of T, and training goes on from the average (Jordan 2024, arXiv 2404.00498; after Zhang et al. 2019, arXiv
    1907.08610).

    Args:
        weights: those of the model, in its order, at the start.
        kind: "ema" or "lookahead".
        steps: T, the number of steps in all.
        average: the values to go on from, when resumed.
        step: the step to go on from.
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
        weights = self.model.weights  # `model` lets jax, which holds them elsewhere in `fit`, bring them up to date
        now = values(weights)
        self.average = [decay * mean + (1 - decay) * value for mean, value in zip(self.average, now, strict=True)]
        if self.kind == "lookahead":
            assign(weights, self.average)
