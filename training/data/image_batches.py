"""Batches of images with `tf.data`, and the order in which a run sees its images.

Order, views and augmentation are pure functions of (seed, epoch, batch). So a resumed run repeats any epoch exactly, and
batches of cached features follow the order of batches of images.
"""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from runtime.validation import require
from training.data.transforms import apply_view, augment_batch, check_augment

# Streams of random numbers. Not 0: NumPy takes [seed, epoch, 0] for [seed, epoch], which is the stream of the order.
_VIEWS, _AUGMENTATION, _TURNS, MIXUP_STREAM = 1, 2, 3, 4

PARALLEL_CALLS, PREFETCHED = os.cpu_count() or 1, 4  # batches


def resolve_seed(seed: int | None) -> int:
    """Return `seed`, at least 0, or a new random one for None."""
    require(seed is None or seed >= 0, "seed must be at least 0, or None for a new one each time", seed=seed)
    return np.random.SeedSequence().entropy if seed is None else seed


def epoch_order(n: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return the order in which an epoch shows `n` images: a permutation, (n,) int64."""
    return np.random.default_rng([resolve_seed(seed), epoch]).permutation(n)


def epoch_views(n: int, views: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return which of `views` views each image shows, drawn uniformly for each epoch: (n,) int64."""
    return np.random.default_rng([resolve_seed(seed), epoch, _VIEWS]).integers(views, size=n)


def epoch_turns(n: int, views: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return which of `views` views each image shows, in turn by epoch from a random start: (n,) int64."""
    return (np.random.default_rng([resolve_seed(seed), 0, _TURNS]).integers(views, size=n) + epoch) % views


def resize(images, size: int) -> tf.Tensor:
    """Resize images (n, H, W, C), uint8 or float32, to float32 (n, size, size, C) of the same value range.

    Bilinear with half-pixel centres and no antialiasing; images of the right size are only cast. Training, the activation
    cache and evaluation all resize here, so a model sees the same pixels in each.
    """
    require(size >= 1, "size must be at least 1", size=size)
    if tuple(images.shape[1:3]) == (size, size):
        return tf.cast(images, tf.float32)
    return tf.image.resize(images, (size, size), method="bilinear", antialias=False)


def image_batches(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    image_size: int,
    batch_size: int,
    views: Sequence[str] = (),
    augment: tuple[str, ...] = (),
    seed: int | None = None,
    epoch: int = 0,
    shuffle: bool = False,
) -> tf.data.Dataset:
    """Return one epoch of batches; each image comes once, and the last batch may be smaller.

    The steps are: shuffle, batch, view, augment at the images' own size, resize, prefetch. Iterating again repeats the
    same epoch. `images` is not copied, so it may be a memory map.

    Args:
        images: uint8 (n, H, W, C).
        labels: integers (n,) in 0..classes-1.
        classes: the number of classes.
        image_size: S, the side of the output in pixels.
        batch_size: images per batch.
        views: names of views. Each image shows one per epoch, in turn; without `shuffle` the first.
        augment: names of augmentations, in order; see `training.data.transforms`.
        seed: with `epoch` it fixes the order and the augmentation; None draws a new one.
        epoch: counted from 0.
        shuffle: whether to use the order of `epoch_order(n, seed, epoch)`.

    Returns:
        A dataset of known length: images float32 (b, S, S, C) in 0..255, labels float32 (b, classes), one-hot or mixed.

    Raises:
        ValueError: arrays that do not match, labels outside the classes, an unknown augmentation.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "images must be uint8 of shape (n, height, width, channels), n at least 1. "
            f"Received: {images.dtype} of shape {images.shape}"
        )
    check_labels(labels, len(images), classes)
    require(batch_size >= 1, "batch_size must be at least 1", batch_size=batch_size)
    check_augment(augment)
    labels, seed = labels.astype(np.int64), resolve_seed(seed)
    order = epoch_order(len(images), seed, epoch) if shuffle else np.arange(len(images))
    turns = epoch_turns(len(images), max(len(views), 1), seed, epoch) if shuffle else np.zeros(len(images), np.int64)
    augment_seed = np.random.SeedSequence([seed, epoch, _AUGMENTATION]).generate_state(2).astype(np.int64)

    def show(rows: np.ndarray) -> np.ndarray:
        batch = images[rows]
        for turn, view in enumerate(views):
            chosen = turns[rows] == turn
            batch[chosen] = apply_view(batch[chosen], view)
        return batch

    def make_batch(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Through NumPy, because a tensor of the whole data set would be a second copy, made again each epoch.
        batch = tf.numpy_function(show, [rows], tf.uint8, stateful=False)
        batch.set_shape((None, *images.shape[1:]))
        targets = tf.one_hot(tf.gather(labels, rows), classes)
        batch, targets = augment_batch(batch, targets, augment, tf.random.fold_in(augment_seed, number))
        return resize(batch, image_size), targets

    batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
    return prefetched(batches.map(make_batch, num_parallel_calls=PARALLEL_CALLS))


def prefetched(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return `dataset` with deterministic order, prefetching, and no autotuning.

    The end of an epoch waits for the autotuning thread, which sleeps up to 60 s: an epoch of three minutes takes up to a
    minute more. Fixed numbers feed these networks as fast.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCHED).with_options(options)


def check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    """Raise ValueError unless `labels` are integers in 0..classes-1, one for each image."""
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers, one for each of the {images} images. "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}. Received: {labels.min()}..{labels.max()}")
