"""The photographs: each with its source, enough of every class in either half, and what is not here is fetched."""

from collections import Counter

import pytest
from PIL import Image

from benchmarks.data.photographs import FOLDER, HALVES, listed_photographs, photographs
from training.data.cifar10 import CLASS_NAMES


def test_every_photograph_has_its_author_licence_and_source():
    found = listed_photographs()
    assert len({each.file for each in found}) == len(found) >= 100
    for each in found:
        assert all((each.author, each.licence, each.source))
        assert bool(each.address) == bool(each.sha256)
        if each.remote is not None:
            assert each.address.startswith("https://") and len(each.sha256) == 64
            assert each.path.parts[-3:] == ("photographs", each.label, each.path.name)


def test_every_file_of_the_project_is_listed_and_a_photograph():
    own = [each for each in listed_photographs() if each.remote is None]
    assert {each.path for each in own} == set(FOLDER.glob("*/*"))
    for each in own:
        with Image.open(each.path) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB") and 130 <= max(image.size) <= 512


def test_both_halves_hold_every_class(own_photographs):
    for half in HALVES:
        counts = Counter(each.label for each in listed_photographs() if each.half == half)
        assert set(counts) == set(CLASS_NAMES) and min(counts.values()) >= 3
    assert set(photographs(HALVES[0])) | set(photographs(HALVES[1])) == set(photographs()) == set(own_photographs)
    assert all(each.half == half for half in HALVES for each in photographs(half))
    with pytest.raises(ValueError, match="half='third'"):
        photographs("third")
