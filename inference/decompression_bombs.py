"""Decompression bombs: small image files that are expensive to decode, whatever their number of pixels.

Each check covers a case where Pillow or libjpeg needs more than linear time, or more memory than the pixels, so that a file of
kilobytes to megabytes could occupy a server for seconds to an hour. Ordinary files stay far below the limits.
"""

MAX_SIDE = 65_535  # the limit of JPEG and GIF; a compressed BMP skips 255 rows, however long, in four bytes
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten, each a pass over the whole image
MAX_EXIF_SEGMENTS = 128  # of a JPEG: 128 × 64 KiB = 8 MiB; for each segment Pillow copies all earlier ones


def sanitize(name: str, data: bytes) -> bytes:
    """Return an image file of format `name` that is safe to open: a GIF reduced to what its first frame needs, else unchanged.

    Raises:
        ValueError: a JPEG with too many scans or EXIF segments.
        IndexError: a GIF that ends before its first frame.
    """
    if name == "JPEG":
        # In a scan a byte 255 is followed by 0 or a restart marker, so this counts every scan, thumbnails' included.
        if data.count(b"\xff\xda") > MAX_SCANS:
            raise ValueError(f"A JPEG may have at most {MAX_SCANS} scans.")
        if data.count(b"Exif\x00\x00") > MAX_EXIF_SEGMENTS:
            raise ValueError(f"A JPEG may have at most {MAX_EXIF_SEGMENTS} EXIF segments.")
    return _without_comments(data) if name == "GIF" else data


def _without_comments(data: bytes) -> bytes:
    """Drop a GIF's extensions before its first frame, except for the last graphic control extension.

    Pillow joins comments block by block, in quadratic time.
    """
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)  # after the screen descriptor and palette
    screen, control = data[:position], b""
    while (kind := data[position : position + 1]) != b",":
        if kind == b"!":
            start = position
            position += 2
            while data[position]:  # the length of a block; 0 ends the extension
                position += 1 + data[position]
            if data[start + 1] == 0xF9:
                control = data[start : position + 1]
        elif kind in (b"", b";"):
            raise IndexError("The GIF has no frame.")
        position += 1
    return screen + control + data[position:]
