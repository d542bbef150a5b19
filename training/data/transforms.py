"""Three uses of the image operations, each by name: augmentations, views and corruptions.

An augmentation is random, drawn anew for each batch, eagerly or inside `tf.data`. A view is fixed and keeps the size of
an image, so its features can be computed once and cached. A corruption is fixed and degrades one image for a robustness
test.
"""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from training.data.operations import canonical, find_fixed, find_random, known_names, split_names
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


def apply_view(images: np.ndarray, view: str) -> np.ndarray:
    """Return uint8 images (n, H, W, 3) as a view shows them, same shape and dtype.

    The input stays as it is; `identity` returns it without a copy.

    Raises:
        ValueError: no view has this name, or it translates by the image's size or more.
    """
    return find_fixed(view, "view")(images)


def find_corruption(name: str) -> Callable[[Image.Image], Image.Image]:
    """Return the corruption `name`, such as `jpeg_30` or `bicubic_224+jpeg_90`: a function of one RGB image.

    Raises:
        ValueError: no corruption has this name, or a parameter is out of range.
    """
    corrupt = find_fixed(name, "corruption")
    return lambda image: Image.fromarray(corrupt(np.asarray(image)[np.newaxis])[0])


def check_views(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names without aliases.

    Raises:
        ValueError: no view has one of these names.
    """
    for name in names:
        find_fixed(name, "view")
    return tuple(map(canonical, names))


def parse_views(text: str) -> tuple[str, ...]:
    """Return the views in a comma-separated list, such as "identity,flip", in its order; "none" and "" name none.

    Raises:
        ValueError: no view has one of these names.
    """
    return check_views(split_names(text))


def views_of(augment: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the views that `augment` draws from with equal probability, None where they cannot be enumerated.

    Random crops, shifts and rotations are too many to cache; CutOut, MixUp and CutMix never repeat.

    Raises:
        ValueError: an unknown or a repeated augmentation.
    """
    return {(): ("identity",), ("flip",): ("identity", "flip")}.get(check_augment(augment))
