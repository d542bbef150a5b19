"""How unlike the images that it learned from a model finds an image: by its energy, and by the nearest of them.

NNGuide (Park et al. 2023, arXiv 2309.14888) on the averages of the last feature map, which the model computes anyway. Of the
training images a sample is kept, in few directions: some hundred kilobytes.
"""

import dataclasses
import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.saved.card import OOD_FILE, Card, ModelFileError, model_file
from runtime.files import sha256_of

OOD_THRESHOLD = 0.05
"""What `in_distribution` has to be below for an image to be called unlike what was learned: one in twenty of those that are
like it is called so too. OpenOOD's operating point (Zhang et al. 2023, arXiv 2306.09301), where 95 % are let pass.
"""
TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class OodDetector:
    """A sample of what a model makes of its training images, and the scores of held-back images.

    Attributes:
        directions: (C, D), orthonormal columns: where the training images' features, scaled to length 1, are long.
        bank: (n, D), those features in these directions, each times its energy.
        neighbours: k: the mean over the k nearest of the bank counts, from 1 to n.
        kernel: (C, classes), of the layer that makes logits of the features; (C, 0) where there is no such layer, and every
            energy is taken to be 1: what is left are nearest neighbours (Sun et al. 2022, arXiv 2204.06507).
        bias: (classes,), the layer's.
        levels: (q,) float32, ascending: scores of held-back images at q equally spaced quantiles, from the least to the most.
    """

    directions: np.ndarray
    bank: np.ndarray
    neighbours: int
    kernel: np.ndarray
    bias: np.ndarray
    levels: np.ndarray

    def __post_init__(self) -> None:
        for name in ("directions", "bank", "kernel", "bias", "levels"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32))
        object.__setattr__(self, "neighbours", int(self.neighbours))
        shapes = [each.shape for each in (self.directions, self.bank, self.kernel, self.bias)]
        fit = [len(shape) for shape in shapes] == [2, 2, 2, 1] and (
            shapes[0][1] == shapes[1][1] and shapes[0][0] == shapes[2][0] and shapes[2][1:] == shapes[3]
        )
        if not fit or not 1 <= self.neighbours <= shapes[1][0]:
            raise ValueError(
                "directions (C, D), bank (n, D), kernel (C, classes) and bias (classes,) must fit together, and neighbours be "
                f"from 1 to n. Received: {shapes}, neighbours={self.neighbours}"
            )
        if self.levels.ndim != 1 or len(self.levels) == 0 or not (np.diff(self.levels) >= 0).all():
            raise ValueError(f"levels must be a row of ascending numbers. Received: {self.levels}")

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the energy times the mean similarity to the nearest images: (b,) for features (b, C); higher is more alike."""
        lengths = np.sqrt(np.vecdot(features, features))[:, np.newaxis]
        similarity = features / np.maximum(lengths, TINY) @ self.directions @ self.bank.T  # (b, n)
        similarity.partition(-self.neighbours, axis=1)
        nearest = similarity[:, -self.neighbours :].mean(axis=1)
        return nearest * energies(features, self.kernel, self.bias)

    def in_distribution(self, features: np.ndarray) -> np.ndarray:
        """Return the share, 0..1, of held-back images that are at least as unlike: (b,) for features (b, C)."""
        return np.interp(self.scores(features), self.levels, self._shares)

    @functools.cached_property
    def _shares(self) -> np.ndarray:
        """The share of held-back images below each level; kept, because every answer needs it."""
        return np.linspace(0, 1, len(self.levels))

    def save(self, path: Path) -> None:
        """Write everything to an `.npz` file, directions and bank as float16."""
        arrays = dataclasses.asdict(self)
        for name in ("directions", "bank"):
            arrays[name] = arrays[name].astype(np.float16)
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)


def energies(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the negative free energies (b,): log sum exp of the logits (Liu et al. 2020, arXiv 2010.03759).

    Args:
        features: (b, C).
        kernel: (C, classes); without classes, all energies are 1.
        bias: (classes,).
    """
    if not len(bias):
        return np.ones(len(features), np.float32)
    return np.logaddexp.reduce(features @ kernel + bias, axis=1)


def read_ood_detector(folder: Path, card: Card) -> OodDetector | None:
    """Return what stands beside a model, or None where its card names no such file.

    Raises:
        ModelFileError: if the file is missing or damaged, or is not the one of the card.
    """
    if OOD_FILE not in card.sha256:
        return None
    file = model_file(folder, OOD_FILE)
    if not file.is_file() or card.sha256[OOD_FILE] != sha256_of(file):
        raise ModelFileError(
            f"{file} is missing, or is not the file that card.json describes: make it anew by "
            f"`python -m training.export.ood {folder}`."
        )
    try:
        with np.load(file) as arrays:
            return OodDetector(**arrays)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(f"{file} cannot be read: {error}") from error
