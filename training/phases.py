"""One phase of training: epochs of gradient steps on the layers behind the cut, or a head by logistic regression."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from training.checkpoint import Checkpoint, Stopwatch, TrainingState, assign, values
from training.freezing.activation_cache import Activations
from training.freezing.boundary import Cut
from training.freezing.feeds import Feed, Split
from training.freezing.frozen_forward import CHUNK, FrozenForward
from training.freezing.linear_probe import solve_head
from training.optimizers import WeightAverage, carry_over, make_optimizer
from training.progress import EpochBar, progress_line
from training.recipes.recipe import PhaseConfig

log = logging.getLogger(__name__)


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite."""


def run_phase(
    model: keras.Model,
    phase: PhaseConfig,
    feed: Feed,
    state: TrainingState,
    *,
    images: int,
    checkpoint_path: Path,
    resumed: Checkpoint | None = None,
    on_epoch: Callable[[TrainingState], None] = lambda state: None,
) -> None:
    """Train one phase from `state.epoch` to its end; a checkpoint is saved after every epoch.

    The model, which shares its layers with the feed's trainee, ends with the weights of the epoch with the lowest validation
    loss, or without `patience` of the last epoch. `state` is updated in place. `images` is the number of training images, and
    `resumed` the checkpoint to resume from.

    Raises:
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint stays.
    """
    if resumed is not None and not resumed.optimizer:  # saved between two phases
        resumed = None
    trainer = _Trainer(feed, phase, images, state.epoch, resumed)
    best = resumed.best if resumed else trainer.kept()
    while not state.is_over(phase.epochs, phase.patience):
        watch = Stopwatch()
        row = trainer.train(state.epoch)
        if state.finish_epoch({**row, "seconds": watch.seconds}) or phase.patience is None:
            best = trainer.kept()
        state.add_time(phase.name, watch)
        average = trainer.average.average if trainer.average else ()
        Checkpoint.capture(state, model, trainer.optimizer, best, average).save(checkpoint_path)
        on_epoch(state)

    assign(feed.trainee.weights, best)
    state.finish_phase()
    Checkpoint.capture(state, model).save(checkpoint_path)


class _Trainer:
    """The network that a phase trains, its optimizer and, if the phase averages, its weight average."""

    def __init__(self, feed: Feed, phase: PhaseConfig, images: int, epoch: int, resumed: Checkpoint | None):
        self.feed = feed
        self.network = feed.trainee
        self.phase = phase
        self.images = images
        self.epoch_steps = math.ceil(images / phase.batch_size)
        self._freeze(epoch - 1)  # as in the last epoch, because the checkpoint's optimizer has its variables
        self.optimizer = make_optimizer(phase, self.network, images)
        self.average = None
        if phase.average != "none":
            average = resumed.average if resumed else None
            step = epoch * self.epoch_steps
            self.average = WeightAverage(
                self.network.weights, phase.average, phase.steps(images), average=average, step=step
            )
        if resumed is not None:
            assign(self.optimizer.variables, resumed.optimizer)
        self._compile()

    def train(self, epoch: int) -> dict:
        """Train one epoch (counted from 0) and return its history row."""
        phase = self.phase
        if epoch in (end for _, end in phase.freeze_at):
            self._freeze(epoch)
            self.optimizer = carry_over(self.optimizer, make_optimizer(phase, self.network, self.images))
            self._compile()
        steps = min(self.epoch_steps, phase.steps(self.images) - epoch * self.epoch_steps)
        shown = min(steps * phase.batch_size, self.images)
        bar = EpochBar(phase.name, epoch + 1, phase.whole_epochs, shown, phase.batch_size)
        history = self.network.fit(
            self.feed.training(epoch),
            steps_per_epoch=steps,
            validation_data=self.feed.validation,
            shuffle=False,
            verbose=0,
            callbacks=[bar, _StopAtNonFiniteLoss(phase), *([self.average] if self.average else [])],
        ).history
        logs = {name: each[-1] for name, each in history.items()}
        if phase.label_smoothing:  # comparable with the other phases: cross-entropy without smoothing
            logs |= {"loss": logs.pop("cross_entropy"), "val_loss": logs.pop("val_cross_entropy")}
        _require_finite(logs["val_loss"], phase, f"on the validation split after epoch {epoch + 1}")
        return {"phase": phase.name, "epoch": epoch + 1, **logs}

    def kept(self) -> list[np.ndarray]:
        """Return the weights to keep: the average or the network's, including BatchNormalization's statistics."""
        return list(self.average.average) if self.average else values(self.network.weights)

    def _freeze(self, epoch: int) -> None:
        for name, end in self.phase.freeze_at:
            self.network.get_layer(name).trainable = epoch < end

    def _compile(self) -> None:
        smoothing = self.phase.label_smoothing
        plain = [keras.metrics.CategoricalCrossentropy(name="cross_entropy")] if smoothing else []
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
        self.network.compile(optimizer=self.optimizer, loss=loss, metrics=["accuracy", *plain])


