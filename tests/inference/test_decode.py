"""Which files are images, and that each decodes to the RGB pixels that a viewer shows; arrays too."""

import contextlib
import re
import struct

import numpy as np
import pytest
from image_files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    chunk,
    encoded,
    photograph,
    png_file,
    segment,
    specimens,
)
from PIL import Image

from inference.decode import (
    FORMATS,
    ImageError,
    UndecodableImageError,
    UnsupportedFormatError,
    decode,
    from_array,
    sniff,
)

EXACT = {"PNG": {}, "BMP": {}, "GIF": {}, "WEBP": {"lossless": True}}
RED, BLUE, WHITE, BLACK = (255, 0, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def pixels(data: bytes, **options) -> np.ndarray:
    image = decode(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_content_decides_the_format(file_format):
    data = encoded(photograph(), file_format)
    assert sniff(data) == file_format
    assert decode(data).size == (48, 32)
    assert np.abs(pixels(data).astype(int) - np.asarray(photograph())).mean() < 12  # a GIF has 256 colours


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "WEBP"])
def test_lossless_formats_decode_exactly(file_format):
    data = encoded(photograph(), file_format, **EXACT[file_format])
    np.testing.assert_array_equal(pixels(data), np.asarray(photograph()))


@pytest.mark.parametrize("file_format", ["TIFF", "ICO", "PPM", "TGA", "PCX", "DDS", "ICNS", "JPEG2000", "PDF", "SGI"])
def test_no_other_format_of_pillow_is_tried(file_format):
    with pytest.raises(UnsupportedFormatError):
        decode(encoded(photograph(64, 64), file_format))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF88a" + bytes(100),
        b"\x89PNG\n\x1a\n" + bytes(100),
        b"\xff\xd8",
        b"B",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"RIFF",
        b" " + encoded(photograph(), "PNG"),
    ],
)
def test_a_file_of_no_supported_format_is_an_error(data):
    with pytest.raises(UnsupportedFormatError):
        decode(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(file_format, orientation):
    upright = np.full((48, 32, 3), 255, np.uint8)
    upright[:16, :16] = RED
    # By the EXIF definition: where row 0 and column 0 of the stored pixels are in the upright image.
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1],
        8: upright.swapaxes(0, 1)[:, ::-1],
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(turned[orientation])), file_format, exif=exif, quality=95)
    difference = np.abs(pixels(data).astype(int) - upright)
    assert difference.shape == upright.shape
    assert difference.mean() < 8


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"MM", b"garbage" * 9, b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", b"\0" * 9]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_data_is_ignored(file_format, exif):
    assert decode(encoded(photograph(), file_format, exif=b"Exif\0\0" + exif)).size == (48, 32)


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_transparency_is_composited_over_white(file_format):
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 0), (255, 0, 0, 128), (255, 0, 0, 255)])
    options = EXACT[file_format] | ({"exact": True} if file_format == "WEBP" else {})
    np.testing.assert_allclose(pixels(encoded(image, file_format, **options))[0], [WHITE, (255, 127, 127), RED], atol=1)


TWO_COLOURS = chunk(b"PLTE", bytes([*RED, *RED, *BLUE]))


@pytest.mark.parametrize(
    ("row", "colour", "extra", "expected"),
    [
        ([0, 0, 0, 128, 0, 255], GREY_ALPHA, [], [WHITE, (127,) * 3, BLACK]),
        ([1, 2, 3, 1, 2, 4, 9, 9, 9], RGB, [chunk(b"tRNS", b"\0\1\0\2\0\3")], [WHITE, (1, 2, 4), (9, 9, 9)]),
        ([7, 8, 9], GREY, [chunk(b"tRNS", b"\0\x08")], [(7,) * 3, WHITE, (9,) * 3]),
        ([0, 1, 2], PALETTE, [TWO_COLOURS, chunk(b"tRNS", b"\0\x80")], [WHITE, (255, 127, 127), BLUE]),
    ],
    ids=["grey and alpha", "one colour of RGB", "one grey", "palette"],
)
def test_every_kind_of_png_transparency(row, colour, extra, expected):
    data = png_file(3, 1, b"\0" + bytes(row), *extra, colour=colour)
    np.testing.assert_allclose(pixels(data)[0], expected, atol=1)


def test_the_transparent_value_of_16_bit_grey_becomes_white():
    row = b"\0" + struct.pack(">2H", 0x1020, 0x1021)
    data = png_file(2, 1, row, chunk(b"tRNS", struct.pack(">H", 0x1020)), depth=16, colour=GREY)
    assert pixels(data).tolist() == [[[255] * 3, [16] * 3]]


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_bit_depth_spans_black_to_white(depth):
    samples = np.unique(np.linspace(0, 2**depth - 1, 5).astype(int))
    bits = "".join(format(sample, f"0{depth}b") for sample in samples)
    bits += "0" * (-len(bits) % 8)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    found = pixels(png_file(len(samples), 1, row, depth=depth, colour=GREY))[0]
    np.testing.assert_allclose(found, np.repeat(samples[:, None] * 255 / (2**depth - 1), 3, axis=1), atol=0.51)


