"""Resize modes: how an RGB image of any size becomes the model's (S, S, 3) input."""

import numpy as np
from PIL import Image

RESIZE_MODES = ("thumbnail", "bilinear")

Box = tuple[int, int, int, int]  # left, top, right, bottom


def resize(image: Image.Image, size: int, mode: str = "thumbnail", resolution: int | None = 32) -> np.ndarray:
    """Resize an RGB image to the model's input: (size, size, 3), float32 in 0..255.

    * "thumbnail" makes an image look like the low-resolution training images. It crops the longer side to the geometric mean
      of both sides, averages the crop down to a square of `resolution` pixels, the training images' side, and enlarges that
      bilinearly.
    * "bilinear" crops the largest centred square and resizes it bilinearly, with antialiasing where it shrinks.

    For a square image of at most `resolution` pixels a side that is not shrunk, both equal training's resize to float32's
    precision. Training shrinks without antialiasing.

    Raises:
        ValueError: an unknown `mode`, or "thumbnail" without `resolution`.
    """
    if mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: resize_mode={mode!r}")
    if mode == "bilinear":
        return _bilinear(image, _centre_box(image, min(image.size)), size)
    if resolution is None:
        raise ValueError("resize_mode='thumbnail' needs the resolution of the training images. Received: None")
    box = left, top, right, bottom = _centre_box(image, round((image.width * image.height) ** 0.5))
    small = (min(right - left, resolution), min(bottom - top, resolution))
    if small != (right - left, bottom - top):
        image, box = image.resize(small, Image.Resampling.BOX, box), (0, 0, *small)
    return _bilinear(image, box, size)


def _centre_box(image: Image.Image, side: int) -> Box:
    """Return the centred box that is at most `side` wide and high."""
    width, height = min(side, image.width), min(side, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return left, top, left + width, top + height


def _bilinear(image: Image.Image, box: Box, size: int) -> np.ndarray:
    width, height = box[2] - box[0], box[3] - box[1]
    factor = min(width, height) // (2 * size)
    # Average whole blocks first, down to twice the target size: faster, and a large image is not copied.
    image = image.reduce(factor, box) if factor > 1 else image.crop(box)
    extent = tuple(side / max(factor, 1) for side in (width, height))  # of the box; the last blocks may be partial
    if extent == (size, size):
        return np.asarray(image, np.float32)
    # One float channel at a time: on bytes Pillow rounds to whole grey levels between its two passes.
    channels = (
        channel.convert("F").resize((size, size), Image.Resampling.BILINEAR, (0, 0, *extent))
        for channel in image.split()
    )
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)
