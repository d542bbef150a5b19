"""The two-phase trainer: one phase is frozen layers computed once, and a suffix trained over them epoch by epoch."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from training.averaging import WeightAverage
from training.boundary_cache import Activations, CacheSpaceError, boundary_activations
from training.checkpoint import Checkpoint, TrainingState, assign, values
from training.config import TrainingConfig
from training.datasets import ImageDataset
from training.freeze import Cut, choose_cut, freeze, prefix_model, resolve_unfreeze, suffix_model
from training.frozen_forward import FrozenForward
from training.linear_probe import solve_head
from training.optimizers import make_optimizer
from training.pipeline import FeatureBatches, for_fit, image_batches
from training.progress import EpochBar, progress_line
from training.recipes import PhaseConfig
from training.views import views_of

log = logging.getLogger(__name__)

VALIDATION_BATCH = 100


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Split:
    """A data set with the rows of its training arrays that train and the ones that validate, int64 each."""

    dataset: ImageDataset
    training: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Feed:
    """What a phase trains, and on what.

    Attributes:
        trainee: the suffix over cached activations, or the full model.
        training: epoch (from 0) → batches of (inputs, one-hot labels), a pure function of the run's seed and the epoch.
        validation: batches of the validation split.
        cut: where the trainee begins; None for the full model.
    """

    trainee: keras.Model
    training: Callable[[int], Iterable]
    validation: Iterable
    cut: Cut | None = None


def thaw(model: keras.Model, config: TrainingConfig, phase: PhaseConfig) -> None:
    """Set which layers of the model learn in a phase."""
    if phase.name == "scratch":
        freeze(model, resolve_unfreeze(model, "all"), train_batch_norm=True)
    else:
        freeze(model, resolve_unfreeze(model, config.unfreeze) if phase.name == "finetune" else 0)


def prepare_caches(
    model: keras.Model, config: TrainingConfig, phases: Iterable[PhaseConfig], images: np.ndarray
) -> dict[str, Activations]:
    """Compute the frozen layers' activations for several phases in one pass over the images.

    Call it while the layers before every phase's cut still hold the values that they keep.

    Returns:
        By phase name the activations at its cut; a phase that has to run uncached is absent, and the log says why.
    """
    if not config.cache:
        return {}
    cuts = {}
    for phase in phases:
        thaw(model, config, phase)
        cut = choose_cut(model)
        if cut.has_weights:
            cuts[phase.name] = cut
    views = config.views if config.views and not config.augment else views_of(config.augment)
    if cuts and views is None:
        log.warning("No cache: %s cannot be enumerated as fixed views of an image.", ", ".join(config.augment))
    if not cuts or views is None:
        return {}
    try:
        activations = boundary_activations(model, list(cuts.values()), images, views=views, dtype=config.cache_dtype)
    except CacheSpaceError as error:
        log.warning("No cache, so the frozen layers run again in every epoch: %s", error)
        return {}
    return dict(zip(cuts, activations, strict=True))


def make_feed(
    model: keras.Model,
    config: TrainingConfig,
    phase: PhaseConfig,
    split: Split,
    activations: Activations | None = None,
) -> Feed:
    """Return the feed of a phase: the suffix over cached `activations`, or without them the full model over images."""
    thaw(model, config, phase)
    dataset = split.dataset
    classes = dataset.classes
    if activations is not None:
        cut = choose_cut(model)

        def training(epoch: int) -> Iterable:
            return for_fit(FeatureBatches(
                activations.views, split.training, dataset.y_train, classes=classes,
                batch_size=phase.batch_size, seed=config.seed, epoch=epoch, shuffle=True, turns=bool(config.views),
                mixup=phase.mixup,
            ))  # fmt: skip

        validation = FeatureBatches(
            activations.views, split.validation, dataset.y_train, classes=classes, batch_size=VALIDATION_BATCH
        )
        return Feed(suffix_model(model, cut), training, for_fit(validation), cut)

    images, labels = dataset.x_train[split.training], dataset.y_train[split.training]

    def training(epoch: int) -> Iterable:
        return image_batches(
            images, labels, classes=classes, image_size=config.image_size, batch_size=phase.batch_size,
            views=config.views, augment=config.augment, seed=config.seed, epoch=epoch, shuffle=True,
        )  # fmt: skip

    validation = image_batches(
        dataset.x_train[split.validation], dataset.y_train[split.validation],
        classes=classes, image_size=config.image_size, batch_size=VALIDATION_BATCH,
    )  # fmt: skip
    return Feed(model, training, validation)


def head_features(
    model: keras.Model,
    config: TrainingConfig,
    phase: PhaseConfig,
    images: np.ndarray,
    activations: Activations | None = None,
) -> np.ndarray:
    """Return what the head reads of each image as it is: float (n, D), out of what `prepare_caches` gave, or computed."""
    if activations is not None:
        return activations.views[0][0]
    thaw(model, config, phase)
    return FrozenForward(prefix_model(model, [choose_cut(model)])).over(images)[0]


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
    """Train one phase to its end, from `state.epoch` on, and leave the best epoch's weights in the model.

    Args:
        model: the full model, whose layers the feed's trainee shares.
        phase: its settings.
        feed: from `make_feed`.
        state: advanced in place, and saved after every epoch.
        images: the number of training images.
        checkpoint_path: where the checkpoint goes.
        resumed: the checkpoint to go on from, inside this phase.
        on_epoch: called after each epoch.

    Raises:
        NonFiniteLossError: if the loss became NaN or infinite; the last checkpoint stays.
    """
    trainee = feed.trainee
    optimizer = make_optimizer(phase, trainee, images)
    # All weights, not the trainable ones alone: where BatchNormalization trains, its statistics belong to an epoch too.
    best = values(trainee.weights)
    if resumed is not None and resumed.optimizer:
        assign(optimizer.variables, resumed.optimizer)
        best = resumed.best
    else:
        resumed = None
    steps, epoch_steps = phase.steps(images), math.ceil(images / phase.batch_size)
    average = None
    if phase.average != "none":
        step = state.epoch * epoch_steps
        average = WeightAverage(
            trainee.weights, phase.average, steps, average=resumed.average if resumed else None, step=step
        )

    def freeze_and_compile() -> None:
        for name, epoch in phase.freeze_at:
            trainee.get_layer(name).trainable = state.epoch < epoch
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=phase.label_smoothing)
        trainee.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])

    freeze_and_compile()
    while not state.is_over(phase.epochs, phase.patience):
        started = time.perf_counter()
        if state.epoch in (epoch for _, epoch in phase.freeze_at):
            freeze_and_compile()
        bar = EpochBar(phase.name, state.epoch + 1, phase.whole_epochs, images, phase.batch_size)
        logs = trainee.fit(
            feed.training(state.epoch),
            steps_per_epoch=min(epoch_steps, steps - state.epoch * epoch_steps),
            validation_data=feed.validation,
            shuffle=False,
            verbose=0,
            callbacks=[bar, _StopAtNonFiniteLoss(phase), *([average] if average else [])],
        ).history
        seconds = time.perf_counter() - started
        row = {"phase": phase.name, "epoch": state.epoch + 1, **{name: each[-1] for name, each in logs.items()}}
        _require_finite(row["val_loss"], phase, f"on the validation split after epoch {row['epoch']}")
        if state.finish_epoch({**row, "seconds": seconds}) or phase.patience is None:
            best = average.average if average else values(trainee.weights)
        state.add_seconds(phase.name, seconds)
        kept = average.average if average else ()
        Checkpoint.capture(state, model, optimizer, best, kept).save(checkpoint_path)
        on_epoch(state)

    assign(trainee.weights, best)
    state.finish_phase()
    Checkpoint.capture(state, model).save(checkpoint_path)


def solve_phase(
    model: keras.Model,
    phase: PhaseConfig,
    feed: Feed,
    split: Split,
    features: np.ndarray,
    state: TrainingState,
    checkpoint_path: Path,
) -> None:
    """Solve for the head of the model instead of training it: one epoch in the history.

    Args:
        model: the full model, with a linear head.
        phase: its settings.
        feed: from `make_feed`, to measure the head on.
        split: data set and rows.
        features: float (n, D), what the head reads of each training image.
        state: advanced in place, and saved.
        checkpoint_path: where the checkpoint goes.
    """
    started = time.perf_counter()
    rows = split.training
    solve_head(model.get_layer("head_probabilities"), features[rows], split.dataset.y_train[rows])
    feed.trainee.compile(loss="categorical_crossentropy", metrics=["accuracy"])
    training = feed.trainee.evaluate(feed.training(0), verbose=0, return_dict=True)
    validation = feed.trainee.evaluate(feed.validation, verbose=0, return_dict=True)
    seconds = time.perf_counter() - started
    measured = {**training, **{f"val_{name}": value for name, value in validation.items()}}
    state.finish_epoch({"phase": phase.name, "epoch": 1, **measured, "seconds": seconds})
    state.add_seconds(phase.name, seconds)
    log.info("%s solved for: %s", phase.name, progress_line(measured))
    state.finish_phase()
    Checkpoint.capture(state, model).save(checkpoint_path)


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
