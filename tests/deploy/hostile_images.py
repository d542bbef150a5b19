"""Files that are no image or cannot be decoded, each with the status that rejects it."""

import gzip
import io
import struct
import zipfile
import zlib

import numpy as np
from image_files import (
    GREY,
    PALETTE,
    PNG_MAGIC,
    bmp_file,
    chunk,
    decompression_bombs,
    encoded,
    photograph,
    png_file,
    png_header,
    segment,
    specimens,
    with_size,
)

from inference.decode import ImageError, UnsupportedFormatError, decode

HTML, SCRIPT = b"<html><script>alert(1)</script></html>", b"/*\n*/=1;alert(1);//"


def status_of(data: bytes) -> int | None:
    """Return the status that rejects an image, or None where it can be decoded."""
    try:
        decode(data)
    except UnsupportedFormatError:
        return 415
    except ImageError:
        return 422
    return None


def hostile_images() -> dict[str, bytes]:
    """Return every file by name; all are different and all are rejected."""
    kinds = {
        "bomb": decompression_bombs(),
        "other format": _other_formats(),
        "polyglot": _polyglots(),
        "header": _damaged_headers(),
        "truncated": _truncated(),
        "corrupted": _corrupted(),
        "first frame": _damaged_first_frames(),
    }
    files = {f"{kind}: {name}": data for kind, group in kinds.items() for name, data in group.items()}
    names = {data: name for name, data in reversed(files.items())}  # two files may be the same once truncated
    return {name: data for data, name in reversed(names.items())}


def _rejected(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if status_of(data) is not None}


def _other_formats() -> dict[str, bytes]:
    """What people and attackers send in place of an image."""
    image, packed = photograph(64, 64), io.BytesIO()
    png = encoded(image, "PNG")
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("picture.png"), png)
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    formats = ["TIFF", "ICO", "PPM", "TGA", "PCX", "DDS", "ICNS", "JPEG2000"]
    return {
        **{name.lower(): encoded(image, name) for name in formats},
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /OpenAction << /S /JavaScript /JS (app.alert(1)) >> >>\nendobj\n%%EOF\n",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>',
        "svg of a billion laughs": f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]><svg>&l9;</svg>'.encode(),
        "html": b"<!DOCTYPE html><script>alert(document.domain)</script>",
        "zip": packed.getvalue(),
        "gzip of a png": gzip.compress(png, mtime=0),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0heicmif1",
        "text": b"a picture of a cat",
        "zeros": bytes(1000),
        "noise": np.random.default_rng(0).bytes(1000),
        "a png after a space": b" " + png,
        "base64 of a png": b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
    }


def _polyglots() -> dict[str, bytes]:
    """Files that begin like an image and are something else."""
    return {
        "gif and javascript": b"GIF89a" + SCRIPT,
        "png and html": PNG_MAGIC + HTML,
        "png header and html": png_header(8, 8) + HTML,
        "png header and end": png_header(8, 8) + chunk(b"IEND"),
        "jpeg and javascript": b"\xff\xd8\xff" + SCRIPT,
        "jpeg comment with php, no image": b"\xff\xd8" + segment(0xFE, b"<?php phpinfo(); ?>") + b"\xff\xd9",
        "bmp and javascript": b"BM=1;alert(1);" + bytes(40),
        "webp and html": b"RIFF" + struct.pack("<I", len(HTML) + 4) + b"WEBP" + HTML,
        "webp without chunks": b"RIFF\x04\0\0\0WEBP",
        **{f"only {magic!r}": magic for magic in (PNG_MAGIC, b"\xff\xd8\xff", b"GIF89a", b"BM")},
        "apple's png": PNG_MAGIC + chunk(b"CgBI", b"\x50\0\x20\x02") + png_header(4, 4)[8:] + chunk(b"IEND"),
    }