def solve_phase(
    model: keras.Model,
    phase: PhaseConfig,
    feed: Feed,
    split: Split,
    state: TrainingState,
    *,
    checkpoint_path: Path,
    activations: Activations | None = None,
) -> None:
    """Solve for the model's linear head by logistic regression, as one epoch of the history.

    The feed evaluates the head. `state` is updated in place and saved in a checkpoint. `activations` are the cached ones at
    the feed's cut, if any.
    """
    watch = Stopwatch()
    features = _head_features(model, feed.cut, split, activations)
    solve_head(model.get_layer("head_probabilities"), features, split.dataset.y_train[split.training])
    feed.trainee.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    training = feed.trainee.evaluate(feed.training(0), verbose=0, return_dict=True)
    validation = feed.trainee.evaluate(feed.validation, verbose=0, return_dict=True)
    measured = {**training, **{f"val_{name}": value for name, value in validation.items()}}
    state.finish_epoch({"phase": phase.name, "epoch": 1, **measured, "seconds": watch.seconds})
    state.add_time(phase.name, watch)
    log.info("%s solved for: %s", phase.name, progress_line(measured))
    state.finish_phase()
    Checkpoint.capture(state, model).save(checkpoint_path)


def _head_features(model: keras.Model, cut: Cut | None, split: Split, activations: Activations | None) -> np.ndarray:
    """Return the input of the head's last layer for each training image, not augmented: float32 (n, D)."""
    rows, wanted = split.training, model.get_layer("head_probabilities").input
    if activations is None:
        return FrozenForward(keras.Model(model.input, wanted)).over(split.dataset.x_train[rows])[0]
    rest = keras.Model(list(cut.tensors), wanted)  # the cut may be some layers before the head
    parts = []
    for start in range(0, len(rows), CHUNK):
        chunk = [tensor[rows[start : start + CHUNK]].astype("float32") for tensor in activations.views[0]]
        parts.append(np.asarray(rest.predict_on_batch(chunk)))
    return np.concatenate(parts)


class _StopAtNonFiniteLoss(keras.callbacks.Callback):
    def __init__(self, phase: PhaseConfig):
        super().__init__()
        self.phase = phase

    def on_train_batch_end(self, batch, logs=None):
        _require_finite(logs["loss"], self.phase, f"at step {batch + 1} of an epoch")


def _require_finite(loss: float, phase: PhaseConfig, where: str) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(
            f"The loss became {loss} {where} of phase {phase.name!r}. The last good epoch is kept; nothing of this one is. "
            "The usual causes are weights that do not fit the scaling of the input (try --weights imagenet) and a learning "
            f"rate too high for the batch (it is {phase.learning_rate:g} at {phase.batch_size} images: try a larger "
            "--batch-size)."
        )
