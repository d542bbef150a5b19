"""Unusual image files that are valid."""

import struct

import numpy as np
from image_files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGB_ALPHA,
    bmp_file,
    chunk,
    encoded,
    gif_file,
    jpeg_of_scans,
    photograph,
    png_file,
    png_header,
    segment,
    specimens,
)
from PIL import Image


def odd_images() -> dict[str, bytes]:
    """Return every file by name; each can be decoded."""
    image, data = photograph(), specimens()
    exif = Image.Exif()
    exif[0x0112] = 6
    pixel = {file_format: encoded(image.resize((1, 1)), file_format) for file_format in ("JPEG", "WEBP", "BMP", "GIF")}
    sixteen = np.linspace(0, 65535, 12).astype(">u2")
    half = image.convert("RGBA")
    half.putalpha(128)
    return {
        "png of one pixel": encoded(image.resize((1, 1)), "PNG"),
        **{f"{file_format.lower()} of one pixel": file for file_format, file in pixel.items()},
        **data,
        "png of 1 x 20000": encoded(image.resize((1, 20_000)), "PNG"),
        "jpeg of 65500 x 1": encoded(image.resize((65_500, 1)), "JPEG"),
        "png of 1 bit": encoded(image.convert("1"), "PNG"),
        "png of grey": encoded(image.convert("L"), "PNG"),
        "png of grey and alpha": encoded(half.convert("LA"), "PNG"),
        "png of colour and alpha": encoded(half, "PNG"),
        "png of 2 bits": png_file(4, 1, b"\0\x1b", depth=2, colour=GREY),
        "png of 16 bits of grey": png_file(12, 1, b"\0" + sixteen.tobytes(), depth=16, colour=GREY),
        "png of 16 bits of grey and alpha": png_file(6, 1, b"\0" + sixteen.tobytes(), depth=16, colour=GREY_ALPHA),
        "png of 16 bits of colour": png_file(4, 1, b"\0" + sixteen.tobytes(), depth=16, colour=RGB),
        "png of 16 bits of colour and alpha": png_file(3, 1, b"\0" + sixteen.tobytes(), depth=16, colour=RGB_ALPHA),
        "png of one transparent colour": png_file(1, 1, b"\0\1\2\3", chunk(b"tRNS", b"\0\1\0\2\0\3")),
        "png of a transparent palette": png_file(
            1, 1, b"\0\0", chunk(b"PLTE", b"\1\2\3"), chunk(b"tRNS", b"\0"), colour=PALETTE
        ),
        "png that is interlaced": png_header(1, 1, 8, GREY, interlace=1) + png_file(1, 1, b"\0\7", colour=GREY)[33:],
        "png with text, a profile and a time": encoded(image, "PNG")[:33]
        + chunk(b"tEXt", b"Comment\0<script>alert(1)</script>")
        + chunk(b"tIME", struct.pack(">HBBBBB", 2026, 2, 30, 25, 61, 61))
        + encoded(image, "PNG")[33:],
        "png with html behind it": encoded(image, "PNG") + b"<html><script>alert(1)</script></html>",
        "jpeg of grey": encoded(image.convert("L"), "JPEG"),
        "jpeg of cmyk": encoded(image.convert("CMYK"), "JPEG"),
        "jpeg of 64 scans": jpeg_of_scans(64, 64, 64),
        "jpeg with html in its comment": data["jpeg"][:2]
        + segment(0xFE, b"<script>alert(1)</script>")
        + data["jpeg"][2:],
        "jpeg with a zip behind it": data["jpeg"] + b"PK\x05\x06" + bytes(18),
        "jpeg that lies on its side": encoded(image, "JPEG", exif=exif),
        "webp with damaged exif data": encoded(image, "WEBP", exif=b"Exif\0\0rubbish, and more of it"),
        "jpeg of two pictures": encoded(image, "MPO", save_all=True, append_images=[photograph(seed=1)]),
        "gif with a million bytes of comments": gif_file(b"!\xfe" + b"\x01a" * 500_000 + b"\0"),
        "gif of a screen that its frame exceeds": gif_file(width=1, height=1, frame=(16, 16)),
        "bmp from the top down": bmp_file(4, -4, bytes(range(16))),
        "bmp that is run-length encoded": bmp_file(4, 1, b"\4\xc8\0\0\0\1", compression=1),
        "bmp of 16 bits": bmp_file(4, 4, bytes(32), bits=16),
        "bmp of 32 bits": bmp_file(4, 4, bytes(64), bits=32),
    }