def _damaged_headers() -> dict[str, bytes]:
    """Images with impossible headers."""
    data, row = specimens(), bytes(1 + 3 * 8)
    jpeg, lossy, lossless = data["jpeg"], data["lossy webp"], data["lossless webp"]
    rows = chunk(b"IDAT", zlib.compress(row * 8)) + chunk(b"IEND")
    sound = png_header(8, 8) + rows
    sizes = {"no pixels": (0, 0), "no width": (0, 8), "no height": (8, 0), "the largest size": (2**31 - 1, 2**31 - 1)}
    small = {name: size for name, size in sizes.items() if max(size) < 2**16}
    return _rejected(
        {
            **{f"png of {name}": png_header(*size) + rows for name, size in sizes.items()},
            **{f"bmp of {name}": with_size(data["bmp"], *size) for name, size in sizes.items()},
            **{
                f"{kind} of {name}": with_size(data[kind], *size)
                for kind in ("jpeg", "gif")
                for name, size in small.items()
            },
            **{f"png of depth {depth}": png_header(8, 8, depth) + rows for depth in (0, 3, 5, 32, 255)},
            **{f"png of colour {colour}": png_header(8, 8, 8, colour) + rows for colour in (1, 5, 7, 255)},
            "png with a wider header than rows": png_header(80, 8) + rows,
            "png with a higher header than rows": png_header(8, 80) + rows,
            "png of an unknown interlace": png_header(8, 8, interlace=9) + rows,
            "png with a short header": PNG_MAGIC + chunk(b"IHDR", bytes(4)) + rows,
            "png with a wrong checksum": sound[:29] + bytes(4) + sound[33:],
            "png whose data fails its checksum": sound[:-16] + bytes(4) + sound[-12:],
            "png whose data is not compressed": png_header(8, 8) + chunk(b"IDAT", row * 8) + chunk(b"IEND"),
            "png with a chunk of 4 GB": png_header(8, 8) + b"\xff\xff\xff\xffIDAT" + rows[8:],
            "png with a chunk of a wrong name": png_header(8, 8) + chunk(b"\0\1\2\3", b"x") + rows,
            "png without its palette": png_file(8, 8, bytes(9 * 8), colour=PALETTE),
            "png of an unknown filter": png_file(8, 1, b"\x09" + bytes(8), colour=GREY),
            "jpeg without tables": b"\xff\xd8" + jpeg[jpeg.index(b"\xff\xc0") :],
            **{
                f"jpeg with marker {marker:x}": jpeg.replace(b"\xff\xc0", bytes([255, marker]))
                for marker in (0xEF, 0xC9, 0xC3)
            },
            "jpeg of 12 bits": jpeg.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
            "jpeg of two components": b"\xff\xd8"
            + segment(0xC0, b"\x08\0\x08\0\x08\x02\1\x11\0\2\x11\0")
            + b"\xff\xd9",
            "jpeg of 255 components": b"\xff\xd8" + segment(0xC0, b"\x08\0\x08\0\x08\xff" + bytes(765)) + b"\xff\xd9",
            "jpeg of 100,000 starts": b"\xff\xd8" * 100_000,
            "gif of comments only": b"GIF89a\x04\0\x04\0\0\0\0" + b"!\xfe\x01a\0" * 1000 + b";",
            "bmp of negative width": with_size(data["bmp"], -48, 32),
            **{f"bmp header of {size} bytes": bmp_file(4, 4, bytes(16), header=size) for size in (41, 2**32 - 1)},
            "bmp of 7 bits": bmp_file(4, 4, bytes(64), bits=7),
            "bmp with a jpeg inside": bmp_file(4, 4, jpeg, bits=24, compression=4),
            "bmp without pixels": bmp_file(4, 4, b"", bits=24),
            "webp with too large a length": lossy[:4] + b"\xff\xff\xff\x7f" + lossy[8:],
            "webp with an odd length": lossless[:4] + b"\x05\0\0\0" + lossless[8:],
        }
    )


def _truncated() -> dict[str, bytes]:
    """Every kind of file, cut in its magic, headers and palette, at chunk borders and in its pixels."""
    cuts = {}
    markers = (b"IDAT", b"PLTE", b"fcTL", b"VP8", b"ANMF", b"\xff\xda", b"\xff\xc4", b"!\xf9")
    for name, data in specimens().items():
        borders = [start for marker in markers if (start := data.find(marker)) > 0]
        parts = [len(data) * percent // 100 for percent in (25, 50, 80)]
        for end in sorted({1, 5, 9, 13, 20, 29, 33, 45, *borders, *(border + 6 for border in borders), *parts}):
            cuts[f"{name} after {end} bytes"] = data[:end]
    return _rejected(cuts)


def _corrupted() -> dict[str, bytes]:
    """Every kind of file with one to four bytes overwritten, six files each."""
    random, files = np.random.default_rng(1), {}
    for name, data in specimens().items():
        found = {}
        for attempt in range(60):
            damaged = bytearray(data)
            for position in random.integers(2, min(len(data), 2 ** random.integers(5, 12)), random.integers(1, 5)):
                damaged[position] ^= random.integers(1, 256)
            found |= _rejected({f"{name}, attempt {attempt}": bytes(damaged)})
        files |= dict(list(found.items())[:6])
    return files


def _damaged_first_frames() -> dict[str, bytes]:
    """Animations whose first frame is damaged; the sound second frame must not be used in its place."""
    files = {}
    for name, kind in (("animated png", b"IDAT"), ("animated webp", b"VP8 "), ("animated gif", b",")):
        data = specimens()[name]
        start = data.index(kind, 13 + 768 if kind == b"," else 0) + 4
        for size, filling in ((12, b"\xff"), (40, b"\0"), (8, b"\x55")):
            files[f"{name}, {size} bytes"] = data[:start] + filling * size + data[start + size :]
    return _rejected(files)
