"""Geometric operations: flips, moves, rotations, crops and sizes.

Fixed forms take NumPy arrays or one Pillow image, random forms TensorFlow batches; see `training.data.operations`.
"""

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from training.data.photometric import Batch

FRAME, TITLE_BAR = "#f4f4f4", "#3c3f41"  # colours of a screenshot's window


def flip(images):
    """Mirror images (n, H, W, C), NumPy or TensorFlow, left to right."""
    return images[:, :, ::-1]


def random_flip(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Mirror each image left to right with probability one half."""
    mirrored = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    return tf.where(mirrored, flip(images), images), labels


def translate(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """Move images (n, H, W, C) by whole pixels, fewer than their side, and fill the gap with their reflection."""
    height, width = images.shape[1:3]
    if abs(down) >= height or abs(right) >= width:
        raise ValueError(
            f"A translation must be smaller than the image, {height} x {width} (height x width). "
            f"Received: translate_{down}_{right}"
        )
    rows, columns = _reflected(np.arange(height) - down, height), _reflected(np.arange(width) - right, width)
    return images[:, rows[:, np.newaxis], columns]


def random_translate(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Move each image along both axes by up to 1/16 of its shorter side (2 pixels of 32), its border reflected."""
    return _randomly_reflected(images, seed, max(1, min(images.shape[1:3]) // 16)), labels


def random_crop(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Pad each image by 1/8 of its shorter side (4 pixels of 32), reflected, and crop its size at random."""
    return _randomly_reflected(images, seed, max(1, min(images.shape[1:3]) // 8)), labels


def _randomly_reflected(images: tf.Tensor, seed: tf.Tensor, most: int) -> tf.Tensor:
    drawn = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, maxval=2 * most + 1, dtype=tf.int32)
    return _moved(images, drawn[:, 0] - most, drawn[:, 1] - most, _reflected)


def random_shift(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Move each image along both axes by whole pixels, up to 1/10 of the side; its border is repeated."""
    limits = (int(0.1 * side) for side in images.shape[1:3])
    down, right = (
        tf.random.stateless_uniform((tf.shape(images)[0],), own_seed, -most, most + 1, dtype=tf.int32)
        for own_seed, most in zip(tf.unstack(tf.random.split(seed)), limits, strict=True)
    )
    return _moved(images, down, right, lambda index, size: tf.clip_by_value(index, 0, size - 1)), labels


def _moved(images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, border: Callable) -> tf.Tensor:
    """Return for each image what is `down` rows below and `right` columns beside its pixels, both (b,) integers."""
    height, width = images.shape[1:3]
    rows = border(tf.range(height) + down[:, tf.newaxis], height)  # (b, H)
    columns = border(tf.range(width) + right[:, tf.newaxis], width)  # (b, W)
    return tf.gather(tf.gather(images, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)


def _reflected(index, size: int):
    """Fold indices outside 0..size-1 back at the border, which is not repeated: -1 becomes 1, size becomes size - 2."""
    return size - 1 - abs(size - 1 - abs(index))


def random_rotate(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, degrees: float = 15.0) -> Batch:
    """Rotate each image about its centre by up to `degrees` either way, bilinearly; its border is repeated."""
    height, width = images.shape[1:3]
    largest = math.radians(degrees)
    angles = tf.random.stateless_uniform((tf.shape(images)[0],), seed, -largest, largest)
    cosine, sine = tf.cos(angles), tf.sin(angles)
    x, y = (width - 1) / 2, (height - 1) / 2  # the centre
    zero = tf.zeros_like(angles)
    affine = (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y, zero, zero)
    rotated = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack(affine, axis=1),  # (b, 8)
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.cast(tf.round(rotated) if images.dtype.is_integer else rotated, images.dtype), labels


def center_crop(image: Image.Image, share: float) -> Image.Image:
    """Keep the middle, `share` of either side."""
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def corner(image: Image.Image, share: float) -> Image.Image:
    """Keep the upper left corner, `share` of either side."""
    return image.crop((0, 0, max(1, round(image.width * share)), max(1, round(image.height * share))))


def stretch(image: Image.Image, ratio: float) -> Image.Image:
    """Distort the image: make it `ratio` times as wide."""
    return image.resize((max(1, round(image.width * ratio)), image.height), Image.Resampling.BICUBIC)


def bars(image: Image.Image, ratio: float) -> Image.Image:
    """Add black bars left and right, as video players do, until the image is `ratio` times as wide."""
    width = round(image.width * ratio)
    left = (width - image.width) // 2
    return ImageOps.expand(image, (left, 0, width - image.width - left, 0), "black")


def screenshot(image: Image.Image, share: float) -> Image.Image:
    """Show the image in a light window with a dark title bar; the frame is `share` of the image's width."""
    frame = max(1, round(image.width * share))
    return ImageOps.expand(ImageOps.expand(image, frame, FRAME), (0, frame, 0, 0), TITLE_BAR)


def _resize(method: Image.Resampling) -> Callable[[Image.Image, int], Image.Image]:
    return lambda image, side: image.resize((side, side), method)


nearest, bilinear, bicubic, lanczos = map(
    _resize, (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
)
