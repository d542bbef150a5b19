"""How unlike the images that it learned from a model finds an image: by the nearest of them among its features.

Deep nearest neighbours (Sun et al. 2022, arXiv 2204.06507) on the averages of the last feature map, which the model computes
anyway. Of the training images a sample is kept, in their directions of most variance: some hundred kilobytes.
"""

import dataclasses
import functools
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.card import NOVELTY_FILE, Card, ModelFileError
from models.storage import sha256_of

UNLIKE = 0.05
"""What `in_distribution` has to be below for an image to be called unlike what was learned: one in twenty of those that are
like it is called so too. OpenOOD's operating point (Zhang et al. 2023, arXiv 2306.09301), where 95 % are let pass.
"""
TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, eq=False)
class Novelty:
    """A sample of what a model makes of its training images, and how near to it held-back images come.

    Attributes:
        mean: (C,) float32, of the training images' features.
        directions: (C, D), orthonormal columns: where these vary most.
        bank: (n, D), training images in these directions, scaled to length 1.
        neighbour: k: the k-th nearest of the bank counts, from 1.
        levels: (q,) float32, ascending: scores of held-back images at q equally spaced quantiles, from the least to the most.
    """

    mean: np.ndarray
    directions: np.ndarray
    bank: np.ndarray
    neighbour: int
    levels: np.ndarray

    def __post_init__(self) -> None:
        for name in ("mean", "directions", "bank", "levels"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32))
        object.__setattr__(self, "neighbour", int(self.neighbour))
        shapes = [each.shape for each in (self.mean, self.directions, self.bank)]
        fit = [len(shape) for shape in shapes] == [1, 2, 2] and shapes[1] == (*shapes[0], shapes[2][1])
        if not fit or not 1 <= self.neighbour <= shapes[2][0]:
            raise ValueError(
                "mean (C,), directions (C, D) and bank (n, D) must fit together, and neighbour be from 1 to n. Received: "
                f"{shapes}, neighbour={self.neighbour}"
            )
        if self.levels.ndim != 1 or len(self.levels) == 0 or not (np.diff(self.levels) >= 0).all():
            raise ValueError(f"levels must be a row of ascending numbers. Received: {self.levels}")

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the cosine similarity, -1..1, with the k-th nearest image of the bank: (b,) for features (b, C)."""
        projected = (features - self.mean) @ self.directions
        lengths = np.sqrt(np.vecdot(projected, projected))[:, np.newaxis]
        similarity = projected / np.maximum(lengths, TINY) @ self.bank.T  # (b, n)
        similarity.partition(-self.neighbour, axis=1)
        return similarity[:, -self.neighbour]

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


def read_novelty(folder: Path, card: Card) -> Novelty | None:
    """Return what stands beside a model, or None where its card names no such file.

    Raises:
        ModelFileError: if the file is missing or damaged, or is not the one of the card.
    """
    if NOVELTY_FILE not in card.sha256:
        return None
    file = folder / NOVELTY_FILE
    if not file.is_file() or card.sha256[NOVELTY_FILE] != sha256_of(file):
        raise ModelFileError(f"{file} is missing, or is not the file that card.json describes: make it anew by "
                             f"`python -m training.novelty {folder}`.")  # fmt: skip
    try:
        with np.load(file) as arrays:
            return Novelty(**arrays)
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelFileError(f"{file} cannot be read: {error}") from error
