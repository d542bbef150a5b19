"""Out-of-distribution (OOD) detection by NNGuide (Park et al. 2023, arXiv 2309.14888): energy times nearest neighbours.

The features are the averages of the last feature map, which the model computes anyway. The detector keeps a sample of the
training images' features in few directions, some hundred kilobytes.
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
from runtime.validation import require

OOD_THRESHOLD = 0.05
"""Images whose `in_distribution` is below this are flagged as OOD, and so are 5 % of in-distribution images. This is OpenOOD's
operating point of 95 % true positives (Zhang et al. 2023, arXiv 2306.09301).
"""
TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class OodDetector:
    """Scores images by their similarity to a sample of training images, and ranks the scores among held-out images.

    Attributes:
        directions: (C, D), orthonormal columns: the principal directions of the training images' normalised features.
        bank: (n, D), those features in these directions, each times its energy.
        neighbours: k, 1..n: the number of nearest neighbours in the bank to average over.
        kernel: (C, classes), of the layer from features to logits. (C, 0) if there is no such layer: every energy is then 1,
            and the score is that of nearest neighbours (Sun et al. 2022, arXiv 2204.06507).
        bias: (classes,), of the same layer.
        levels: (q,) float32, ascending: scores of held-out images at q equally spaced quantiles from 0 to 1.

    Raises:
        ValueError: if the shapes do not agree, `neighbours` is out of range, or `levels` does not ascend.
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
        agree = [len(shape) for shape in shapes] == [2, 2, 2, 1] and (
            shapes[0][1] == shapes[1][1] and shapes[0][0] == shapes[2][0] and shapes[2][1:] == shapes[3]
        )
        rule = "shapes must be those of directions (C, D), bank (n, D), kernel (C, classes) and bias (classes,)"
        require(agree, rule, shapes=shapes)
        require(1 <= self.neighbours <= shapes[1][0], "neighbours must be from 1 to n", neighbours=self.neighbours)
        ascending = self.levels.ndim == 1 and len(self.levels) and (np.diff(self.levels) >= 0).all()
        require(ascending, "levels must be a vector of ascending numbers", levels=self.levels)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return energy times mean similarity to the nearest images, (b,), for features (b, C); low scores are OOD."""
        lengths = np.sqrt(np.vecdot(features, features))[:, np.newaxis]
        similarity = features / np.maximum(lengths, TINY) @ self.directions @ self.bank.T  # (b, n)
        similarity.partition(-self.neighbours, axis=1)
        nearest = similarity[:, -self.neighbours :].mean(axis=1)
        return nearest * energies(features, self.kernel, self.bias)

    def in_distribution(self, features: np.ndarray) -> np.ndarray:
        """Return the share, 0..1, of held-out images whose scores are at most as high, (b,), for features (b, C)."""
        return np.interp(self.scores(features), self.levels, self._shares)

    @functools.cached_property
    def _shares(self) -> np.ndarray:
        """The share of held-out images below each level; cached, because every prediction needs it."""
        return np.linspace(0, 1, len(self.levels))

    def save(self, path: Path) -> None:
        """Write the detector to an `.npz` file, directions and bank as float16."""
        arrays = dataclasses.asdict(self)
        for name in ("directions", "bank"):
            arrays[name] = arrays[name].astype(np.float16)
        with open(path, "wb") as file:
            np.savez_compressed(file, **arrays)


def energies(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return the negative free energies (b,): log sum exp of the logits (Liu et al. 2020, arXiv 2010.03759).

    The shapes are (b, C), (C, classes) and (classes,). With 0 classes, all energies are 1.
    """
    if not len(bias):
        return np.ones(len(features), np.float32)
    return np.logaddexp.reduce(features @ kernel + bias, axis=1)


def read_ood_detector(folder: Path, card: Card) -> OodDetector | None:
    """Return the OOD detector in a model's folder, or None if its card lists none.

    Raises:
        ModelFileError: if the file is missing or damaged, or its checksum differs from the card's.
    """
    if OOD_FILE not in card.sha256:
        return None
    file = model_file(folder, OOD_FILE)
    if not file.is_file() or card.sha256[OOD_FILE] != sha256_of(file):
        raise ModelFileError(
            f"{file} must have the sha256 in card.json, and is missing or differs. "
            f"`python -m training.export.ood {folder}` writes it again."
        )
    try:
        with np.load(file) as arrays:
            return OodDetector(**arrays)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(f"{file} cannot be read: {error}") from error
