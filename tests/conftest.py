"""What the tests share: a tiny labelled data set, a tiny network with everything that makes freezing hard, a cache apart."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
from tiny import TINY, tiny_dataset

from models import registry


def pytest_collection_modifyitems(items):
    if os.environ.get("THAW_OFFLINE") == "1":
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(pytest.mark.skip(reason="THAW_OFFLINE=1"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Thaw cache of the test's own."""
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_network(monkeypatch):
    """The name of a tiny registered network with BatchNormalization, a skip connection and two phases."""
    monkeypatch.setitem(registry._SPECS, TINY.name, TINY)
    return TINY.name


@pytest.fixture
def dataset():
    """240 images of 3 classes that a small network can tell apart."""
    return tiny_dataset()
