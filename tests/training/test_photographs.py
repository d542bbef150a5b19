"""The photographs that come with the project: each with its source, enough of every class in either half."""

from collections import Counter

import pytest
from PIL import Image

from training.cifar10 import CLASS_NAMES
from training.photographs import FOLDER, HALVES, photographs


def test_every_file_has_its_author_licence_and_source():
    found = photographs()
    assert {each.path for each in found} == set(FOLDER.glob("*/*"))
    assert len(found) >= 60
    for each in found:
        assert all((each.author, each.licence, each.source)) and each.kind in ("scene", "cutout")
        with Image.open(each.path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB") and 130 <= max(image.size) <= 512


def test_both_halves_hold_every_class():
    assert photographs(HALVES[0]) + photographs(HALVES[1]) == sorted(
        photographs(), key=lambda each: HALVES.index(each.half)
    )
    for half in HALVES:
        counts = Counter(each.label for each in photographs(half))
        assert set(counts) == set(CLASS_NAMES) and min(counts.values()) >= 3
    with pytest.raises(ValueError, match="half must be one of choice, report, or None. Received: half='third'"):
        photographs("third")
