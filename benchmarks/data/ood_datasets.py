"""Out-of-distribution data sets: images of none of CIFAR-10's classes.

"near ..." holds similar images of other classes, "far ..." other kinds of images.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.data.photographs import HALVES
from training.data.dataset import spread

NOISES = 400  # images in each half
MOST = 1000  # images in each half of a downloaded data set, at most
SIDE = 64  # pixels, so that no image is recognised by its size alone
# In scikit-image; none shows one of the ten classes.
PICTURES = """
camera astronaut coffee coins colorwheel hubble_deep_field immunohistochemistry moon page retina text
""".split()
TEXTURES = ("brick", "grass", "gravel")
CIFAR100_IMAGES = 916  # as in the recorded results
# Classes of Tiny ImageNet that overlap with the ten: cats, dogs, birds, frogs, cars, vans and boats.
NEAR_THE_TEN = """
n02123045 n02123394 n02124075 n02085620 n02094433 n02099601 n02099712 n02106662
n02113799 n01855672 n02002724 n02056570 n02058221 n01641577 n01644900 n02814533
n03100240 n03670208 n04285008 n03977966 n03796401 n03662601 n03447447
""".split()
SOURCES = {
    "far dtd": "the first 10 classes of the Describable Textures Dataset",
    "near cifar100": f"the first {CIFAR100_IMAGES} of CIFAR-100's test images, from the data set's own file",
    "near tiny_imagenet": "every fourth validation image of Tiny ImageNet, without 23 classes that come near the ten",
}


def ood_datasets(
    half: str, dtd: Path | None = None, cifar100: bool = False, tiny_imagenet: Path | None = None
) -> dict[str, list[Image.Image] | list[Path]]:
    """Return the data sets by name, as RGB images or files.

    The halves share no image: noise has another seed, a texture is cut in two, other sets alternate between the halves.

    Args:
        half: "choice" to tune on, "report" for reported results.
        dtd: an unpacked copy of the Describable Textures Dataset (Cimpoi et al. 2014).
        cifar100: whether to add CIFAR-100 (Krizhevsky 2009), which Keras downloads (170 MB).
        tiny_imagenet: an unpacked copy of Tiny ImageNet (Stanford 2015).

    Raises:
        ValueError: an unknown half.
        OSError: files are missing from a copy.
    """
    if half not in HALVES:
        raise ValueError(f"half must be one of {', '.join(HALVES)}. Received: half={half!r}")
    every_second = slice(HALVES.index(half), None, len(HALVES))
    sets = {f"far {name}": images for name, images in _of_packages(every_second).items()}
    sets["far noise"] = _noise(HALVES.index(half))
    if dtd:
        sets["far dtd"] = spread(_dtd(dtd)[every_second], MOST)
    if cifar100:
        sets["near cifar100"] = spread(_cifar100()[every_second], MOST)
    if tiny_imagenet:
        sets["near tiny_imagenet"] = spread(_tiny_imagenet(tiny_imagenet)[every_second], MOST)
    return sets


def _dtd(copy: Path) -> list[Path]:
    kinds = sorted(path for path in (copy / "images").iterdir() if path.is_dir())[:10]
    return [file for kind in kinds for file in sorted(kind.glob("*.jpg"))]


def _cifar100() -> list[Image.Image]:
    import keras

    _, (images, _) = keras.datasets.cifar100.load_data()
    return [Image.fromarray(image) for image in images[:CIFAR100_IMAGES]]


def _tiny_imagenet(copy: Path) -> list[Path]:
    lines = (copy / "val" / "val_annotations.txt").read_text(encoding="utf-8").splitlines()
    labels = dict(line.split("\t")[:2] for line in lines)
    names = sorted(name for name, label in labels.items() if label not in NEAR_THE_TEN)[::4]
    return [copy / "val" / "images" / name for name in names]


def _of_packages(every_second: slice) -> dict[str, list[Image.Image]]:
    """Return the data sets of scikit-learn and scikit-image; all tiles of a picture are in one half."""
    from skimage import data
    from sklearn.datasets import load_digits

    pictures = [np.asarray(getattr(data, name)()) for name in PICTURES[every_second]]
    textures = [getattr(data, name)() for name in TEXTURES]
    halves = [np.array_split(texture, len(HALVES))[every_second.start] for texture in textures]
    return {
        "digits": [_enlarged(digit * (255 / 16)) for digit in load_digits().images[every_second]],  # 8×8, 0..16
        # 25×25, 0..1; the rest of the set are no faces
        "faces": [_enlarged(face * 255) for face in data.lfw_subset()[:100][every_second]],
        "textures": [_rgb(tile) for texture in halves for tile in _tiles(texture, 64)],
        "pictures": [_rgb(tile) for picture in pictures for tile in _tiles(picture, min(picture.shape[:2]) // 2)],
    }


def _noise(seed: int) -> list[Image.Image]:
    """Return 32×32 noise images, a quarter each: uniform, Gaussian, and uniform with a blur of radius 1 and of radius 3."""
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
