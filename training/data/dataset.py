"""A labelled image data set as a value: arrays, class names, checksums and splits."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from runtime.validation import require

T = TypeVar("T")


class DataUnavailableError(RuntimeError):
    """No source has the data set; the message says why for each, and what to do."""


def array_sha256(array: np.ndarray) -> str:
    """Return the SHA-256 of an array's raw bytes in C order as 64 hexadecimal digits."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Labelled images with a training part and a test part.

    Attributes:
        name: such as `cifar10`.
        class_names: in label order.
        x_train, x_test: uint8 (n, H, W, 3), RGB, 0..255.
        y_train, y_test: int64 (n,), 0..classes-1.
        source: where the bytes came from, for messages.
        sha256: of the raw C-order bytes of each array; labels as uint8 if there are at most 256 classes.

    Raises:
        ValueError: shapes, dtypes, lengths or labels do not match the above.
    """

    name: str
    class_names: tuple[str, ...]
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str
    sha256: dict[str, str]

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            images, labels = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise ValueError(
                    f"x_{part} must be uint8 of shape (n, H, W, 3). Received: {images.dtype} of shape {images.shape}"
                )
            if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"y_{part} must be int64 of shape {images.shape[:1]}, one label per image. "
                    f"Received: {labels.dtype} of shape {labels.shape}"
                )
            if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
                raise ValueError(
                    f"y_{part} must hold labels 0..{self.classes - 1}, one for each class name. "
                    f"Received: labels {labels.min()}..{labels.max()}"
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                "x_train and x_test must hold images of one shape. "
                f"Received: {self.x_train.shape[1:]} and {self.x_test.shape[1:]}"
            )

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels (3)."""
        return self.x_train.shape[1:]

    def limited(self, n: int) -> "ImageDataset":
        """Return a data set of the first `n` training and the first `n` test images, `n` at least 1."""
        require(n >= 1, "n must be at least 1 image", n=n)
        parts = {key: getattr(self, key)[:n] for key in ("x_train", "y_train", "x_test", "y_test")}
        label_type = np.min_scalar_type(self.classes - 1)  # uint8 up to 256 classes
        sums = {key: array_sha256(part if key[0] == "x" else part.astype(label_type)) for key, part in parts.items()}
        return replace(self, **parts, sha256=sums, source=f"{self.source}, first {n} images of each part")

    def split(self, seed: int, validation: int = 5000) -> tuple[np.ndarray, np.ndarray]:
        """Split the training part into training and validation, stratified by class.

        Args:
            seed: at least 0; the same seed gives the same split with every NumPy version.
            validation: the number of validation images, at least 1.

        Returns:
            (training, validation): indices into `x_train`, int64, sorted, which together name every image once.

        Raises:
            ValueError: `seed` is negative, or `validation` is less than 1 or leaves a class without training images.
        """
        require(seed >= 0, "seed must be at least 0", seed=seed)
        counts = np.bincount(self.y_train, minlength=self.classes)
        most = int(np.maximum(counts - 1, 0).sum())
        rule = f"validation must be between 1 and {most}, so that each class keeps an image to train on"
        require(1 <= validation <= most, rule, validation=validation)
        # Raw generator output, because NumPy guarantees no other stream across versions.
        order = np.argsort(np.random.PCG64(seed).random_raw(len(self.y_train)), kind="stable")
        chosen = [
            order[self.y_train[order] == label][:share] for label, share in enumerate(_shares(counts, validation))
        ]
        held_out = np.zeros(len(self.y_train), bool)
        held_out[np.concatenate(chosen)] = True
        return np.flatnonzero(~held_out).astype(np.int64), np.flatnonzero(held_out).astype(np.int64)


def _shares(counts: np.ndarray, total: int) -> np.ndarray:
    """Distribute `total` images in proportion to `counts`, largest remainder first, leaving one image of each class."""
    shares = counts * total // counts.sum()
    while shares.sum() < total:
        missing = np.where(shares < counts - 1, counts * total - shares * counts.sum(), np.iinfo(np.int64).min)
        shares[np.argmax(missing)] += 1
    return shares


def spread(items: Sequence[T], most: int) -> Sequence[T]:
    """Return at most `most` evenly spaced items: an array for an array, else a list."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return items[places] if isinstance(items, np.ndarray) else [items[place] for place in places]
