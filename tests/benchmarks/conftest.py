"""Measurements of recipes in a world where every network is the tiny one."""

import copy

import pytest

from benchmarks.experiments import accuracy as measure_recipes
from benchmarks.experiments import reference as measure
from training import run
from training.config import make_config


@pytest.fixture
def tiny_recipes(tiny_network, dataset, cache, monkeypatch):
    for module in (run, measure):
        monkeypatch.setattr(module, "load_cifar10", lambda data_dir=None: dataset)
    monkeypatch.setattr(measure, "create_model", lambda name: None)

    def tiny_config(model=None, **choices):
        choices = {"epochs": 1, **choices, "image_size": None, "unfreeze": None, "validation": 24}
        return make_config(model=tiny_network, weights="none", **choices)

    monkeypatch.setattr(measure_recipes, "make_config", tiny_config)
    for folder in ("datasets", "weights"):
        (cache / folder).mkdir(parents=True)
    return tiny_network


@pytest.fixture
def unseen(tiny_recipes, dataset, monkeypatch):
    """Give the data set a test part that nothing can be computed from."""

    class Unseen:
        def __getattr__(self, name):
            pytest.fail("the test set is not to be looked at")

        __getitem__ = __len__ = __array__ = __getattr__

    blind = copy.copy(dataset)
    object.__setattr__(blind, "x_test", Unseen())
    object.__setattr__(blind, "y_test", Unseen())
    monkeypatch.setattr(run, "load_cifar10", lambda data_dir=None: blind)
