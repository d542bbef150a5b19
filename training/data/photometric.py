"""Photometric operations: compression, blur, noise, light and resolution; erased and mixed regions.

Fixed forms take one Pillow image, random forms TensorFlow batches. The corruptions are those of CIFAR-10-C (Hendrycks and
Dietterich 2019, arXiv 1903.12261) that occur in uploads; parameters are those of the encoder or filter, not severities.
"""

import io
import zlib

import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance
from scipy import ndimage

Batch = tuple[tf.Tensor, tf.Tensor]
"""Images (b, H, W, C), uint8 or float32, and labels (b, classes) float32."""


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """Compress as JPEG with halved chroma, as cameras and web sites do."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def blur(image: Image.Image, deviation: float) -> Image.Image:
    """Blur with a Gaussian of this standard deviation in pixels."""
    blurred = ndimage.gaussian_filter(np.asarray(image, np.float32), (deviation, deviation, 0), mode="reflect")
    return Image.fromarray(blurred.round().astype(np.uint8))


def noise(image: Image.Image, deviation: float) -> Image.Image:
    """Add Gaussian noise of this standard deviation in grey levels; the image itself is the seed."""
    pixels = np.asarray(image, np.float32)
    drawn = np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, deviation, pixels.shape)
    return Image.fromarray((pixels + drawn).round().clip(0, 255).astype(np.uint8))


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """Multiply all values by `factor`."""
    return ImageEnhance.Brightness(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """Multiply the distance of every value from the image's mean grey by `factor`."""
    return ImageEnhance.Contrast(image).enhance(factor)


def pixelate(image: Image.Image, side: int) -> Image.Image:
    """Average over blocks, `side` of them along either side."""
    return image.resize((side, side), Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def thumbnail(image: Image.Image, side: int) -> Image.Image:
    """Downsample to `side` pixels and enlarge again, both bicubic."""
    return image.resize((side, side), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def cutout(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, side: int | None = None) -> Batch:
    """Erase one square of each image (CutOut, DeVries and Taylor 2017, arXiv 1708.04552).

    The centre is any pixel, so part of the square may lie outside. The colour is the batch's mean; the paper's zero after
    normalisation is the data's mean. `side` is in pixels, by default half the shorter side (16 for CIFAR-10, as in the paper).
    """
    height, width = images.shape[1:3]
    side = min(height, width) // 2 if side is None else side
    sides = tf.fill([tf.shape(images)[0]], side)
    # float64 sums bytes exactly, in whatever order the threads add.
    colour = tf.reduce_mean(tf.cast(images, tf.float64), axis=[0, 1, 2])  # (C,)
    colour = tf.cast(tf.round(colour) if images.dtype.is_integer else colour, images.dtype)
    return tf.where(_random_boxes(seed, sides, sides, height, width), colour, images), labels


def mixup(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float = 1.0) -> Batch:
    """Average each image and its label with another of the batch (MixUp, Zhang et al. 2018, arXiv 1710.09412).

    The weight of each image is drawn from Beta(alpha, alpha); the paper has alpha 1 for CIFAR-10. Images become float32.
    Labels that are not (b, classes) of a floating type raise ValueError.
    """
    weight_seed, partner_seed = tf.unstack(tf.random.split(seed))
    weights = _beta(weight_seed, tf.shape(images)[0], alpha)  # (b,)
    partners = _partners(partner_seed, images)
    images = tf.cast(images, tf.float32)
    share = weights[:, tf.newaxis, tf.newaxis, tf.newaxis]
    mixed = share * images + (1.0 - share) * tf.gather(images, partners)
    return mixed, _mix_labels(labels, partners, weights)


def cutmix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float = 1.0) -> Batch:
    """Replace a box of each image by the same box of another (CutMix, Yun et al. 2019, arXiv 1905.04899).

    The box covers 1 - w of the image, w drawn from Beta(alpha, alpha); its centre is any pixel, and it is clipped at the
    border. Labels are weighted by the pixels replaced. Every batch is mixed; the paper, with alpha 1, mixes half of the
    CIFAR-10 batches. Labels that are not (b, classes) of a floating type raise ValueError.
    """
    height, width = images.shape[1:3]
    weight_seed, box_seed, partner_seed = tf.unstack(tf.random.split(seed, 3))
    ratio = tf.sqrt(1.0 - _beta(weight_seed, tf.shape(images)[0], alpha))  # (b,) box side / image side
    heights, widths = (tf.cast(ratio * float(side), tf.int32) for side in (height, width))
    boxes = _random_boxes(box_seed, heights, widths, height, width)  # (b, H, W, 1)
    partners = _partners(partner_seed, images)
    replaced = tf.reduce_sum(tf.cast(boxes, tf.float32), axis=[1, 2, 3]) / float(height * width)  # (b,)
    return tf.where(boxes, tf.gather(images, partners), images), _mix_labels(labels, partners, 1.0 - replaced)


def _random_boxes(seed, heights, widths, image_height: int, image_width: int) -> tf.Tensor:
    """Return masks (b, H, W, 1), true inside one box per image; centres are uniform over the pixels."""
    row_seed, column_seed = tf.unstack(tf.random.split(seed))
    batch = tf.shape(heights)

    def inside(seed, extents, size):  # (b, size)
        starts = tf.random.stateless_uniform(batch, seed, maxval=size, dtype=tf.int32) - extents // 2
        offsets = tf.range(size) - starts[:, tf.newaxis]
        return (offsets >= 0) & (offsets < extents[:, tf.newaxis])

    rows = inside(row_seed, heights, image_height)[:, :, tf.newaxis, tf.newaxis]
    columns = inside(column_seed, widths, image_width)[:, tf.newaxis, :, tf.newaxis]
    return rows & columns


def _beta(seed, count, alpha: float) -> tf.Tensor:
    """Return `count` float32 draws from Beta(alpha, alpha), as g / (g + h) of two gamma draws."""
    # float64: for a small alpha both gammas of a pair may underflow in float32, and 0 / 0 is NaN.
    gammas = tf.random.stateless_gamma([2, count], seed, alpha=tf.constant(alpha, tf.float64), dtype=tf.float64)
    return tf.cast(gammas[0] / (gammas[0] + gammas[1]), tf.float32)


def _partners(seed, images) -> tf.Tensor:
    """Return a random permutation of the batch's positions, (b,) int32."""
    return tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), seed)


def _mix_labels(labels, partners, weights) -> tf.Tensor:
    if labels.shape.rank != 2 or not labels.dtype.is_floating:
        raise ValueError(
            "labels must be one-hot or soft, (batch, classes) float32, to be mixed. "
            f"Received: labels of shape {tuple(labels.shape)} and dtype {labels.dtype.name}"
        )
    weights = tf.cast(weights, labels.dtype)[:, tf.newaxis]
    return weights * labels + (1.0 - weights) * tf.gather(labels, partners)
