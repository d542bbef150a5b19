"""Files that are small to send and dear to decode are refused at once, and files that only look like it are not."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from image_files import bombs, encoded, gif_file, jpeg_of_scans, photograph, png_file, segment

from inference.decompression_bombs import MAX_EXIF_SEGMENTS, MAX_SCANS, MAX_SIDE
from inference.images import TooManyPixelsError, UndecodableImageError, decode

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import json, resource, sys, time, warnings

from image_files import bombs, encoded, photograph

from inference.images import TooManyPixelsError, UndecodableImageError, decode

warnings.simplefilter("ignore")
files = bombs()
for file_format in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
    decode(encoded(photograph(), file_format))  # so that the decoders themselves are in memory
for name, data in files.items():
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        error = f"none, {decode(data).size}"
    except (TooManyPixelsError, UndecodableImageError) as refusal:
        error = type(refusal).__name__
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps([name, error, megabytes, time.process_time() - started]))
"""


def test_bombs_are_refused_in_no_time_and_no_memory():
    command = [sys.executable, "-c", SCRIPT]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OPENBLAS_NUM_THREADS": "1"}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    results = [json.loads(line) for line in output.splitlines()]
    assert len(results) == len(bombs())
    for name, error, megabytes, seconds in results:
        assert error in ("TooManyPixelsError", "UndecodableImageError"), name
        assert megabytes < 16, name
        assert seconds < 0.5, name


def test_the_pixel_budget_is_the_callers(tmp_path):
    data = encoded(photograph(40, 25), "PNG")
    assert decode(data, max_pixels=1000).size == (40, 25)
    with pytest.raises(TooManyPixelsError, match=r"at most 999 pixels.*Received: 40 × 25 = 1,000\."):
        decode(data, max_pixels=999)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_the_budget_holds_for_every_format(file_format):
    with pytest.raises(TooManyPixelsError):
        decode(encoded(photograph(40, 25), file_format), max_pixels=999, size_hint=4)


def test_the_longest_side():
    assert decode(png_file(MAX_SIDE, 1, bytes(MAX_SIDE + 1), colour=0)).size == (MAX_SIDE, 1)
    with pytest.raises(TooManyPixelsError, match="65,535 a side"):
        decode(png_file(MAX_SIDE + 1, 1, bytes(MAX_SIDE + 2), colour=0))


def test_a_jpeg_may_have_as_many_scans_as_encoders_write_and_more():
    assert decode(jpeg_of_scans(64, 64, MAX_SCANS - 1)).size == (64, 64)
    with pytest.raises(UndecodableImageError):
        decode(jpeg_of_scans(64, 64, MAX_SCANS))
    assert decode(encoded(photograph(), "JPEG", progressive=True)).size == (48, 32)


def test_a_jpeg_may_have_exif_data_in_several_segments():
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
def test_extensions_of_a_gif_cost_linear_time(extension):
    started = time.process_time()
    assert decode(gif_file(extension * 300_000)).size == (4, 4)  # 24 s by Pillow alone, for comments of 2 MB
    assert decode(gif_file(b"!\xfe" + b"\x01a" * 600_000 + b"\0")).size == (4, 4)
    assert time.process_time() - started < 3
