"""Fixed operations by name: views of training images, and corruptions for robustness tests.

A view keeps the size of an image and is a function of the image alone, so its features can be computed once and cached.
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from training.data.augment import check_augment
from training.data.operations import canonical, find_fixed, split_names


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
