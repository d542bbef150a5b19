"""Augmentation: random operations on training batches, drawn anew in every epoch, eagerly or inside `tf.data`."""

import zlib

import tensorflow as tf

from training.data.operations import find_random, known_names, split_names
from training.data.photometric import Batch


def check_augment(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names`.

    Raises:
        ValueError: a name is not one of an augmentation, or comes twice.
    """
    for name in names:
        find_random(name)
    if len(set(names)) < len(names):
        raise ValueError(
            f"Each augmentation may be named once. Known: {known_names('augmentation')}. Received: augment={names!r}"
        )
    return names


def parse_augment(text: str) -> tuple[str, ...]:
    """Return the augmentations in a comma-separated list, such as "flip,cutout_12", in its order; "none" and "" name none.

    Raises:
        ValueError: an unknown or a repeated name.
    """
    return check_augment(split_names(text))


def augment_batch(images: tf.Tensor, labels: tf.Tensor, names: tuple[str, ...], seed: tf.Tensor) -> Batch:
    """Apply augmentations in order. What each draws depends on `seed` and on its name only.

    Args:
        images: (b, H, W, C), uint8 or float32.
        labels: (b, classes) float32.
        names: as `check_augment` takes them.
        seed: two integers.
    """
    seed = tf.cast(seed, tf.int64)
    for name in names:
        own_seed = tf.random.fold_in(seed, tf.constant(zlib.crc32(name.encode()), tf.int64))
        images, labels = find_random(name)(images, labels, own_seed)
    return images, labels
