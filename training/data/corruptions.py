"""What happens to pictures before somebody uploads them, as deterministic functions of one image and a severity.

The kinds are those of CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv 1903.12261) that uploads suffer from, and what apps,
sites and screenshots do: other sizes, other shapes, frames. The library `imagecorruptions` has severities for 224 pixels
alone; here a severity is what the encoder, the filter or the noise takes. Names are `kind_severity`, and `+` puts one after
the other.
"""

import functools
import io
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

Corruption = Callable[[Image.Image], Image.Image]
FRAME, TITLE_BAR = "#f4f4f4", "#3c3f41"
MOST_SIDE = 4096  # pixels


def jpeg(image: Image.Image, quality: float) -> Image.Image:
    """Store as a JPEG file of this quality (1..95), with halved chroma as cameras and sites do, and read it back."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=round(quality), subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def blur(image: Image.Image, deviation: float) -> Image.Image:
    """Blur with a Gaussian of this deviation in pixels."""
    blurred = ndimage.gaussian_filter(np.asarray(image, np.float32), (deviation, deviation, 0), mode="reflect")
    return Image.fromarray(blurred.round().astype(np.uint8))


def noise(image: Image.Image, deviation: float) -> Image.Image:
    """Add Gaussian noise of this deviation in grey levels; the noise of an image is always the same."""
    pixels = np.asarray(image, np.float32)
    drawn = np.random.default_rng(zlib.crc32(image.tobytes())).normal(0, deviation, pixels.shape)
    return Image.fromarray((pixels + drawn).round().clip(0, 255).astype(np.uint8))


def brightness(image: Image.Image, factor: float) -> Image.Image:
    """Multiply every value by this factor."""
    return ImageEnhance.Brightness(image).enhance(factor)


def contrast(image: Image.Image, factor: float) -> Image.Image:
    """Multiply every value's distance from the image's mean grey by this factor."""
    return ImageEnhance.Contrast(image).enhance(factor)


def pixelate(image: Image.Image, side: float) -> Image.Image:
    """Average over blocks, so that `side` of them make up a side, and keep the size."""
    return image.resize((round(side),) * 2, Image.Resampling.BOX).resize(image.size, Image.Resampling.NEAREST)


def pixels(image: Image.Image, side: float) -> Image.Image:
    """Shrink to this side and enlarge back to the size it had, as a thumbnail that is shown large."""
    return bicubic(image, side).resize(image.size, Image.Resampling.BICUBIC)


def _resize(method: Image.Resampling) -> Callable[[Image.Image, float], Image.Image]:
    def resize(image: Image.Image, side: float) -> Image.Image:
        return image.resize((round(side),) * 2, method)

    return resize


nearest, bilinear, bicubic, lanczos = map(
    _resize, (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
)


def crop(image: Image.Image, share: float) -> Image.Image:
    """Keep the middle, this share of either side."""
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def corner(image: Image.Image, share: float) -> Image.Image:
    """Keep the upper left, this share of either side."""
    return image.crop((0, 0, max(1, round(image.width * share)), max(1, round(image.height * share))))


def stretch(image: Image.Image, ratio: float) -> Image.Image:
    """Make it this many times as wide, which distorts it."""
    return image.resize((max(1, round(image.width * ratio)), image.height), Image.Resampling.BICUBIC)


def bars(image: Image.Image, ratio: float) -> Image.Image:
    """Put black bars to both sides, as players do, until it is this many times as wide as before."""
    width = round(image.width * ratio)
    left = (width - image.width) // 2
    return ImageOps.expand(image, (left, 0, width - image.width - left, 0), "black")


def screenshot(image: Image.Image, share: float) -> Image.Image:
    """Put it into a light window with a dark title bar; the frame's width is this share of the image's side."""
    frame = max(1, round(image.width * share))
    return ImageOps.expand(ImageOps.expand(image, frame, FRAME), (0, frame, 0, 0), TITLE_BAR)


class Kind(NamedTuple):
    """What a corruption does to an image, given a severity from `least` to `most`."""

    change: Callable[[Image.Image, float], Image.Image]
    least: float
    most: float


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "jpeg": Kind(jpeg, 1, 95),
        "blur": Kind(blur, 0.1, 20),
        "noise": Kind(noise, 1, 128),
        "brightness": Kind(brightness, 0.01, 10),
        "contrast": Kind(contrast, 0.01, 10),
        "pixelate": Kind(pixelate, 1, MOST_SIDE),
        "pixels": Kind(pixels, 1, MOST_SIDE),
        "crop": Kind(crop, 0.01, 1),
        "corner": Kind(corner, 0.01, 1),
        "stretch": Kind(stretch, 0.1, 10),
        "bars": Kind(bars, 1, 10),
        "screenshot": Kind(screenshot, 0.01, 2),
        "nearest": Kind(nearest, 1, MOST_SIDE),
        "bilinear": Kind(bilinear, 1, MOST_SIDE),
        "bicubic": Kind(bicubic, 1, MOST_SIDE),
        "lanczos": Kind(lanczos, 1, MOST_SIDE),
    }
)
KEEPING = ("jpeg", "blur", "noise", "brightness", "contrast", "pixelate", "pixels")
"""The kinds that keep an image's size, and so may be views of a training image."""

