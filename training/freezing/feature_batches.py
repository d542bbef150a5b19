"""Batches of cached activations, under any Keras backend, in the order of batches of images."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from runtime.validation import require
from training.data.image_batches import (
    MIXUP_STREAM,
    check_labels,
    epoch_order,
    epoch_turns,
    epoch_views,
    prefetched,
    resolve_seed,
)


class FeatureBatches(keras.utils.PyDataset):
    """Batches of cached activations.

    Each epoch shows every row once, in one view, in the order of `image_batches`. Pass it to `fit` with `shuffle=False`: by
    default Keras shuffles the batches again, from Python's global random state, so a run could not be repeated or resumed.

    Args:
        views: `views[v][t]` is boundary tensor `t` of view `v`: float16 or float32 (n_images, ...), an array or a memory map.
        rows: integers (n,), the images to show, such as the training split.
        labels: integers (n_images,), of all images, not only of those in `rows`.
        seed, epoch: fix order and views; `seed` None draws a new one, once; epochs count from 0.
        shuffle: False shows the first view of every row in the given order, in every epoch.
        turns: whether an image shows its views in turn by epoch, instead of one drawn for each epoch.
        mixup: alpha of MixUp over activations (Verma et al. 2019, arXiv 1806.05236); 0 for none.

    Each batch is (features, targets): features float32 (b, ...), a tuple if there are several tensors, and targets float32
    (b, classes), one-hot or mixed.

    Raises:
        ValueError: arrays that do not match, rows or labels out of range.

    Example:
        >>> views = [[plain], [flipped]]
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
        # As plain arrays, still mapped: indexing an np.memmap costs several microseconds a row.
        self._views = [[np.asarray(tensor) for tensor in view] for view in views]
        self._rows = np.asarray(rows)
        self._labels = np.asarray(labels)
        images = _image_count(self._views)
        _check_rows(self._rows, images)
        check_labels(self._labels, images, classes)
        require(batch_size >= 1, "batch_size must be at least 1", batch_size=batch_size)
        self._one_hot = np.eye(classes, dtype=np.float32)
        self._batch_size = batch_size
        self._seed = resolve_seed(seed)
        self._shuffle = shuffle
        self._choose_views = epoch_turns if turns else epoch_views
        self._mixup = mixup
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        """Show the batches of `epoch` from now on."""
        count = len(self._rows)
        if self._shuffle:
            order = epoch_order(count, self._seed, epoch)
            shown = self._choose_views(count, len(self._views), self._seed, epoch)[order]
        else:
            order, shown = np.arange(count), np.zeros(count, np.int64)
        # One assignment: a prefetching thread reads the old plan or the new one, never half of each.
        self._plan = self._rows[order], shown, epoch

    def __len__(self) -> int:
        return -(-len(self._rows) // self._batch_size)

    def __getitem__(self, index: int):
        if not 0 <= index < len(self):
            raise IndexError(f"There are {len(self)} batches. Received: index={index}")
        rows, shown, epoch = self._plan
        part = slice(index * self._batch_size, (index + 1) * self._batch_size)
        features = tuple(self._gather(tensor, rows[part], shown[part]) for tensor in range(len(self._views[0])))
        targets = self._one_hot[self._labels[rows[part]]]  # (b, classes)
        if self._mixup:
            random = np.random.default_rng([self._seed, epoch, MIXUP_STREAM, index])
            weights, partners = random.beta(self._mixup, self._mixup, len(targets)), random.permutation(len(targets))
            features = tuple(_mixed(tensor, weights, partners) for tensor in features)
            targets = _mixed(targets, weights, partners)
        return (features if len(features) > 1 else features[0]), targets

    def _gather(self, tensor: int, rows: np.ndarray, shown: np.ndarray) -> np.ndarray:
        arrays = [view[tensor] for view in self._views]
        batch = np.empty((len(rows), *arrays[0].shape[1:]), np.float32)
        # Row by row, straight into float32: as fast as fancy indexing, sorted or not, without its float16 copy.
        for place, (row, view) in enumerate(zip(rows.tolist(), shown.tolist(), strict=True)):
            batch[place] = arrays[view][row]
        return batch


def for_fit(batches: FeatureBatches) -> FeatureBatches | tf.data.Dataset:
    """Return what to pass to `fit`: under TensorFlow a dataset without Keras' autotuning (see `prefetched`), else `batches`."""
    if keras.backend.backend() != "tensorflow":
        return batches
    signature = keras.tree.map_structure(lambda array: tf.TensorSpec((None, *array.shape[1:]), array.dtype), batches[0])
    numbers = range(len(batches))
    dataset = tf.data.Dataset.from_generator(lambda: map(batches.__getitem__, numbers), output_signature=signature)
    return prefetched(dataset.apply(tf.data.experimental.assert_cardinality(len(batches))))


def _mixed(array: np.ndarray, weights: np.ndarray, partners: np.ndarray) -> np.ndarray:
    shares = weights.astype(np.float32).reshape(-1, *[1] * (array.ndim - 1))
    return shares * array + (1 - shares) * array[partners]


def _image_count(views: list[list[np.ndarray]]) -> int:
    """Return the number of images in the arrays."""
    shapes = [[tensor.shape for tensor in view] for view in views]
    if not shapes or not shapes[0] or any(view != shapes[0] for view in shapes):
        raise ValueError(f"views must hold arrays of the same shapes, one list for each view. Received: {shapes}")
    counts = {shape[0] if shape else 0 for shape in shapes[0]}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"views must hold the same number of images in all arrays, at least 1. Received: {shapes[0]}")
    return counts.pop()


def _check_rows(rows: np.ndarray, images: int) -> None:
    if rows.ndim != 1 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"rows must be integers of shape (n,), n at least 1. Received: {rows.dtype} {rows.shape}")
    if rows.min() < 0 or rows.max() >= images:
        raise ValueError(f"rows must lie in 0..{images - 1}. Received: {rows.min()}..{rows.max()}")
