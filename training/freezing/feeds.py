"""The input of a phase: batches of cached activations, or of images where the frozen layers are not cached."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np

from training.config import TrainingConfig
from training.data.dataset import ImageDataset
from training.data.image_batches import image_batches
from training.data.transforms import views_of
from training.freezing.activation_cache import Activations, CacheSpaceError, boundary_activations
from training.freezing.boundary import Cut, choose_cut, freeze, resolve_unfreeze, suffix_model
from training.freezing.feature_batches import FeatureBatches, for_fit
from training.recipes.recipe import PhaseConfig

log = logging.getLogger(__name__)

VALIDATION_BATCH = 100


@dataclass(frozen=True)
class Split:
    """A data set and the rows of its training arrays, int64, that train and that validate."""

    dataset: ImageDataset
    training: np.ndarray
    validation: np.ndarray


@dataclass(frozen=True)
class Feed:
    """What a phase trains, and its data.

    Attributes:
        trainee: the suffix over cached activations, or the full model.
        training: epoch (from 0) → batches of (inputs, targets), a pure function of the run's seed and the epoch.
        validation: batches of the validation split.
        cut: where the trainee begins; None for the full model.
    """

    trainee: keras.Model
    training: Callable[[int], Iterable]
    validation: Iterable
    cut: Cut | None = None


def thaw(model: keras.Model, config: TrainingConfig, phase: PhaseConfig) -> None:
    """Make the layers trainable that a phase trains, and freeze the others."""
    if phase.name == "scratch":
        freeze(model, resolve_unfreeze(model, "all"), train_batch_norm=True)
    else:
        freeze(model, resolve_unfreeze(model, config.unfreeze) if phase.name == "finetune" else 0)


def cached_views(config: TrainingConfig) -> tuple[str, ...] | None:
    """Return the views of each image to cache; None where random augmentation cannot be cached."""
    if not config.views:
        return views_of(config.augment)
    return None if config.augment else config.views


def prepare_caches(
    model: keras.Model, config: TrainingConfig, phases: Iterable[PhaseConfig], images: np.ndarray
) -> dict[str, Activations]:
    """Return by phase name the activations at its cut, computed in one pass; a phase that must run uncached is absent.

    Call it while the layers before every phase's cut have their final weights.
    """
    if not config.cache:
        return {}
    cuts = {}
    for phase in phases:
        thaw(model, config, phase)
        cut = choose_cut(model)
        if cut.has_weights:
            cuts[phase.name] = cut
    views = cached_views(config)
    if not cuts:
        return {}
    if views is None:
        names = ", ".join(config.augment) + (" beside views" if config.views else "")
        log.warning("No cache: %s cannot be enumerated as fixed views of an image.", names)
        return {}
    try:
        activations = boundary_activations(model, list(cuts.values()), images, views=views, dtype=config.cache_dtype)
    except CacheSpaceError as error:
        log.warning("No cache, so the frozen layers run again in every epoch: %s", error)
        return {}
    return dict(zip(cuts, activations, strict=True))


def make_feed(
    model: keras.Model, config: TrainingConfig, phase: PhaseConfig, split: Split, activations: Activations | None = None
) -> Feed:
    """Return the feed of a phase: the suffix over cached `activations`, or without them the full model over images.

    Raises:
        ValueError: the phase mixes cached activations, and there are none.
    """
    if phase.mixup and activations is None:
        raise ValueError("MixUp of cached activations needs the cache; `--augment mixup` mixes images without one.")
    thaw(model, config, phase)
    images, labels, classes = split.dataset.x_train, split.dataset.y_train, split.dataset.classes
    shuffled = {"batch_size": phase.batch_size, "seed": config.seed, "shuffle": True}
    if activations is not None:
        cut = choose_cut(model)
        batches = partial(FeatureBatches, activations.views, labels=labels, classes=classes)
        shown = partial(batches, split.training, turns=bool(config.views), mixup=phase.mixup, **shuffled)
        validation = for_fit(batches(split.validation, batch_size=VALIDATION_BATCH))
        return Feed(suffix_model(model, cut), lambda epoch: for_fit(shown(epoch=epoch)), validation, cut)
    batches = partial(image_batches, classes=classes, image_size=config.image_size)
    rows, held_out = split.training, split.validation
    shown = partial(batches, images[rows], labels[rows], views=config.views, augment=config.augment, **shuffled)
    validation = batches(images[held_out], labels[held_out], batch_size=VALIDATION_BATCH)
    return Feed(model, lambda epoch: shown(epoch=epoch), validation)
