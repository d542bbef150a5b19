"""A network and a data set small enough to train in a second, with every feature that the big ones have."""

import hashlib

import keras
import numpy as np

from models.pretrained.downloads import KerasDownload
from models.pretrained.sources import Pretrained
from models.registry import ModelSpec
from training.data.dataset import ImageDataset


def tiny_backbone(image_size: int, convention: str) -> keras.Model:
    """Build two blocks: strided convolution, BN, ReLU; then a skip connection around a convolution with BN."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess_rescaling")(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="block_1_conv")(x)
    x = keras.layers.BatchNormalization(name="block_1_BN")(x)
    shortcut = keras.layers.ReLU(name="block_1_relu")(x)
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="block_2_conv")(shortcut)
    x = keras.layers.BatchNormalization(name="block_2_BN")(x)
    x = keras.layers.Add(name="block_2_add")([shortcut, x])
    x = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="block_3_conv")(x)
    return keras.Model(image, x, name="tiny_backbone")


TINY = ModelSpec(
    name="tiny",
    backbone=tiny_backbone,
    image_size=16,
    minimum_size=4,
    heads=("dense", "linear"),
    pretrained=Pretrained(keras=KerasDownload("https://weights.invalid/tiny.h5")),
    unfreeze=4,
)


def tiny_dataset(images: int = 240, classes: int = 3, side: int = 8) -> ImageDataset:
    """Return a data set whose classes are colours under noise; a third as many test images as training images."""
    random = np.random.default_rng(0)
    colours = random.integers(40, 216, (classes, 3))

    def part(n):
        labels = np.arange(n) % classes
        noise = random.normal(0, 30, (n, side, side, 3))
        return np.clip(colours[labels][:, None, None] + noise, 0, 255).astype(np.uint8), labels.astype(np.int64)

    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (*part(images), *part(images // 3)), strict=True))
    sums = {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}
    names = tuple(f"colour {number}" for number in range(classes))
    return ImageDataset(name="tiny", class_names=names, **arrays, source="made up", sha256=sums)
