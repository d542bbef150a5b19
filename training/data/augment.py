"""Augmentation by name: random operations on batches.

An operation is a pure function `(images, labels, seed) -> (images, labels)`: the same seed gives the same batch, eagerly
and inside `tf.data`.
"""

import functools
import math
import zlib
from collections.abc import Callable

import tensorflow as tf

Batch = tuple[tf.Tensor, tf.Tensor]


def flip(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Mirror each image left to right with probability one half.

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, returned as they are.
        seed: two integers.
    """
    mirrored = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seed) < 0.5
    return tf.where(mirrored, tf.reverse(images, axis=[2]), images), labels


def crop(
    images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, padding: int | None = None, mode: str = "reflect"
) -> Batch:
    """Pad each image on all sides and cut its own size out again at a random place.

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, returned as they are.
        seed: two integers.
        padding: pixels a side; by default an eighth of the shorter side, which is the usual 4 at 32 x 32.
        mode: what the padding holds: "reflect" (the image mirrored at its border) or "constant" (zeros).
    """
    height, width = images.shape[1:3]
    padding = max(1, min(height, width) // 8) if padding is None else padding
    padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]], mode.upper())
    corners = tf.random.stateless_uniform((tf.shape(images)[0], 2), seed, maxval=2 * padding + 1, dtype=tf.int32)
    rows = corners[:, :1] + tf.range(height)  # (batch, H)
    columns = corners[:, 1:] + tf.range(width)  # (batch, W)
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)  # (batch, H, W + 2 padding, C)
    return tf.gather(cropped, columns, axis=2, batch_dims=1), labels  # (batch, H, W, C)


def translate(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> Batch:
    """Move each image along both axes by up to a sixteenth of its side (2 pixels of 32), its border reflected into the gap.

    Arguments as in `crop`, which is the same by up to an eighth.
    """
    return crop(images, labels, seed, padding=max(1, min(images.shape[1:3]) // 16))


def shift(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, share: float = 0.1) -> Batch:
    """Move each image along both axes by up to `share` of its side; its border's pixels are repeated into the gap.

    By whole pixels: parts of one would have to be interpolated, and the network would learn from images less sharp than
    those that it is asked about.

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, returned as they are.
        seed: two integers.
        share: from 0 to 1; 0.1 is at most 3 pixels of 32.
    """
    row_seed, column_seed = tf.unstack(tf.random.split(seed))

    def moves(seed, side):  # (batch,)
        most = int(share * side)
        drawn = tf.random.stateless_uniform((tf.shape(images)[0],), seed, -most, most + 1, dtype=tf.int32)
        return tf.cast(drawn, tf.float32)

    down, right = moves(row_seed, images.shape[1]), moves(column_seed, images.shape[2])
    one, zero = tf.ones_like(down), tf.zeros_like(down)
    return _transformed(images, tf.stack((one, zero, right, zero, one, down), axis=1)), labels


def rotate(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, degrees: float = 15.0) -> Batch:
    """Turn each image about its centre by up to `degrees` either way; its border's pixels are repeated into the gap.

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, returned as they are.
        seed: two integers.
        degrees: at least 0.
    """
    height, width = images.shape[1:3]
    largest = math.radians(degrees)
    angles = tf.random.stateless_uniform((tf.shape(images)[0],), seed, -largest, largest)
    cosine, sine = tf.cos(angles), tf.sin(angles)
    x, y = (width - 1) / 2, (height - 1) / 2  # the centre, which stays where it is
    rows = (cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y)
    return _transformed(images, tf.stack(rows, axis=1)), labels


def _transformed(images: tf.Tensor, affine: tf.Tensor) -> tf.Tensor:
    """Let each pixel (x, y) show what stands at (a x + b y + c, d x + e y + f); `affine` is (batch, 6): a to f."""
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.pad(affine, [[0, 0], [0, 2]]),  # the last two would make it a perspective
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    return tf.cast(tf.round(moved) if images.dtype.is_integer else moved, images.dtype)


def cutout(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, side: int | None = None) -> Batch:
    """Blank one square of each image (CutOut, DeVries and Taylor 2017, arXiv 1708.04552).

    The centre is any pixel, so part of the square may fall outside, as in the paper. The paper blanks with zero after
    normalisation, which is the mean colour of the data; here, before normalisation, it is the mean colour of the batch.

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, returned as they are.
        seed: two integers.
        side: pixels; by default half the shorter side, which is the paper's 16 for CIFAR-10.
    """
    height, width = images.shape[1:3]
    side = min(height, width) // 2 if side is None else side
    sides = tf.fill([tf.shape(images)[0]], side)
    # float64 sums bytes exactly, so the colour does not depend on the order in which threads add.
    colour = tf.reduce_mean(tf.cast(images, tf.float64), axis=[0, 1, 2])  # (C,)
    colour = tf.cast(tf.round(colour) if images.dtype.is_integer else colour, images.dtype)
    return tf.where(_random_boxes(seed, sides, sides, height, width), colour, images), labels


def mixup(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, alpha: float = 1.0) -> Batch:
    """Blend each image and its label with another of the batch (MixUp, Zhang et al. 2018, arXiv 1710.09412).

    The weight of an image is drawn from Beta(alpha, alpha), for each image anew.

    Args:
        images: (batch, H, W, C), uint8 or float32 of any range; float32 of the same range comes back.
        labels: (batch, classes) float32, each row summing to one; so do the mixed ones.
        seed: two integers.
        alpha: above 0; the paper's value for CIFAR-10 is 1.

    Raises:
        ValueError: the labels are not (batch, classes) of a floating type.
    """
    weight_seed, partner_seed = tf.unstack(tf.random.split(seed))
    weights = _beta(weight_seed, tf.shape(images)[0], alpha)  # (batch,)
    partners = _partners(partner_seed, images)
    images = tf.cast(images, tf.float32)
    share = weights[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = share * images + (1.0 - share) * tf.gather(images, partners)
    return mixed, _mix_labels(labels, partners, weights)


def cutmix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, *, alpha: float = 1.0) -> Batch:
    """Replace a box of each image by the same box of another (CutMix, Yun et al. 2019, arXiv 1905.04899).

    The box covers 1 - w of the image, w drawn from Beta(alpha, alpha), about a centre that is any pixel, and is clipped
    at the border. Labels are weighed by the pixels that were really replaced. Every batch is mixed (the paper mixes
    half of the CIFAR-10 batches and all of the ImageNet ones).

    Args:
        images: (batch, H, W, C), uint8 or float32; the dtype is kept.
        labels: (batch, classes) float32, each row summing to one; so do the mixed ones.
        seed: two integers.
        alpha: above 0; the paper's value is 1.

    Raises:
        ValueError: the labels are not (batch, classes) of a floating type.
    """
    height, width = images.shape[1:3]
    weight_seed, box_seed, partner_seed = tf.unstack(tf.random.split(seed, 3))
    ratio = tf.sqrt(1.0 - _beta(weight_seed, tf.shape(images)[0], alpha))  # (batch,) box side / image side
    heights = tf.cast(ratio * float(height), tf.int32)
    widths = tf.cast(ratio * float(width), tf.int32)
    boxes = _random_boxes(box_seed, heights, widths, height, width)  # (batch, H, W, 1)
    partners = _partners(partner_seed, images)
    replaced = tf.reduce_sum(tf.cast(boxes, tf.float32), axis=[1, 2, 3]) / float(height * width)  # (batch,)
    return tf.where(boxes, tf.gather(images, partners), images), _mix_labels(labels, partners, 1.0 - replaced)


def _random_boxes(seed, heights, widths, image_height: int, image_width: int) -> tf.Tensor:
    """Return masks (batch, H, W, 1), true inside one box an image; centres are uniform over the pixels."""
    row_seed, column_seed = tf.unstack(tf.random.split(seed))
    batch = tf.shape(heights)

    def inside(seed, extents, size):  # (batch, size)
        starts = tf.random.stateless_uniform(batch, seed, maxval=size, dtype=tf.int32) - extents // 2
        offsets = tf.range(size) - starts[:, tf.newaxis]
        return (offsets >= 0) & (offsets < extents[:, tf.newaxis])

    rows = inside(row_seed, heights, image_height)[:, :, tf.newaxis, tf.newaxis]
    columns = inside(column_seed, widths, image_width)[:, tf.newaxis, :, tf.newaxis]
    return rows & columns


def _beta(seed, count, alpha: float) -> tf.Tensor:
    """Return `count` float32 draws from Beta(alpha, alpha), as g / (g + h) of two gamma draws."""
    if alpha <= 0:
        raise ValueError(f"alpha must be above 0. Received: alpha={alpha!r}")
    # float64: for a small alpha both gammas of a pair underflow in float32 now and then, and 0 / 0 is no weight.
    gammas = tf.random.stateless_gamma([2, count], seed, alpha=tf.constant(alpha, tf.float64), dtype=tf.float64)
    return tf.cast(gammas[0] / (gammas[0] + gammas[1]), tf.float32)


def _partners(seed, images) -> tf.Tensor:
    """Return a random permutation of the batch's positions, (batch,) int32."""
    return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), seed)


