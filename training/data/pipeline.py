"""Batches for training and evaluation: of images through `tf.data`, of cached features through NumPy alone.

Order, views and random operations are pure functions of (seed, epoch, batch), never of what ran before. So one epoch
can be built alone, after a restart too, and the cached path sees the images in the order of the uncached one.
"""

import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from training.data.augment import augment_batch, check_augment
from training.data.views import apply_view

# What a random stream is for. Not 0: NumPy takes [seed, epoch, 0] for [seed, epoch], which is the stream of the order.
_VIEWS, _AUGMENTATION, _TURNS, _MIXUP = 1, 2, 3, 4

PARALLEL_CALLS, PREFETCHED = os.cpu_count() or 1, 4  # batches made at the same time, and batches that wait


def epoch_order(n: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return the order in which `n` images are seen: an int64 permutation, a pure function of (seed, epoch).

    `seed=None` draws a new one at every call.
    """
    return np.random.default_rng([_resolved(seed), epoch]).permutation(n)


def epoch_views(n: int, views: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return which of `views` views each of `n` images shows: (n,) int64, uniform, a pure function of (seed, epoch)."""
    return np.random.default_rng([_resolved(seed), epoch, _VIEWS]).integers(views, size=n)


def epoch_turns(n: int, views: int, seed: int | None, epoch: int) -> np.ndarray:
    """Return which of `views` views each of `n` images shows: (n,) int64, the next one in each epoch, from a random start."""
    return (np.random.default_rng([_resolved(seed), 0, _TURNS]).integers(views, size=n) + epoch) % views


def _resolved(seed: int | None) -> int:
    if seed is None:
        return np.random.SeedSequence().entropy
    if seed < 0:
        raise ValueError(f"seed must be 0 or above, or None for a new one each time. Received: seed={seed!r}")
    return seed


def resize(images, size: int) -> tf.Tensor:
    """Return `images` as float32 (batch, size, size, C) of the same value range.

    Bilinear with half-pixel centres and no antialiasing; images that have the size already are only cast. Training, the
    feature cache and evaluation all resize here, so that a model sees the same pixels in each.

    Args:
        images: (batch, H, W, C), uint8 or float32, NumPy or TensorFlow.
        size: pixels, at least 1.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1. Received: size={size!r}")
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
    """Return one epoch of batches, each image once, the last batch smaller where they do not divide evenly.

    The work goes in this order: shuffle, batch, view, augment at the images' own size, resize, prefetch. Iterating the
    dataset again repeats the same epoch: build one for each epoch. `images` is read in place (a memory map stays one),
    not copied.

    Args:
        images: uint8 (n, H, W, C).
        labels: integers (n,) in 0..classes-1.
        classes: the number of classes.
        image_size: S, the side of the images that come out, pixels.
        batch_size: images a batch.
        views: names from `training.data.views`, which each image shows in turn, one an epoch; the first if not `shuffle`.
        augment: names from `training.data.augment.AUGMENTATIONS`, applied in this order.
        seed: fixes the order and the augmentation together with `epoch`; None draws a new one.
        epoch: counted from 0.
        shuffle: see the images in the order of `epoch_order(n, seed, epoch)` instead of their own.

    Returns:
        A dataset of known length that yields images float32 (batch, S, S, C) in 0..255 and one-hot (or, after MixUp and
        CutMix, soft) labels float32 (batch, classes).

    Raises:
        ValueError: arrays that do not fit together, labels outside the classes, an unknown augmentation.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    _check_images(images)
    _check_labels(labels, len(images), classes)
    labels = labels.astype(np.int64)
    _check_batch_size(batch_size)
    check_augment(augment)
    seed = _resolved(seed)
    order = epoch_order(len(images), seed, epoch) if shuffle else np.arange(len(images))
    turns = epoch_turns(len(images), max(len(views), 1), seed, epoch) if shuffle else np.zeros(len(images), np.int64)
    words = np.random.SeedSequence([seed, epoch, _AUGMENTATION]).generate_state(2).astype(np.int64)

    def show(rows: np.ndarray) -> np.ndarray:
        batch = images[rows]
        for turn, view in enumerate(views):
            chosen = turns[rows] == turn
            batch[chosen] = apply_view(batch[chosen], view)
        return batch

    def make_batch(number: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Through NumPy, because a tensor of the whole data set would be a second copy of it, made anew each epoch.
        batch = tf.numpy_function(show, [rows], tf.uint8, stateful=False)
        batch.set_shape((None, *images.shape[1:]))
        targets = tf.one_hot(tf.gather(labels, rows), classes)
        batch, targets = augment_batch(batch, targets, augment, tf.random.fold_in(words, number))
        return resize(batch, image_size), targets

    return (
        tf.data.Dataset.from_tensor_slices(order)
        .batch(batch_size)
        .enumerate()
        .map(make_batch, num_parallel_calls=PARALLEL_CALLS)
        .prefetch(PREFETCHED)
        .with_options(_options())
    )


def _options() -> tf.data.Options:
    """Return the options of every dataset here: batches in order, and no autotuning.

    The thread that autotunes wakes 10 ms, 20 ms … and at last 60 s apart, and the end of an epoch waits for it to wake:
    an epoch of three minutes takes up to a minute more. Fixed numbers feed these networks as fast.
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return options


class FeatureBatches(keras.utils.PyDataset):
    """Batches of cached features, under any Keras backend.

    Each epoch shows every row once, in the order that `image_batches` would use, each through one view drawn for it.
    `set_epoch` moves to another epoch. Give it to `fit` with `shuffle=False`: by default Keras shuffles the batches
    once more, from Python's global random state, and the run cannot be repeated or resumed.

    Args:
        views: `views[v][t]` is boundary tensor `t` as view `v` shows it: float16 or float32 (n_images, ...), an array
            or a memory map.
        rows: integers (n,), the images to show (such as the training split).
        labels: integers (n_images,), one for each image of the arrays, not only for those in `rows`.
        classes: the number of classes.
        batch_size: rows a batch; the last batch may be smaller.
        seed: fixes order and views together with `epoch`; None draws a new one, once.
        epoch: counted from 0.
        shuffle: False shows the first view of every row in the given order, in every epoch.
        turns: whether an image shows its views in turn, one an epoch, rather than one drawn for each epoch.
        mixup: alpha: each row is blended with another of its batch, see `training.data.augment.mixup`; 0 for none.

    Each batch is (features, targets): features float32 (batch, ...), or a tuple of them where there are several
    tensors, and one-hot targets float32 (batch, classes).

    Raises:
        ValueError: arrays that do not fit together, rows or labels out of range.

    Example:
        >>> views = [[plain], [mirrored]]
        >>> batches = FeatureBatches(views, rows, labels, classes=10, batch_size=32, seed=1, shuffle=True)
        >>> for epoch in range(10):
        ...     batches.set_epoch(epoch)
        ...     suffix.fit(batches, shuffle=False, initial_epoch=epoch, epochs=epoch + 1)
    """

    def __init__(
        self,
        views: Sequence[Sequence[np.ndarray]],
        rows: np.ndarray,
        labels: np.ndarray,
        *,
        classes: int,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
        shuffle: bool = False,
        turns: bool = False,
        mixup: float = 0.0,
    ) -> None:
        super().__init__()
        # As plain arrays: np.memmap costs several microseconds for each row taken. The file stays mapped.
        self._views = [[np.asarray(tensor) for tensor in view] for view in views]
        self._rows = np.asarray(rows)
        self._labels = np.asarray(labels)
        images = _check_views(self._views)
        _check_rows(self._rows, images)
        _check_labels(self._labels, images, classes)
        _check_batch_size(batch_size)
        self._one_hot = np.eye(classes, dtype=np.float32)
        self._batch_size = batch_size
        self._seed = _resolved(seed)
        self._shuffle = shuffle
        self._turns = turns
        self._mixup = mixup
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Show the batches of `epoch` from now on, as if built with it."""
        count = len(self._rows)
        if self._shuffle:
            order = epoch_order(count, self._seed, epoch)
            choose = epoch_turns if self._turns else epoch_views
            drawn = choose(count, len(self._views), self._seed, epoch)[order]
        else:
            order, drawn = np.arange(count), np.zeros(count, np.int64)
        # One assignment: a prefetching thread reads the old plan or the new one, never half of each.
        self._plan = self._rows[order], drawn, epoch

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, index: int):
        """Return batch `index` as (features, targets)."""
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}")
        rows, drawn, epoch = self._plan
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        features = tuple(self._gather(tensor, rows[part], drawn[part]) for tensor in range(len(self._views[0])))
        targets = self._one_hot[self._labels[rows[part]]]  # (batch, classes)
        if self._mixup:
            random = np.random.default_rng([self._seed, epoch, _MIXUP, index])
            weights, partners = random.beta(self._mixup, self._mixup, len(targets)), random.permutation(len(targets))
            features = tuple(_blended(tensor, weights, partners) for tensor in features)
            targets = _blended(targets, weights, partners)
        return (features if len(features) > 1 else features[0]), targets

    def _gather(self, tensor: int, rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        arrays = [view[tensor] for view in self._views]
        batch = np.empty((len(rows), *arrays[0].shape[1:]), np.float32)
        # Row by row, straight into float32: as fast as fancy indexing, sorted or not, without its float16 copy.
        for place, (row, view) in enumerate(zip(rows.tolist(), drawn.tolist(), strict=True)):
            batch[place] = arrays[view][row]
        return batch


def _blended(array: np.ndarray, weights: np.ndarray, partners: np.ndarray) -> np.ndarray:
    shares = weights.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    return shares * array + (1 - shares) * array[partners]


def for_fit(batches: FeatureBatches) -> FeatureBatches | tf.data.Dataset:
    """Return what to hand to `fit`: under TensorFlow a dataset that does not autotune, else the batches themselves.

    Keras would wrap them in a dataset of its own that does, see `_options`.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    signature = keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), batches[0])
    return (
        tf.data.Dataset.from_generator(
            lambda: map(batches.__getitem__, range(len(batches))), output_signature=signature
        )
        .apply(tf.data.experimental.assert_cardinality(len(batches)))
        .prefetch(PREFETCHED)
        .with_options(_options())
    )


def _check_images(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(
            "images must be uint8 of shape (n, height, width, channels), n at least 1. "
            f"Received: {images.dtype} of shape {images.shape}"
        )


def _check_labels(labels: np.ndarray, images: int, classes: int) -> None:
    if labels.shape != (images,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels must be integers, one for each of the {images} images. "
            f"Received: {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels must lie in 0..{classes - 1}. Received: {labels.min()}..{labels.max()}")


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: batch_size={batch_size!r}")


def _check_views(views: list[list[np.ndarray]]) -> int:
    """Return the number of images that the arrays hold."""
    shapes = [[tensor.shape for tensor in view] for view in views]
    if not shapes or not shapes[0] or any(view != shapes[0] for view in shapes):
        raise ValueError(f"views must hold arrays of the same shapes, one list for each view. Received: {shapes}")
    counts = {shape[0] if shape else 0 for shape in shapes[0]}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"All arrays must hold the same number of images, at least 1. Received: {shapes[0]}")
    return counts.pop()


def _check_rows(rows: np.ndarray, images: int) -> None:
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"rows must be integers of shape (n,), n at least 1. Received: {rows.dtype} {rows.shape}")
    if rows.min() < 0 or rows.max() >= images:
        raise ValueError(f"rows must lie in 0..{images - 1}. Received: {rows.min()}..{rows.max()}")
