"""Pictures of none of CIFAR-10's classes, to measure by: what installed packages bring, noise, and folders of one's own.

python -m benchmarks.data.ood_datasets outside/                                     CIFAR-100, which Keras downloads: near-cifar100
python -m benchmarks.data.ood_datasets outside/ --tiny-imagenet tiny-imagenet-200   and of a copy of Tiny ImageNet: near-tiny_imagenet
python -m benchmarks.data.ood_datasets outside/ --dtd dtd                           and of a copy of its textures: far-dtd

`python benchmark.py --ood_detector --outside outside` then measures by them.
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
NOISES = 400  # of each half
MOST = 1000  # of one half of a folder
LEAST = 64  # side of a picture, in pixels: none of them is to be told by its size alone
# In scikit-image: none of these shows one of the ten classes.
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
CIFAR100_IMAGES = 916  # as many as a shortened copy of its file held, by which this was first measured
DTD_CLASSES = 10
# Of Tiny ImageNet: cats, dogs, birds, frogs, cars, vans and boats. Hoofed animals of other kinds than deer and horses stay.
NEAR_THE_TEN = frozenset(
    (
        "n02123045",
        "n02123394",
        "n02124075",
        "n02085620",
        "n02094433",
        "n02099601",
        "n02099712",
        "n02106662",
        "n02113799",
        "n01855672",
        "n02002724",
        "n02056570",
        "n02058221",
        "n01641577",
        "n01644900",
        "n02814533",
        "n03100240",
        "n03670208",
        "n04285008",
        "n03977966",
        "n03796401",
        "n03662601",
        "n03447447",
    )
)


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
    """Write the first test images of CIFAR-100 (Krizhevsky 2009) as PNGs into `folder`/near-cifar100, and return that.

    Its classes are other ones than CIFAR-10's, of the same kind; a few, such as pickup trucks, come near. Keras downloads it
    (170 MB) and checks its sum.
    """
    import keras

    _, (images, _) = keras.datasets.cifar100.load_data()
    pictures = ((f"{number:04d}.png", Image.fromarray(image)) for number, image in enumerate(images[:CIFAR100_IMAGES]))
    source = f"the first {CIFAR100_IMAGES} of CIFAR-100's test images, from the data set's own file"
    return _write(folder / "near-cifar100", pictures, source)


def write_tiny_imagenet(folder: Path, copy: Path) -> Path:
    """Write every fourth validation image of Tiny ImageNet (Stanford 2015) into `folder`/near-tiny_imagenet, and return that.

    Classes that come near one of the ten are left out: see `NEAR_THE_TEN`.

    Args:
        folder: of the sets.
        copy: the unpacked data set, which has val/val_annotations.txt in it.
    """
    lines = (copy / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    labels = dict(line.split("\t")[:2] for line in lines)
    names = sorted(name for name, label in labels.items() if label not in NEAR_THE_TEN)[::4]
    source = (
        f"every fourth validation image of Tiny ImageNet, without {len(NEAR_THE_TEN)} classes that come near the ten"
    )
    return _write(folder / "near-tiny_imagenet", ((name, copy / "val" / "images" / name) for name in names), source)


def write_dtd(folder: Path, copy: Path) -> Path:
    """Write the first ten classes of the Describable Textures Dataset (Cimpoi et al. 2014) into `folder`/far-dtd.

    Args:
        folder: of the sets.
        copy: the unpacked data set, which has images/banded and the others in it.

    Returns:
        The set's folder.
    """
    kinds = sorted(path for path in (copy / "images").iterdir() if path.is_dir())[:DTD_CLASSES]
    files = [file for kind in kinds for file in sorted(kind.glob("*.jpg"))]
    source = f"the first {DTD_CLASSES} classes of the Describable Textures Dataset"
    return _write(folder / "far-dtd", ((f"{file.parent.name}_{file.name}", file) for file in files), source)


def _write(target: Path, pictures: Iterable[tuple[str, Image.Image | Path]], source: str) -> Path:
    """Make a set of images, or copies of files, under their names: whole or not at all."""
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
    parser.add_argument("--tiny-imagenet", type=Path, metavar="COPY", help="the unpacked folder tiny-imagenet-200")
    parser.add_argument(
        "--dtd", type=Path, metavar="COPY", help="the unpacked folder of the Describable Textures Dataset"
    )
    options = parser.parse_args(arguments)
    try:
        if options.tiny_imagenet:
            print(write_tiny_imagenet(options.folder, options.tiny_imagenet))
        if options.dtd:
            print(write_dtd(options.folder, options.dtd))
    except (OSError, ValueError) as error:
        print(f"outside: {error}", file=sys.stderr)
        return 1
    try:
        print(write_cifar100(options.folder))
    except Exception as error:  # of Keras's download, which wraps what went wrong in a bare one
        print(
            f"outside: CIFAR-100 could not be had: {error}\nTry again, or put pictures into {options.folder}/near-NAME "
            "yourself.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
