"""What a phase reads: the frozen layers computed once, and the batches of cached activations or of images behind them."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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


def cached_views(config: TrainingConfig) -> tuple[str, ...] | None:
    """Return the views that the cache holds of each image; None where random augmentation rules a cache out."""
    if not config.views:
        return views_of(config.augment)
    return None if config.augment else config.views


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
    views = cached_views(config)
    if cuts and views is None:
        beside = " beside views" if config.views else ""
        log.warning(
            "No cache: %s%s cannot be enumerated as fixed views of an image.", ", ".join(config.augment), beside
        )
    if not cuts or views is None:
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
        ValueError: if the phase mixes cached activations, and there are none.
    """
    if phase.mixup and activations is None:
        raise ValueError("MixUp of cached activations needs the cache; `--augment mixup` mixes images without one.")
    thaw(model, config, phase)
    dataset = split.dataset
    classes = dataset.classes
    if activations is not None:
        cut = choose_cut(model)

        def training(epoch: int) -> Iterable:
            return for_fit(
                FeatureBatches(
                    activations.views,
                    split.training,
                    dataset.y_train,
                    classes=classes,
                    batch_size=phase.batch_size,
                    seed=config.seed,
                    epoch=epoch,
                    shuffle=True,
                    turns=bool(config.views),
                    mixup=phase.mixup,
                )
            )

        validation = FeatureBatches(
            activations.views, split.validation, dataset.y_train, classes=classes, batch_size=VALIDATION_BATCH
        )
        return Feed(suffix_model(model, cut), training, for_fit(validation), cut)

    images, labels = dataset.x_train[split.training], dataset.y_train[split.training]

    def training(epoch: int) -> Iterable:
        return image_batches(
            images,
            labels,
            classes=classes,
            image_size=config.image_size,
            batch_size=phase.batch_size,
            views=config.views,
            augment=config.augment,
            seed=config.seed,
            epoch=epoch,
            shuffle=True,
        )

    validation = image_batches(
        dataset.x_train[split.validation],
        dataset.y_train[split.validation],
        classes=classes,
        image_size=config.image_size,
        batch_size=VALIDATION_BATCH,
    )
    return Feed(model, training, validation)
