"""Decompression bombs are rejected at once, and files that resemble them are not."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from image_files import decompression_bombs, encoded, gif_file, jpeg_of_scans, photograph, png_file, segment

from inference.decode import FORMATS, TooManyPixelsError, UndecodableImageError, decode
from inference.decompression_bombs import MAX_EXIF_SEGMENTS, MAX_SCANS, MAX_SIDE

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import json, resource, time, warnings

from image_files import decompression_bombs, encoded, photograph

from inference.decode import FORMATS, TooManyPixelsError, UndecodableImageError, decode

warnings.simplefilter("ignore")
files = decompression_bombs()
for file_format in FORMATS:
    decode(encoded(photograph(), file_format))  # loads the decoders
for name, data in files.items():
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        error = f"none, {decode(data).size}"
    except (TooManyPixelsError, UndecodableImageError) as rejected:
        error = type(rejected).__name__
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([name, error, megabytes, time.process_time() - started]))
"""


def test_bombs_are_rejected_without_time_or_memory():
    environment = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests"))), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT]  # a process of its own, to measure its peak memory
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    results = [json.loads(line) for line in output.splitlines()]
    assert len(results) == len(decompression_bombs())
    for name, error, megabytes, seconds in results:
        assert error in ("TooManyPixelsError", "UndecodableImageError"), name
        assert megabytes < 16, name
        assert seconds < 0.5, name


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_limit_on_pixels_holds_for_every_format(file_format):
    data = encoded(photograph(40, 25), file_format)
    assert decode(data, max_pixels=1000).size == (40, 25)
    with pytest.raises(TooManyPixelsError, match=r"999.*Received: 40 × 25 = 1,000"):
        decode(data, max_pixels=999, size_hint=4)


def test_the_limit_on_a_side():
    assert decode(png_file(MAX_SIDE, 1, bytes(MAX_SIDE + 1), colour=0)).size == (MAX_SIDE, 1)
    with pytest.raises(TooManyPixelsError):
        decode(png_file(MAX_SIDE + 1, 1, bytes(MAX_SIDE + 2), colour=0))


def test_the_limit_on_scans_of_a_jpeg():
    assert decode(jpeg_of_scans(64, 64, MAX_SCANS - 1)).size == (64, 64)
    with pytest.raises(UndecodableImageError):
        decode(jpeg_of_scans(64, 64, MAX_SCANS))
    assert decode(encoded(photograph(), "JPEG", progressive=True)).size == (48, 32)


def test_the_limit_on_exif_segments_of_a_jpeg():
    jpeg = encoded(photograph(), "JPEG")
    exif = segment(0xE1, b"Exif\0\0" + b"a" * 100)
    assert decode(jpeg[:2] + exif * MAX_EXIF_SEGMENTS + jpeg[2:]).size == (48, 32)
    with pytest.raises(UndecodableImageError):
        decode(jpeg[:2] + exif * (MAX_EXIF_SEGMENTS + 1) + jpeg[2:])


@pytest.mark.parametrize(
    "extension",
    [b"!\xfe\x01a\0", b"!\xff\x01a\0", b"!\xf9\x04\0\0\0\0\0"],
    ids=["comments", "applications", "controls"],
)
def test_extensions_of_a_gif_take_linear_time(extension):
    started = time.process_time()
    assert decode(gif_file(extension * 300_000)).size == (4, 4)  # 24 s in Pillow alone, for 2 MB of comments
    assert decode(gif_file(b"!\xfe" + b"\x01a" * 600_000 + b"\0")).size == (4, 4)
    assert time.process_time() - started < 3
