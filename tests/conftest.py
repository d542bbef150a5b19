"""Fixtures: a tiny data set and network with every feature that matters for freezing, saved models, a cache."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `training` has it, which comes too late behind keras here

import keras
import pytest
from browser import chromium, page  # noqa: F401  # fixtures
from tiny import TINY, tiny_dataset
from tiny_models import save_tiny_models

from benchmarks.data import photographs
from models import registry


def pytest_collection_modifyitems(items):
    if os.environ.get("THAW_OFFLINE") == "1":
        for item in items:
            if item.get_closest_marker("network"):
                item.add_marker(pytest.mark.skip(reason="THAW_OFFLINE=1"))


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Every test starts from the same random state, whichever ran before it."""
    keras.utils.set_random_seed(0)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty Thaw cache for this test."""
    monkeypatch.setenv("THAW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny_network(monkeypatch):
    """The name of a tiny registered network with BatchNormalization, a skip connection and two phases."""
    monkeypatch.setitem(registry._SPECS, TINY.name, TINY)
    return TINY.name


@pytest.fixture
def dataset():
    """240 images of 3 classes that a small network can learn."""
    return tiny_dataset()


@pytest.fixture
def own_photographs(monkeypatch):
    """Only the photographs in the repository, so that no test downloads the others."""
    own = [each for each in photographs.listed_photographs() if each.remote is None]
    monkeypatch.setattr(photographs, "listed_photographs", lambda: own)
    return own


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """A folder of two saved models of CIFAR-10's classes, with Grad-CAM: tiny_a, the more accurate one, and tiny_b."""
    root = tmp_path_factory.mktemp("saved_models")
    save_tiny_models(root)
    return root
