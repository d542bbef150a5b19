"""The detailed evaluation of shipped models, on two tiny ones."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from tiny import tiny_dataset

from benchmarks.data.remote_files import FileUnavailableError
from benchmarks.experiments import evaluation as shelf_evaluation
from benchmarks.experiments.evaluation import evaluate_saved_models
from benchmarks.report import comparison_tables
from benchmarks.report.report import report_text
from training.data.cifar10 import CLASS_NAMES


@pytest.fixture
def store(saved_models, tmp_path):
    for name in ("tiny_a", "tiny_b"):
        shutil.copytree(saved_models / name, tmp_path / "store" / name)
    return tmp_path / "store"


@pytest.fixture
def dataset(monkeypatch):
    """Ten classes for two tiny models to be asked, and a list of doubtful images that cannot be had."""

    def refuse():
        raise FileUnavailableError("no network")

    made = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    monkeypatch.setattr(shelf_evaluation, "load_cifar10", lambda: made)
    monkeypatch.setattr(shelf_evaluation, "fetch_review", refuse)
    monkeypatch.setattr(shelf_evaluation, "FROM", "tiny_b")
    monkeypatch.setattr(shelf_evaluation, "TO", "tiny_a")
    return made


def test_every_model_is_measured_and_the_mistakes_are_drawn(store, dataset, tmp_path, monkeypatch):
    lists = {"some": {"what": "w", "source": "s", "images": [0, 5]}}
    monkeypatch.setattr(shelf_evaluation, "fetch_review", lambda: lists)
    result = evaluate_saved_models(store, tmp_path / "results")
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


def test_lists_that_cannot_be_had_are_left_out(store, dataset, tmp_path, caplog):
    result = evaluate_saved_models(store, tmp_path / "results")
    assert result["review"] == {} and all(model["doubtful"] == {} for model in result["models"].values())
    assert "The accuracy without doubtful test images is left out. no network" in caplog.text
    assert comparison_tables.doubtful(result, {}) == ""
    assert "The test set itself" not in report_text({"evaluation": result})


def test_labels_in_another_order_are_answered_as_they_are_named(store, dataset, tmp_path):
    before = evaluate_saved_models(store, tmp_path / "results")["models"]["tiny_a"]
    card = store / "tiny_a" / "card.json"
    stored = json.loads(card.read_text())
    card.write_text(json.dumps(stored | {"labels": stored["labels"][::-1]}))
    after = evaluate_saved_models(store, tmp_path / "results")["models"]["tiny_a"]
    columns = np.array(before["confusion_matrix"])
    assert (np.array(after["confusion_matrix"]) == columns[:, ::-1]).all()
    assert columns.any(axis=0).sum() > 1, "the model's answers differ, so that the order matters"


def test_a_model_that_is_compared_must_be_there(store, dataset, tmp_path):
    shutil.rmtree(store / "tiny_b")
    with pytest.raises(ValueError, match="tiny_b and tiny_a must be on the store"):
        evaluate_saved_models(store, tmp_path / "results")
