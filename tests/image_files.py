"""Image files built byte by byte, where no encoder writes what a test needs."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6  # PNG's colour types


def encoded(image: Image.Image, file_format: str, **options) -> bytes:
    """Return an image as a file that Pillow encoded."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def photograph(width: int = 48, height: int = 32, seed: int = 0) -> Image.Image:
    """Return an RGB image of soft blobs, which compresses like a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a PNG chunk with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, colour: int = RGB, interlace: int = 0) -> bytes:
    """Return a PNG's magic and IHDR."""
    return PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png_file(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = RGB) -> bytes:
    """Return a PNG of raw rows, each after its filter byte; `extra` chunks come before them."""
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return png_header(width, height, depth, colour) + b"".join(extra) + data + chunk(b"IEND")


def bmp_file(
    width: int, height: int, pixels: bytes, *, bits: int = 8, compression: int = 0, colours: int = 256, header: int = 40
) -> bytes:
    """Return a BMP, with a grey palette up to 8 bits; compression 1 is RLE8, 2 is RLE4."""
    palette = bytes(value for grey in range(colours) for value in (grey, grey, grey, 0)) if bits <= 8 else b""
    offset = 14 + 40 + len(palette)
    info = struct.pack(
        "<IiiHHIIiiII", header, width, height, 1, bits, compression, len(pixels), 0, 0, len(palette) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + palette + pixels


def gif_file(*extensions: bytes, width: int = 4, height: int = 4, frame: tuple[int, int] | None = None) -> bytes:
    """Return a black GIF of one frame after `extensions`; `frame` is the frame's size where it differs from the screen's."""
    plain = encoded(Image.new("L", frame or (width, height)), "GIF")
    position = 13 + (3 << (plain[10] & 7) + 1)
    screen = plain[:6] + struct.pack("<HH", width, height) + plain[10:position]
    return screen + b"".join(extensions) + plain[plain.index(b",", position) :]


def segment(marker: int, data: bytes) -> bytes:
    """Return a JPEG segment."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """Return a grey progressive JPEG. Each scan is 31 bytes, and costs the decoder a pass over the whole image."""
    blocks = -(-width // 8) * -(-height // 8)
    header = segment(0xDB, b"\0" + b"\1" * 64) + segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    one_code = bytes([1] + [0] * 15)  # a Huffman table of one code of one bit
    tables = segment(0xC4, b"\0" + one_code + b"\0") + segment(
        0xC4, b"\x10" + one_code + b"\xe0"
    )  # no difference; a run
    brightness = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-blocks // 8))
    runs = -(-blocks // 32767)  # 0xe0: 16384 and 14 bits more blocks in which nothing changes
    bits = ("0" + "1" * 14) * runs
    bits += "1" * (-len(bits) % 8)
    nothing = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    scan = segment(0xDA, b"\1\1\0\x01\x3f\0") + nothing
    return b"\xff\xd8" + header + tables + brightness + scan * scans + b"\xff\xd9"


def with_size(data: bytes, width: int, height: int) -> bytes:
    """Return an image file with another size in its header and the same pixels."""
    if data.startswith(PNG_MAGIC):
        header = struct.pack(">II", width, height) + data[24:29]
        return data[:8] + chunk(b"IHDR", header) + data[33:]
    if data.startswith(b"GIF"):
        return data[:6] + struct.pack("<HH", width, height) + data[10:]
    if data.startswith(b"BM"):
        return data[:18] + struct.pack("<ii", width, height) + data[26:]
    if data.startswith(b"\xff\xd8"):
        start = next(i for i in range(len(data)) if data[i : i + 1] == b"\xff" and data[i + 1] in (0xC0, 0xC2))
        return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]
    if data[12:16] == b"VP8X":
        return data[:24] + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little") + data[30:]
    raise ValueError(f"Unknown image file. Received: {data[:16]!r}")


def decompression_bombs() -> dict[str, bytes]:
    """Return files that are small to send and expensive to decode. Each must be rejected at once."""
    grey = encoded(Image.new("L", (4, 4)), "PNG")
    zeros = zlib.compress(bytes(20_000_000), 9)  # 19 KB
    wide = bmp_file(4_000_000, 1, b"\0\2\0\xff", compression=1)  # the four bytes mean "skip 255 rows"
    jpeg, webp = encoded(photograph(), "JPEG"), encoded(Image.new("RGBA", (4, 4), "#00000080"), "WEBP")
    animated = encoded(photograph(8, 8), "WEBP", save_all=True, append_images=[photograph(8, 8, seed=1)])
    gif, bmp = gif_file(), bmp_file(4, 4, bytes(16))
    exif = segment(0xE1, b"Exif\0\0" + b"a" * 100)
    return {
        "png of 50000 x 50000 with ten bytes of data": png_header(50_000, 50_000)
        + chunk(b"IDAT", zlib.compress(bytes(10))),
        "png of 2^31-1 squared": with_size(grey, 2**31 - 1, 2**31 - 1),
        "png of 20 million pixels, all present": png_header(5000, 4000, 8, GREY)
        + chunk(b"IDAT", zlib.compress(bytes(5001 * 4000), 9))
        + chunk(b"IEND"),
        "png of one pixel by 20 million": with_size(grey, 1, 20_000_000),
        "png with a row of 100000 pixels": png_file(100_000, 1, bytes(100_001), colour=GREY),
        "png with a text of 20 MB": grey[:33] + chunk(b"zTXt", b"a\0\0" + zeros) + grey[33:],
        "png with a profile of 20 MB": grey[:33] + chunk(b"iCCP", b"a\0\0" + zeros) + grey[33:],
        "png with an international text of 20 MB": grey[:33] + chunk(b"iTXt", b"a\0\1\0\0\0" + zeros) + grey[33:],
        "jpeg of 65535 squared": with_size(jpeg, 65_535, 65_535),
        "jpeg of 5000 x 4000": with_size(jpeg, 5000, 4000),
        "jpeg of 10000 scans": jpeg_of_scans(4000, 4000, 10_000),
        "jpeg of 10000 EXIF segments": jpeg[:2] + exif * 10_000 + jpeg[2:],
        "gif of 65535 squared": with_size(gif, 65_535, 65_535),
        "gif with a frame larger than its screen": gif_file(width=1, height=1, frame=(5000, 4000)),
        "webp canvas of 16383 squared": with_size(animated, 16_383, 16_383),
        "webp canvas of 2^24 squared": with_size(animated, 2**24, 2**24),
        "webp with alpha of 16383 squared": with_size(webp, 16_383, 16_383),
        "bmp of 2^31-1 squared": with_size(bmp, 2**31 - 1, 2**31 - 1),
        "bmp of 2^31-1, top down": with_size(bmp, 2**31 - 1, -(2**31 - 1)),
        "bmp of 5000 x 4000": with_size(bmp, 5000, 4000),
        "bmp that skips 255 rows, RLE8": wide,
        "bmp that skips 255 rows, RLE4": bmp_file(4_000_000, 1, b"\0\2\0\xff", bits=4, compression=2, colours=16),
    }


def specimens() -> dict[str, bytes]:
    """Return a valid file of every supported kind, of an image of 48 × 32."""
    image, other, alpha = photograph(), photograph(seed=1), photograph().convert("RGBA")
    alpha.putalpha(128)
    animated = {"save_all": True, "append_images": [other]}
    return {
        "jpeg": encoded(image, "JPEG"),
        "progressive jpeg": encoded(image, "JPEG", progressive=True),
        "png": encoded(image, "PNG"),
        "palette png": encoded(image.quantize(), "PNG"),
        "animated png": encoded(image, "PNG", **animated),
        "lossy webp": encoded(image, "WEBP"),
        "lossless webp": encoded(alpha, "WEBP", lossless=True),
        "animated webp": encoded(image, "WEBP", **animated),
        "gif": encoded(image, "GIF"),
        "animated gif": encoded(image, "GIF", **animated),
        "bmp": encoded(image, "BMP"),
        "palette bmp": encoded(image.quantize(), "BMP"),
    }
