"""Pictures of none of CIFAR-10's classes, to measure by: what installed packages bring, noise, and folders of one's own."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from training.novelty import spread
from training.photographs import HALVES

SUFFIXES = {".png", ".jpg", ".jpeg"}
NOISES = 400  # of each half
MOST = 1000  # of one half of a folder
# In scikit-image and scikit-learn: none of these shows one of the ten classes.
PICTURES = ("astronaut", "camera", "coffee", "coins", "colorwheel", "hubble_deep_field", "immunohistochemistry", "moon", "page",
            "retina", "text")  # fmt: skip
TEXTURES = ("brick", "grass", "gravel")


def outside_sets(half: str, folder: Path | None = None) -> dict[str, list[Image.Image]]:
    """Return the sets by name, RGB pictures each; "far ..." is of another kind, "near ..." of other classes of the same kind.

    Noise is drawn anew for each half; of a texture it has the upper or the lower part; of every other set every second picture.

    Args:
        half: "choice" to choose by, "report" to state.
        folder: with folders of pictures in it, each a set of its own, named `near-...` or `far-...`; None for none.

    Raises:
        ValueError: an unknown half, or a folder in which there is no such set, or an empty one.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}. Received: half={half!r}")
    every_second = slice(HALVES.index(half), None, len(HALVES))
    sets = {f"far {name}": pictures for name, pictures in _of_packages(every_second).items()}
    sets["far noise"] = _noise(HALVES.index(half))
    if folder is not None:
        named = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.startswith(("near-", "far-")))
        if not named:
            raise ValueError(f"{folder} must hold folders of pictures, named near-... or far-... Received: none")
        for each in named:
            files = sorted(path for path in each.rglob("*") if path.suffix.lower() in SUFFIXES)[every_second]
            if not files:
                raise ValueError(f"{each} must hold at least two pictures ({', '.join(sorted(SUFFIXES))}).")
            sets[each.name.replace("-", " ", 1)] = [_opened(path) for path in spread(files, MOST)]
    return sets


def _of_packages(every_second: slice) -> dict[str, list[Image.Image]]:
    """Return the sets of installed packages. A half's tiles are of pictures of which the other half shows none."""
    from skimage import data
    from sklearn.datasets import load_digits

    pictures = [np.asarray(getattr(data, name)()) for name in PICTURES[every_second]]
    textures = [getattr(data, name)() for name in TEXTURES]
    halves = [np.array_split(texture, len(HALVES))[every_second.start] for texture in textures]
    return {
        "digits": [_rgb(digit * (255 / 16)) for digit in load_digits().images[every_second]],  # 8×8, 0..16
        "faces": [
            _rgb(face * 255) for face in data.lfw_subset()[:100][every_second]
        ],  # 25×25, 0..1; the rest are no faces
        "textures": [_rgb(tile) for texture in halves for tile in _tiles(texture, 64)],
        "pictures": [_rgb(tile) for picture in pictures for tile in _tiles(picture, min(picture.shape[:2]) // 2)],
    }


def _noise(seed: int) -> list[Image.Image]:
    """Return noise of 32×32 pixels, a quarter each: uniform, Gaussian, and uniform smoothed over 1 and over 3 pixels."""
    random, pictures = np.random.default_rng(seed), []
    for number in range(NOISES):
        uniform = Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8))
        normal = Image.fromarray(random.normal(128, 64, (32, 32, 3)).clip(0, 255).astype(np.uint8))
        smooth = [uniform.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 3)]
        pictures.append((uniform, normal, *smooth)[number % 4])
    return pictures


def _tiles(picture: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = picture.shape[:2]
    corners = ((top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side))
    return [picture[top : top + side, left : left + side] for top, left in corners]


def _rgb(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