def _mix_labels(labels, partners, weights) -> tf.Tensor:
    if labels.shape.rank != 2 or not labels.dtype.is_floating:
        raise ValueError(
            "Mixing needs one-hot or soft labels, (batch, classes) float32. "
            f"Received: labels of shape {tuple(labels.shape)} and dtype {labels.dtype.name}"
        )
    weights = tf.cast(weights, labels.dtype)[:, tf.newaxis]
    return weights * labels + (1.0 - weights) * tf.gather(labels, partners)


AUGMENTATIONS: dict[str, Callable[..., Batch]] = {
    "flip": flip,
    "crop": crop,
    "translate": translate,
    "shift": shift,
    "rotate": rotate,
    "cutout": cutout,
    "cutout_12": functools.partial(cutout, side=12),
    "mixup": mixup,
    "cutmix": cutmix,
}


def check_augment(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` if each is a key of `AUGMENTATIONS` and none comes twice.

    Raises:
        ValueError: an unknown or a repeated name.
    """
    known = ", ".join(AUGMENTATIONS)
    for name in names:
        if name not in AUGMENTATIONS:
            raise ValueError(f"Unknown augmentation {name!r}. Known: {known}. Received: augment={names!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"Each augmentation may be named once. Known: {known}. Received: augment={names!r}")
    return names


def parse_augment(text: str) -> tuple[str, ...]:
    """Return the augmentations that `text` names, such as "flip,crop", in its order; "none" and "" name none.

    Raises:
        ValueError: an unknown or a repeated name.
    """
    if text.strip() in ("", "none"):
        return ()
    return check_augment(tuple(name.strip() for name in text.split(",")))


def augment_batch(images: tf.Tensor, labels: tf.Tensor, names: tuple[str, ...], seed: tf.Tensor) -> Batch:
    """Apply the named operations in order, each with a seed of its own that depends on `seed` and its name only.

    Args:
        images: (batch, H, W, C), uint8 or float32.
        labels: (batch, classes) float32.
        names: keys of `AUGMENTATIONS`.
        seed: two integers.
    """
    seed = tf.cast(seed, tf.int64)
    for name in names:
        own_seed = tf.random.fold_in(seed, tf.constant(zlib.crc32(name.encode()), tf.int64))
        images, labels = AUGMENTATIONS[name](images, labels, own_seed)
    return images, labels
