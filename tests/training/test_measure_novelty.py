"""The comparison of novelty scores, on two tiny models and small sets."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_dataset

from inference.classifier import load_classifier
from training import measure_novelty
from training.cifar10 import CLASS_NAMES
from training.measure_novelty import SHIPPED
from training.novelty_scores import SCORES


@pytest.fixture
def small_world(monkeypatch):
    """Sets of which one is like what was learned and one is not."""
    dataset = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    monkeypatch.setattr(measure_novelty, "load_cifar10", lambda: dataset)

    def outside_sets(half, folder=None):
        part = slice(0, 40) if half == "choice" else slice(40, 80)
        stripes = np.zeros((20, 24, 24, 3), np.uint8)
        stripes[:, ::3] = np.random.default_rng(half == "report").integers(60, 255, (20, 1, 1, 3))
        return {
            "near same": list(map(Image.fromarray, dataset.x_test[part])),
            "far stripes": list(map(Image.fromarray, stripes)),
        }

    monkeypatch.setattr(measure_novelty, "outside_sets", outside_sets)
    monkeypatch.setattr(measure_novelty, "SIZES", ((50, 4, 2),))


def open_view(folder):
    classifier = load_classifier(folder)
    return lambda image: classifier.view(image).pixels


def test_every_score_is_asked_about_every_set(small_world, saved_models, tmp_path):
    result = measure_novelty.measure_novelty(open_view, saved_models, tmp_path, ["tiny_a", "tiny_b"])
    assert json.loads((tmp_path / "novelty.json").read_text()) == result
    assert result["sets"] == {"near same": {"choice": 40, "report": 40}, "far stripes": {"choice": 20, "report": 20}}
    deep, linear = result["models"]["tiny_a"], result["models"]["tiny_b"]
    assert "nearest neighbours of 50 images in 4 directions, k = 2" in linear["scores"]
    assert set(linear["scores"]) >= set(SCORES) and SHIPPED not in linear["scores"], "tiny_b has no novelty.npz"
    assert {SHIPPED, "nearest neighbours"} <= set(deep["scores"]) and "energy" not in deep["scores"], "a hidden layer"
    for half in ("choice", "report"):
        assert deep["scores"][SHIPPED][half]["far stripes"] > 0.95
        assert 0.3 < deep["scores"][SHIPPED][half]["near same"] < 0.7
        warned = deep["warned"][half]
        assert warned["far stripes"] > 0.5 and warned["of the ten classes"] < 0.2
        assert set(warned) == {"of the ten classes", "photographs", "near same", "far stripes"}
    assert linear["warned"] is None
