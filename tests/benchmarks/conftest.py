"""A world where every network is the tiny one, and every training takes a second."""

import dataclasses
from types import SimpleNamespace

import pytest
from tiny import tiny_dataset

from benchmarks.measures import training_runs
from training import run
from training.data.cifar10 import CLASS_NAMES


@pytest.fixture
def tiny_training(tiny_network, dataset, cache, monkeypatch):
    """Runs train the tiny network on the tiny data set. Returns the network's name."""
    for module in (run, training_runs):
        monkeypatch.setattr(module, "load_cifar10", lambda data_dir=None: dataset)
    monkeypatch.setattr(training_runs, "create_model", lambda name: None)
    for folder in ("datasets", "weights"):
        (cache / folder).mkdir(parents=True)
    return tiny_network


@pytest.fixture
def options(tmp_path):
    """A function that returns the options of an experiment, whose runs and results are in the test's folder."""
    return lambda **chosen: SimpleNamespace(runs=tmp_path / "runs", results=tmp_path, **chosen)


@pytest.fixture
def ten_classes():
    """The tiny data set with CIFAR-10's class names, for the tiny saved models."""
    return dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
