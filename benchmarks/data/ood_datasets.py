"""Out-of-distribution data sets: images of none of CIFAR-10's classes, from installed packages, noise, and folders.

python -m benchmarks.data.ood_datasets FOLDER                                     CIFAR-100: near-cifar100
python -m benchmarks.data.ood_datasets FOLDER --tiny-imagenet tiny-imagenet-200   and of a copy: near-tiny_imagenet
python -m benchmarks.data.ood_datasets FOLDER --dtd dtd                           and of a copy: far-dtd

Then: python benchmark.py ood_detection --folder FOLDER
"""

import argparse
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.data.photographs import HALVES
from training.data.dataset import spread

SOURCE = "SOURCE.txt"
SUFFIXES = {".png", ".jpg", ".jpeg"}
NOISES = 400  # images in each half
MOST = 1000  # images in each half of a folder
SIDE = 64  # pixels, so that no image is recognised by its size alone
# In scikit-image; none shows one of the ten classes.
PICTURES = (
    "camera",
    "astronaut",
    "coffee",
    "coins",
    "colorwheel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "page",
    "retina",
    "text",
)
TEXTURES = ("brick", "grass", "gravel")
CIFAR100_IMAGES = 916  # as in the recorded results
DTD_CLASSES = 10
# Classes of Tiny ImageNet near one of the ten: cats, dogs, birds, frogs, cars, vans and boats.
NEAR_THE_TEN = """
n02123045 n02123394 n02124075 n02085620 n02094433 n02099601 n02099712 n02106662
n02113799 n01855672 n02002724 n02056570 n02058221 n01641577 n01644900 n02814533
n03100240 n03670208 n04285008 n03977966 n03796401 n03662601 n03447447
"""


def ood_datasets(half: str, folder: Path | None = None) -> dict[str, list[Image.Image] | list[Path]]:
    """Return the data sets by name, as RGB images or files.

    "near ..." holds other classes of the same kind, "far ..." other kinds of images. The halves of a set share no image:
    noise is drawn anew, a texture is cut in two, of every other set each half takes every second image.

    Args:
        half: "choice" to make choices on, "report" to report on.
        folder: with folders of images named `near-...` or `far-...`, each a further data set; None for none.

    Raises:
        ValueError: an unknown half, or a folder without such a data set, or with an empty one.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}. Received: half={half!r}")
    every_second = slice(HALVES.index(half), None, len(HALVES))
    sets = {f"far {name}": pictures for name, pictures in _of_packages(every_second).items()}
    sets["far noise"] = _noise(HALVES.index(half))
    if folder is not None:
        named = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.startswith(("near-", "far-")))
        if not named:
            raise ValueError(f"{folder} must hold folders of images named near-... or far-... Received: none")
        for each in named:
            files = sorted(path for path in each.rglob("*") if path.suffix.lower() in SUFFIXES)[every_second]
            if not files:
                raise ValueError(f"{each} must hold at least two images ({', '.join(sorted(SUFFIXES))}).")
            sets[each.name.replace("-", " ", 1)] = spread(files, MOST)
    return sets


def source_of(name: str, folder: Path | None = None) -> str:
    """Return where a data set is from: the first line of SOURCE.txt in its folder, or "" if there is none."""
    if folder is None:
        return ""
    file = folder / name.replace(" ", "-", 1) / SOURCE
    lines = file.read_text(encoding="utf-8").strip().splitlines() if file.is_file() else []
    return lines[0] if lines else ""


def write_cifar100(folder: Path) -> Path:
    """Write the first test images of CIFAR-100 (Krizhevsky 2009) as PNGs into `folder`/near-cifar100, and return that.

    None of its classes is one of CIFAR-10's; a few, such as pickup trucks, are similar. Keras downloads it (170 MB).
    """
    import keras

    _, (images, _) = keras.datasets.cifar100.load_data()
    pictures = ((f"{number:04d}.png", Image.fromarray(image)) for number, image in enumerate(images[:CIFAR100_IMAGES]))
    source = f"the first {CIFAR100_IMAGES} of CIFAR-100's test images, from the data set's own file"
    return _write(folder / "near-cifar100", pictures, source)


def write_tiny_imagenet(folder: Path, copy: Path) -> Path:
    """Write every fourth validation image of Tiny ImageNet (Stanford 2015) into `folder`/near-tiny_imagenet, and return that.

    Args:
        folder: of the data sets.
        copy: the unpacked original, with val/val_annotations.txt. Classes in `NEAR_THE_TEN` are left out.
    """
    lines = (copy / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    labels = dict(line.split("\t")[:2] for line in lines)
    excluded = NEAR_THE_TEN.split()
    names = sorted(name for name, label in labels.items() if label not in excluded)[::4]
    source = f"every fourth validation image of Tiny ImageNet, without {len(excluded)} classes that come near the ten"
    return _write(folder / "near-tiny_imagenet", ((name, copy / "val" / "images" / name) for name in names), source)


def write_dtd(folder: Path, copy: Path) -> Path:
    """Write the first ten classes of the Describable Textures Dataset (Cimpoi et al. 2014) into `folder`/far-dtd.

    Args:
        folder: of the data sets.
        copy: the unpacked original, with images/banded and the others.

    Returns:
        The folder of the data set.
    """
    kinds = sorted(path for path in (copy / "images").iterdir() if path.is_dir())[:DTD_CLASSES]
    files = [file for kind in kinds for file in sorted(kind.glob("*.jpg"))]
    source = f"the first {DTD_CLASSES} classes of the Describable Textures Dataset"
    return _write(folder / "far-dtd", ((f"{file.parent.name}_{file.name}", file) for file in files), source)


def _write(target: Path, pictures: Iterable[tuple[str, Image.Image | Path]], source: str) -> Path:
    """Write images, or copies of files, into a folder, atomically."""
    partial = target.with_name(f".partial-{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, picture in pictures:
        if isinstance(picture, Path):
            shutil.copyfile(picture, partial / name)
        else:
            picture.save(partial / name)
    (partial / SOURCE).write_text(f"{source}\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def _of_packages(every_second: slice) -> dict[str, list[Image.Image]]:
    """Return the data sets of installed packages. All tiles of a picture are in one half; a texture is cut in two."""
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
    return _rgb(array).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def main(arguments: list[str] | None = None) -> int:
    """Write the data sets that are available, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the data sets go")
    parser.add_argument("--tiny-imagenet", type=Path, metavar="COPY", help="the unpacked folder tiny-imagenet-200")
    parser.add_argument("--dtd", type=Path, metavar="COPY", help="the unpacked Describable Textures Dataset")
    options = parser.parse_args(arguments)
    try:
        if options.tiny_imagenet:
            print(write_tiny_imagenet(options.folder, options.tiny_imagenet))
        if options.dtd:
            print(write_dtd(options.folder, options.dtd))
    except (OSError, ValueError) as error:
        print(f"ood_datasets: {error}", file=sys.stderr)
        return 1
    try:
        print(write_cifar100(options.folder))
    except Exception as error:  # Keras raises a bare Exception when a download fails
        hint = f"Try again, or put images into {options.folder}/near-NAME."
        print(f"ood_datasets: Could not fetch CIFAR-100: {error}. {hint}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
