"""Augmentations, views and corruptions by name.

An augmentation is random and applies to training batches. A view is fixed and keeps the size of an image, so its features
can be cached. A corruption is fixed and degrades one image for a robustness test.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from runtime.validation import require
from training.data.operations import canonical, find_fixed, find_random, known_names, split_names
from training.data.photometric import Batch


def check_augment(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names`; raise ValueError for one that is unknown or repeated."""
    for name in names:
        find_random(name)
    rule = f"Each augmentation may be named once. Known: {known_names('augmentation')}"
    require(len(set(names)) == len(names), rule, augment=names)
    return names


def parse_augment(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of augmentations, such as "flip,cutout_12" or "none"; see `check_augment`."""
    return check_augment(split_names(text))


def augment_batch(images: tf.Tensor, labels: tf.Tensor, names: tuple[str, ...], seed: tf.Tensor) -> Batch:
    """Apply augmentations in order to a `Batch`. What each draws depends on `seed` (two integers) and on its name only."""
    seed = tf.cast(seed, tf.int64)
    for name in names:
        own_seed = tf.random.fold_in(seed, tf.constant(zlib.crc32(name.encode()), tf.int64))
        images, labels = find_random(name)(images, labels, own_seed)
    return images, labels


def apply_view(images: np.ndarray, view: str) -> np.ndarray:
    """Return a view of uint8 images (n, H, W, 3), same shape and dtype; `identity` does not copy.

    Raises:
        ValueError: no view has this name, or it translates by the image's size or more.
    """
    return find_fixed(view, "view")(images)


def find_corruption(name: str) -> Callable[[Image.Image], Image.Image]:
    """Return the corruption `name`, such as `bicubic_224+jpeg_90`, a function of one RGB image; ValueError if unknown."""
    corrupt = find_fixed(name, "corruption")
    return lambda image: Image.fromarray(corrupt(np.asarray(image)[np.newaxis])[0])


def check_views(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without aliases; raise ValueError for one that is no view."""
    for name in names:
        find_fixed(name, "view")
    return tuple(map(canonical, names))


def parse_views(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list of views, such as "identity,flip" or "none"; see `check_views`."""
    return check_views(split_names(text))


def views_of(augment: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the views that `augment` draws from with equal probability; None if they are too many to cache."""
    return {(): ("identity",), ("flip",): ("identity", "flip")}.get(check_augment(augment))
