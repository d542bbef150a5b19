"""Views: the deterministic looks of an image that a cache can hold, one of which each epoch draws for each image.

A view is a fixed function of the images alone, so its features can be computed once and kept.
"""

import functools
import re
from collections.abc import Callable, Sequence

import numpy as np

from training.data.augment import check_augment
from training.data.corruptions import KEEPING, corrupt_batch, is_corruption, severities

View = Callable[[np.ndarray], np.ndarray]
VIEWS: dict[str, View] = {
    "identity": lambda images: images,
    "mirror": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
}
"""The views without a parameter. `shift_{dy}_{dx}` names one for every pair of integers but (0, 0): see `find_view`."""

VIEW_SETS: dict[str, tuple[str, ...]] = {
    "robust": (
        "identity",
        "mirror+shift_2_2",
        "shift_-2_2",
        "pixels_12",
        "mirror",
        "shift_2_-2",
        "mirror+shift_-2_-2",
        "mirror+jpeg_10",
    )
}
"""Views under one name. `robust` is for models that answer uploads: of four views one is small or heavily compressed."""

# One spelling for each shift, because caches are keyed by the name: no "+", no leading zeros, no "-0".
_INTEGER = r"(0|-?[1-9][0-9]*)"
_SHIFT = re.compile(rf"shift_{_INTEGER}_{_INTEGER}")


def find_view(name: str) -> View:
    """Return the view called `name`: a function of images (batch, H, W, C) that keeps shape and dtype.

    `identity` changes nothing, `mirror` swaps left and right, `shift_{dy}_{dx}` moves the picture dy pixels down and dx
    to the right (negative: up, left) and fills the gap with its reflection at the border; `jpeg_30`, `pixels_12` and the like
    are corruptions that keep an image's size (see `training.data.corruptions`). `mirror+shift_2_0` is one after the other.

    Raises:
        ValueError: no view has this name.
    """
    parts = [_single_view(part) for part in name.split("+")]
    if None in parts:
        raise ValueError(
            f"Unknown view. Known: {', '.join(VIEWS)}, shift_{{dy}}_{{dx}} (such as shift_-2_1), {severities(KEEPING)}, as "
            f"in jpeg_30, or several joined by +; alone, the sets of views {', '.join(VIEW_SETS)}. Received: {name!r}"
        )
    return (
        parts[0] if len(parts) == 1 else lambda images: functools.reduce(lambda seen, part: part(seen), parts, images)
    )


def _single_view(name: str) -> View | None:
    if name in VIEWS:
        return VIEWS[name]
    if name.split("_")[0] in KEEPING:
        return functools.partial(corrupt_batch, name=name) if is_corruption(name) else None
    match = _SHIFT.fullmatch(name)
    if match is None or name == "shift_0_0":
        return None
    down, right = int(match[1]), int(match[2])
    return lambda images: _shifted(images, down, right)


def apply_view(images: np.ndarray, view: str) -> np.ndarray:
    """Return `images` (batch, H, W, C) as the view called `view` shows them, same shape and dtype.

    The images that came in stay as they are; `identity` returns them themselves, not a copy.

    Raises:
        ValueError: no view has this name, or it shifts by the image's size or more.
    """
    return find_view(view)(images)


def _shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    height, width = images.shape[1:3]
    if abs(down) >= height or abs(right) >= width:
        raise ValueError(
            f"A shift must be smaller than the image, {height} x {width} (height x width). "
            f"Received: shift_{down}_{right}"
        )
    rows = _reflected(np.arange(height) - down, height)
    columns = _reflected(np.arange(width) - right, width)
    return images[:, rows[:, np.newaxis], columns]


def _reflected(index: np.ndarray, size: int) -> np.ndarray:
    """Fold indices that lie outside 0..size-1 back at the border, which is not repeated: -1 becomes 1, size size-2."""
    index = np.abs(index)
    return np.where(index >= size, 2 * (size - 1) - index, index)


def views_of(augment: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the views that `augment` chooses from with equal chances, None where they cannot be enumerated.

    `()` has ("identity",), `("flip",)` has ("identity", "mirror"). Crops, shifts and rotations are too many to keep; CutOut,
    MixUp and CutMix are never twice the same.

    Raises:
        ValueError: an unknown or a repeated augmentation.
    """
    return {(): ("identity",), ("flip",): ("identity", "mirror")}.get(check_augment(augment))


def parse_views(text: str) -> tuple[str, ...]:
    """Return the views that `text` names, such as "identity,mirror", in its order; "none" and "" name none.

    A name of `VIEW_SETS` stands for its views.

    Raises:
        ValueError: no view has one of these names.
    """
    if text.strip() in VIEW_SETS:
        return VIEW_SETS[text.strip()]
    if text.strip() in ("", "none"):
        return ()
    names = tuple(name.strip() for name in text.split(","))
    check_views(names)
    return names


def check_views(names: Sequence[str]) -> None:
    """Raise ValueError if a name is not one of a view."""
    for name in names:
        find_view(name)
