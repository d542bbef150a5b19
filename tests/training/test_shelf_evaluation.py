"""The detailed evaluation of shipped models, on two tiny ones."""

import json
import shutil

import numpy as np
import pytest
from tiny import tiny_dataset

from training import shelf_evaluation
from training.cifar10 import CLASS_NAMES
from training.shelf_evaluation import evaluate_shelf


@pytest.fixture
def shelf(saved_models, tmp_path):
    for name in ("tiny_a", "tiny_b"):
        shutil.copytree(saved_models / name, tmp_path / "shelf" / name)
    return tmp_path / "shelf"


def test_every_model_is_measured_and_the_mistakes_are_drawn(shelf, tmp_path, monkeypatch):
    import dataclasses

    dataset = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    monkeypatch.setattr(shelf_evaluation, "load_cifar10", lambda: dataset)
    monkeypatch.setattr(shelf_evaluation, "FROM", "tiny_b")
    monkeypatch.setattr(shelf_evaluation, "TO", "tiny_a")
    lists = {"some": {"what": "w", "source": "s", "images": [0, 5]}}
    monkeypatch.setattr(shelf_evaluation, "fetch_review", lambda: lists)
    result = evaluate_shelf(shelf, tmp_path / "results")
    assert json.loads((tmp_path / "results" / "evaluation.json").read_text()) == result
    assert set(result["models"]) == {"tiny_a", "tiny_b"}
    images = len(dataset.x_test)
    for model in result["models"].values():
        assert np.sum(model["confusion_matrix"]) == images
        assert model["coverage"][-1]["accuracy"] == pytest.approx(model["accuracy"])
        assert sum(row["images"] for row in model["reliability"]["after"]) == images
        assert model["doubtful"]["some"]["images"] == 2
    off_diagonal = images * (1 - result["models"]["tiny_a"]["accuracy"])
    assert sum(row["after"] for row in result["pairs"]["rows"]) == pytest.approx(off_diagonal)
    assert result["review"]["some"] == {"what": "w", "source": "s", "images": 2}
    assert (tmp_path / "results" / "mistakes.png").stat().st_size > 10_000
