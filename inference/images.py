"""An upload becomes the model's input: bytes → RGB → S×S."""

import contextlib
import io

import numpy as np
from PIL import ExifTags, Image

from inference.decompression_bombs import MAX_SIDE, defused

MAX_PIXELS = 16_000_000  # a 12-megapixel photograph passes; Pillow holds 4 bytes a pixel

# What a file of each format begins with, by the formats' own definitions.
MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "WEBP": (b"RIFF",),  # and "WEBP" from byte 8 on
}
FORMATS = tuple(MAGIC)
UPRIGHT = {  # by the EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """Bytes that are no image which can be answered. Its message may be shown to whoever sent them."""


class UnsupportedFormatError(ImageError):
    """Something other than JPEG, PNG, WebP, BMP or GIF."""


class UndecodableImageError(ImageError):
    """An image file that is damaged, or made to be dear to decode."""


class TooManyPixelsError(ImageError):
    """An image with more pixels than are worth decoding."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Image.Image:
    """Decode an image file: of an animation the first frame, upright by its EXIF orientation, transparency over white.

    The format is told by the content and no other is tried, so that nothing poses as something else.

    Args:
        data: a JPEG, PNG, WebP, BMP or GIF file.
        max_pixels: the most pixels, by the file's own account, that are decoded; at least 1.
        size_hint: the side that the image is needed at, in pixels; a JPEG is then decoded at the smallest of 1/1, 1/2, 1/4
            and 1/8 of its size that is at least twice that.

    Returns:
        An image of mode RGB.

    Raises:
        UnsupportedFormatError, TooManyPixelsError, UndecodableImageError: see there.
    """
    name = sniff(data)
    try:
        image = Image.open(io.BytesIO(defused(name, data)), formats=(name,))
        width, height = image.size
        if width * height > max_pixels or max(width, height) > MAX_SIDE:
            raise _too_many(width, height, max_pixels)
        if size_hint is not None:
            image.draft(None, (2 * size_hint, 2 * size_hint))  # does nothing to other formats than JPEG
        image.load()
        return to_rgb(_upright(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, far above any sensible budget
        raise TooManyPixelsError(f"The image has more pixels than the {max_pixels:,} allowed.") from error
    except Exception as error:  # on damaged files Pillow's decoders raise nearly anything
        raise UndecodableImageError(f"The {name} file is damaged or incomplete.") from error


def sniff(data: bytes) -> str:
    """Return the format of an image file by its first bytes: one of `FORMATS`.

    Raises:
        UnsupportedFormatError: if it is none of them.
    """
    for name, beginnings in MAGIC.items():
        if data.startswith(beginnings) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    what = "nothing" if not data else f"{len(data):,} bytes of something else"
    raise UnsupportedFormatError(f"The image must be a JPEG, PNG, WebP, BMP or GIF file. Received: {what}.")


def _too_many(width: int, height: int, max_pixels: int) -> TooManyPixelsError:
    return TooManyPixelsError(
        f"The image must have at most {max_pixels:,} pixels, and {MAX_SIDE:,} a side. "
        f"Received: {width:,} × {height:,} = {width * height:,}."
    )


def _upright(image: Image.Image) -> Image.Image:
    orientation = None
    with contextlib.suppress(Exception):  # damaged EXIF data, of which Pillow raises nearly anything, spoils no picture
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB: transparency over white, 16-bit grey scaled to 8 bits."""
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it to 255, not scale it
        grey = np.array(image, np.float32) / 257.0
        if isinstance(transparent := image.info.get("transparency"), int):
            grey[grey == np.float32(transparent) / 257.0] = 255.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # to convert RGB to RGB is to copy it


def from_array(array: np.ndarray) -> Image.Image:
    """Make an RGB image of an array: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8, or any real type in 0..255.

    Raises:
        ImageError: another shape, or values outside 0..255.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise ImageError(f"An image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Received: {array.shape}")
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iuf" or not (array.min() >= 0 and array.max() <= 255):  # so written, a NaN fails
            raise ImageError(f"An image array must hold numbers in 0..255. Received: dtype {array.dtype}")
        array = array.round().astype(np.uint8)
    return to_rgb(Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array))


def resize(image: Image.Image, size: int, mode: str = "thumbnail", resolution: int | None = 32) -> np.ndarray:
    """Bring an RGB image to the model's input: (size, size, 3), float32 in 0..255.

    Args:
        image: of mode RGB.
        size: S, in pixels.
        mode: the card's `resize_mode`. "thumbnail" shows a picture as the images that were learned from show theirs: it takes the middle
            of the longer side, as much as the geometric mean of both sides, squeezes that into a square, shrinks it to
            `resolution` by averaging, and enlarges that bilinearly. "bilinear" takes the largest square in the middle, resizes
            it bilinearly, and smooths first where it shrinks. A square image that is no larger than `resolution` comes out as
            in training either way, to float32's precision, where S is at least as large; training shrinks without smoothing.
        resolution: side of the images that the model learned from, in pixels, by default CIFAR-10's; "thumbnail" needs it.

    Raises:
        ValueError: an unknown `mode`, or a thumbnail of no resolution.
    """
    if mode not in RESIZE_MODES:
        raise ValueError(f"resize_mode must be one of {', '.join(RESIZE_MODES)}. Received: resize_mode={mode!r}")
    if mode == "bilinear":
        return _bilinear(image, _middle(image, min(image.size)), size)
    if resolution is None:
        raise ValueError(
            "resize_mode='thumbnail' needs the resolution of the images that were learned from. Received: None"
        )
    box = left, top, right, bottom = _middle(image, round((image.width * image.height) ** 0.5))
    small = (min(right - left, resolution), min(bottom - top, resolution))
    if small != (right - left, bottom - top):
        image, box = image.resize(small, Image.Resampling.BOX, box), (0, 0, *small)
    return _bilinear(image, box, size)


Box = tuple[int, int, int, int]


def _middle(image: Image.Image, side: int) -> Box:
    """Return the box in the middle of an image that is at most `side` wide and high."""
    width, height = min(side, image.width), min(side, image.height)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return left, top, left + width, top + height


def _bilinear(image: Image.Image, box: Box, size: int) -> np.ndarray:
    width, height = box[2] - box[0], box[3] - box[1]
    factor = min(width, height) // (2 * size)
    # Blocks are averaged first while two pixels are left for each that is wanted: quicker, and a photograph is not copied.
    image = image.reduce(factor, box) if factor > 1 else image.crop(box)
    # Of the box in `image`, whose last blocks may be partial.
    extent = tuple(side / max(factor, 1) for side in (width, height))
    if extent == (size, size):
        return np.asarray(image, np.float32)
    # Channel by channel as floats: as bytes, Pillow would round to whole grey levels between its two passes.
    channels = (
        channel.convert("F").resize((size, size), Image.Resampling.BILINEAR, (0, 0, *extent))
        for channel in image.split()
    )
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


RESIZE_MODES = ("thumbnail", "bilinear")
