"""Image files that are small to send and dear to decode, in ways that a limit on pixels does not catch.

Each check is for a place where Pillow or libjpeg takes more than linear time or more memory than pixels, so that a file
of a few kilobytes to a few megabytes would hold a server for seconds to an hour. Files of cameras, editors and browsers
stay far below the limits.
"""

MAX_SIDE = 65_535  # JPEG's and GIF's own; a compressed BMP skips 255 rows in four bytes, of whatever length they are
MAX_SCANS = 100  # of a progressive JPEG; encoders write about ten, and each costs a pass over the whole image
MAX_EXIF_SEGMENTS = 128  # of a JPEG: as many of 64 KiB as fill 8 MiB; Pillow copies what it has for each further one


def defused(name: str, data: bytes) -> bytes:
    """Return an image file as it is safe to open: its own bytes, and of a GIF only what the first frame needs.

    Args:
        name: the format, as `images.sniff` tells it.
        data: the file.

    Raises:
        ValueError: a JPEG of too many scans or EXIF segments.
        IndexError: a GIF that ends before its first frame.
    """
    if name == "JPEG":
        # Inside a scan a byte 255 is always followed by 0 or a restart marker, so this finds every scan, and thumbnails'.
        if data.count(b"\xff\xda") > MAX_SCANS:
            raise ValueError(f"A JPEG may have at most {MAX_SCANS} scans.")
        if data.count(b"Exif\x00\x00") > MAX_EXIF_SEGMENTS:
            raise ValueError(f"A JPEG may have at most {MAX_EXIF_SEGMENTS} EXIF segments.")
    return _without_comments(data) if name == "GIF" else data


def _without_comments(data: bytes) -> bytes:
    """Drop what stands between a GIF's screen and its first frame, but for the last graphic control extension.

    Pillow joins comments block by block, in quadratic time.
    """
    position = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)  # behind the screen and its palette
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