CLEAN = "as it is"
CONDITIONS = {
    "compression": ("jpeg_75", "jpeg_50", "jpeg_30", "jpeg_10"),
    "blur": ("blur_0.5", "blur_1", "blur_2"),
    "noise": ("noise_8", "noise_16", "noise_32"),
    "light": ("brightness_0.5", "brightness_1.5", "contrast_0.5", "contrast_0.25"),
    "pixelation": ("pixelate_16", "pixelate_8"),
    "resolution": ("bicubic_8", "bicubic_16", "bicubic_24", "bicubic_64", "bicubic_128", "bicubic_512"),
    "shape": ("crop_0.75", "corner_0.75", "stretch_1.5", "stretch_0.67", "bars_1.5", "screenshot_0.25"),
    "enlarged": tuple(
        f"{method}_{side}+jpeg_90"
        for method in ("nearest", "bilinear", "bicubic", "lanczos")
        for side in (96, 224, 640)
    ),
}
"""What the domain gap is measured under, beside `CLEAN`: names of corruptions by their kind."""

# One spelling for each severity, because caches are keyed by the name.
_NAME = re.compile(r"([a-z]+)_([1-9][0-9]*|(?:0|[1-9][0-9]*)\.[0-9]*[1-9])")


def find_corruption(name: str) -> Corruption:
    """Return the corruption called `name`, such as `jpeg_30` or `bicubic_224+jpeg_90`: a function of an RGB image.

    Raises:
        ValueError: no corruption has this name, or its severity is out of range.
    """
    parts = [_single(part) for part in name.split("+")]
    if None in parts:
        raise ValueError(
            f"Unknown corruption. Known: {severities(KINDS)}, each as in jpeg_30, or several joined by +. "
            f"Received: {name!r}"
        )
    return lambda image: functools.reduce(lambda seen, part: part(seen), parts, image)


def severities(kinds: Iterable[str]) -> str:
    """Return the kinds with the severities that they take, such as "jpeg (1 to 95)", for messages."""
    return ", ".join(f"{kind} ({KINDS[kind].least:g} to {KINDS[kind].most:g})" for kind in kinds)


def is_corruption(name: str) -> bool:
    """Whether `name` is one of a single corruption."""
    return _single(name) is not None


def corrupt_batch(images: np.ndarray, name: str) -> np.ndarray:
    """Return images (n, H, W, 3) uint8 after a corruption that keeps their size, same shape and dtype; n may be 0.

    Raises:
        ValueError: no corruption has this name, or it is not one of `KEEPING`.
    """
    for part in name.split("+"):
        if part.split("_")[0] not in KEEPING:
            raise ValueError(f"Only {', '.join(KEEPING)} keep an image's size. Received: {part!r}")
    change = find_corruption(name)
    changed = np.empty_like(images)
    for image, target in zip(images, changed, strict=True):
        target[...] = change(Image.fromarray(image))
    return changed


def _single(name: str) -> Corruption | None:
    match = _NAME.fullmatch(name)
    kind = KINDS.get(match[1]) if match else None
    if kind is None or not kind.least <= float(match[2]) <= kind.most:
        return None
    return functools.partial(_apply, kind.change, float(match[2]))


def _apply(change: Callable[[Image.Image, float], Image.Image], severity: float, image: Image.Image) -> Image.Image:
    return change(image, severity)