@pytest.mark.parametrize("colour", [RGB, RGB_ALPHA])
def test_16_bit_colour_becomes_8_bit(colour):
    values = [0x0000, 0x8000, 0xFFFF] + ([0xFFFF] if colour == RGB_ALPHA else [])
    row = b"\0" + struct.pack(f">{len(values)}H", *values)
    np.testing.assert_allclose(pixels(png_file(1, 1, row, depth=16, colour=colour))[0, 0], (0, 128, 255), atol=1)


@pytest.mark.parametrize(
    ("mode", "file_format"), [("1", "PNG"), ("1", "BMP"), ("L", "JPEG"), ("L", "BMP"), ("P", "PNG")]
)
def test_grey_and_palettes_become_rgb(mode, file_format):
    image = Image.new("RGB", (16, 8), "white")
    image.paste("black", (8, 0, 16, 8))
    found = pixels(encoded(image.convert(mode), file_format))
    assert tuple(found[4, 2]) == WHITE
    assert tuple(found[4, 13]) == BLACK


@pytest.mark.parametrize("marked", [True, False], ids=["Adobe's marker", "no marker"])
def test_cmyk_is_inverted_as_in_adobe_and_browsers(marked):
    image = Image.new("CMYK", (32, 16), (255, 0, 0, 0))  # cyan
    image.paste((0, 0, 0, 255), (16, 0, 32, 16))  # black
    data = encoded(image, "JPEG", quality=95)
    marker = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    assert marker in data
    found = pixels(data if marked else data.replace(marker, b"")).astype(int)
    assert np.abs(found[8, 4] - (0, 255, 255)).max() < 6
    assert np.abs(found[8, 28]).max() < 6


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_decodes_to_its_first_frame(file_format):
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, file_format, save_all=True, append_images=[second], **EXACT[file_format])
    assert (pixels(data) == RED).all()


def test_a_gif_with_comments_keeps_its_transparency():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    data = encoded(image, "GIF", transparency=0, comment=b"a " * 400, save_all=True, append_images=[image], loop=0)
    assert b"NETSCAPE" in data and b"a a a" in data
    np.testing.assert_array_equal(pixels(data)[0], [WHITE, BLUE])


@pytest.mark.parametrize("name", specimens())
def test_a_truncated_file_is_an_error(name):
    data = specimens()[name]
    decode(data)
    for end in sorted({*range(1, 80), *range(80, len(data), max(1, len(data) // 150))}):
        try:
            decode(data[:end])
        except UnsupportedFormatError:
            assert end < 12, "only the first bytes decide the format"
        except UndecodableImageError:
            pass
        else:  # only data after the last pixel, or frames after the first, is missing
            assert end > (0.3 if "animated" in name else 0.9) * len(data)


@pytest.mark.parametrize("name", specimens())
@pytest.mark.filterwarnings("ignore")
def test_corrupted_files_raise_nothing_but_image_errors(name):
    random, data = np.random.default_rng(0), specimens()[name]
    for _ in range(200):
        damaged = bytearray(data)
        for position in random.integers(0, min(len(data), 2 ** random.integers(4, 14)), 4):
            damaged[position] = random.integers(256)
        with contextlib.suppress(ImageError):
            assert decode(bytes(damaged), max_pixels=1_000_000).mode == "RGB"


@pytest.mark.parametrize(
    ("hint", "size"), [(None, (1600, 1200)), (600, (1600, 1200)), (300, (800, 600)), (96, (400, 300)), (10, (200, 150))]
)
def test_a_jpeg_is_decoded_at_the_size_that_is_needed(hint, size):
    data = encoded(photograph(1600, 1200), "JPEG", quality=90)
    assert decode(data, size_hint=hint).size == size


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "GIF", "BMP"])
def test_other_formats_ignore_the_size_hint(file_format):
    assert decode(encoded(photograph(400, 300), file_format), size_hint=10).size == (400, 300)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_an_array_of_numbers_from_0_to_255_is_an_image(dtype):
    assert from_array(np.array([[[0, 127, 255]]], dtype)).getpixel((0, 0)) == (0, 127, 255)


def test_an_array_has_one_three_or_four_channels():
    grey = np.array([[0, 200]], np.uint8)
    for array in (grey, grey[..., None]):
        assert np.asarray(from_array(array)).tolist() == [[[0] * 3, [200] * 3]]
    alpha = np.array([[[255, 0, 0, 0], [255, 0, 0, 255]]], np.uint8)
    assert np.asarray(from_array(alpha)).tolist() == [[list(WHITE), list(RED)]]
    assert from_array(np.zeros((4, 6, 3), np.uint8)[:, ::-1]).size == (6, 4)
    assert from_array(np.full((1, 1), 99.6)).getpixel((0, 0)) == (100, 100, 100), "fractions are rounded"


@pytest.mark.parametrize("shape", [(), (3,), (4, 4, 2), (4, 4, 5), (1, 4, 4, 3), (0, 4, 3), (4, 0), (4, 4, 0)])
def test_an_array_of_another_shape_is_an_error(shape):
    with pytest.raises(ImageError, match=rf"Received: {re.escape(str(shape))}"):
        from_array(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("value", [-1, 256, np.nan, np.inf, 1j, True, "a", None])
def test_an_array_of_other_values_is_an_error(value):
    with pytest.raises(ImageError, match=r"0\.\.255"):
        from_array(np.full((2, 2), value))
