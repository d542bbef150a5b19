"""Pictures of none of CIFAR-10's classes, to measure by: what installed packages bring, noise, and folders of one's own.

python -m training.outside outside/     put 2,000 test images of CIFAR-100 into outside/near-cifar100, for `--outside outside`
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from training.datasets import spread
from training.photographs import HALVES

SOURCE = "SOURCE.txt"
SUFFIXES = {".png", ".jpg", ".jpeg"}
NOISES = 400  # of each half
MOST = 1000  # of one half of a folder
LEAST = 64  # side of a picture, in pixels: none of them is to be told by its size alone
# In scikit-image: none of these shows one of the ten classes.
PICTURES = ("camera", "astronaut", "coffee", "coins", "colorwheel", "hubble_deep_field", "immunohistochemistry", "moon", "page",
            "retina", "text")  # fmt: skip
TEXTURES = ("brick", "grass", "gravel")


def outside_sets(half: str, folder: Path | None = None) -> dict[str, list[Image.Image] | list[Path]]:
    """Return the sets by name, RGB pictures or files of pictures each.

    A set "far ..." is of another kind, "near ..." of other classes of the same kind.

    Noise is drawn anew for each half; of a texture it has the upper or the lower part; of every other set every second picture.

    Args:
        half: "choice" to choose by, "report" to state.
        folder: with folders of pictures in it, each a set of its own, named `near-...` or `far-...`; None for none. See
            `source_of` for where such a set is from.

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
            sets[each.name.replace("-", " ", 1)] = spread(files, MOST)
    return sets


def source_of(name: str, folder: Path | None = None) -> str:
    """Return where a set is from: the first line of SOURCE.txt in its folder, "" where none says so or it needs no saying."""
    if folder is None:
        return ""
    file = folder / name.replace(" ", "-", 1) / SOURCE
    lines = file.read_text(encoding="utf-8").strip().splitlines() if file.is_file() else []
    return lines[0] if lines else ""


def write_cifar100(folder: Path) -> Path:
    """Write every fifth test image of CIFAR-100 (Krizhevsky 2009) as a PNG into `folder`/near-cifar100, and return that.

    Its classes are other ones than CIFAR-10's, of the same kind; a few, such as pickup trucks, come near. Keras downloads it
    (170 MB) and checks its sum.
    """
    import keras

    _, (images, _) = keras.datasets.cifar100.load_data()
    target = folder / "near-cifar100"
    partial = target.with_name(".partial-near-cifar100")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for number, image in enumerate(images[::5]):
        Image.fromarray(image).save(partial / f"{number:04d}.png")
    (partial / SOURCE).write_text("every fifth test image of CIFAR-100\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def _of_packages(every_second: slice) -> dict[str, list[Image.Image]]:
    """Return the sets of installed packages. Tiles of one picture are in one half, those of a texture in either part of it."""
    from skimage import data
    from sklearn.datasets import load_digits

    pictures = [np.asarray(getattr(data, name)()) for name in PICTURES[every_second]]
    textures = [getattr(data, name)() for name in TEXTURES]
    halves = [np.array_split(texture, len(HALVES))[every_second.start] for texture in textures]
    return {
        "digits": [_enlarged(digit * (255 / 16)) for digit in load_digits().images[every_second]],  # 8×8, 0..16
        # 25×25, 0..1; the rest are no faces
        "faces": [_enlarged(face * 255) for face in data.lfw_subset()[:100][every_second]],
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


def _enlarged(array: np.ndarray) -> Image.Image:
    return _rgb(array).resize((LEAST, LEAST), Image.Resampling.BICUBIC)


def main(arguments: list[str] | None = None) -> int:
    """Fetch what can be fetched, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the folders of pictures go")
    folder = parser.parse_args(arguments).folder
    try:
        print(write_cifar100(folder))
    except Exception as error:  # of Keras's download, which wraps what went wrong in a bare one
        print(
            f"outside: CIFAR-100 could not be had: {error}\nTry again, or put pictures into {folder}/near-NAME yourself.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
