"""Decode an image file or array to RGB."""

import contextlib
import io

import numpy as np
from PIL import ExifTags, Image

from inference.decompression_bombs import MAX_SIDE, sanitize

MAX_PIXELS = 16_000_000  # admits a 12-megapixel photograph; Pillow holds 4 bytes a pixel
MAGIC = {  # the first bytes of a file
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "WEBP": (b"RIFF",),  # and "WEBP" from byte 8 on
}
FORMATS = tuple(MAGIC)
TRANSPOSE = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class ImageError(ValueError):
    """The input is no image that can be classified. The message may be shown to the sender."""


class UnsupportedFormatError(ImageError):
    """The file is not JPEG, PNG, WebP, BMP or GIF."""


class UndecodableImageError(ImageError):
    """The image file is damaged, or is a decompression bomb."""


class TooManyPixelsError(ImageError):
    """The image exceeds the pixel limit."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, size_hint: int | None = None) -> Image.Image:
    """Decode the first frame of an image file to RGB, with EXIF orientation applied and transparency over white.

    Args:
        data: a JPEG, PNG, WebP, BMP or GIF file; its content decides the format, and only that decoder runs.
        max_pixels: limit on width × height in the header; at least 1.
        size_hint: the side in pixels that the caller needs. A JPEG is then decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 of
            its size that is at least twice `size_hint`.

    Raises:
        UnsupportedFormatError, TooManyPixelsError, UndecodableImageError: see their docstrings.
    """
    name = sniff(data)
    try:
        image = Image.open(io.BytesIO(sanitize(name, data)), formats=(name,))
        width, height = image.size
        if width * height > max_pixels or max(width, height) > MAX_SIDE:
            raise TooManyPixelsError(
                f"The image must have at most {max_pixels:,} pixels, and {MAX_SIDE:,} a side. "
                f"Received: {width:,} × {height:,} = {width * height:,}."
            )
        if size_hint is not None:
            image.draft(None, (2 * size_hint, 2 * size_hint))  # JPEG only; a no-op for the other formats
        image.load()
        return to_rgb(_upright(image))
    except ImageError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, far above any sensible `max_pixels`
        raise TooManyPixelsError(f"The image has more pixels than the {max_pixels:,} allowed.") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise UndecodableImageError(f"The {name} file is damaged or incomplete.") from error


def sniff(data: bytes) -> str:
    """Return the format of an image file, one of `FORMATS`, by its first bytes; UnsupportedFormatError if none matches."""
    for name, beginnings in MAGIC.items():
        if data.startswith(beginnings) and (name != "WEBP" or data[8:12] == b"WEBP"):
            return name
    received = "nothing" if not data else f"{len(data):,} bytes of something else"
    raise UnsupportedFormatError(f"The image must be a JPEG, PNG, WebP, BMP or GIF file. Received: {received}.")


def _upright(image: Image.Image) -> Image.Image:
    orientation = None
    with contextlib.suppress(Exception):  # Pillow raises nearly anything on damaged EXIF data
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    return image.transpose(TRANSPOSE[orientation]) if orientation in TRANSPOSE else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to RGB: transparency over white, 16-bit grey scaled to 8 bits."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 255 instead of scaling
        grey = np.array(image, np.float32) / 257.0
        if isinstance(transparent := image.info.get("transparency"), int):
            grey[grey == np.float32(transparent) / 257.0] = 255.0
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # convert("RGB") would copy


def from_array(array: np.ndarray) -> Image.Image:
    """Convert an array (H, W) or (H, W, 1, 3 or 4), uint8 or any real type in 0..255, to an RGB image.

    Raises:
        ImageError: another shape, or values outside 0..255.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)) or 0 in array.shape:
        raise ImageError(f"An image array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). Received: {array.shape}")
    if array.dtype != np.uint8:
        if array.dtype.kind not in "iuf" or not (array.min() >= 0 and array.max() <= 255):  # written so that NaN fails
            raise ImageError(f"An image array must hold numbers in 0..255. Received: dtype {array.dtype}")
        array = array.round().astype(np.uint8)
    return to_rgb(Image.fromarray(array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array))
