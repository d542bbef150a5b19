"""The comparison of ood_detector scores, on two tiny models and small sets."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_dataset

from benchmarks.experiments import ood_detection as ood_detection
from benchmarks.measures.ood_scores import SCORES, SHIPPED, WITHOUT_LOGITS
from inference.classifier import Classifier, load_classifier
from models.saved.card import read_card
from training.data.cifar10 import CLASS_NAMES
from training.export.ood import refit_ood_detector

pytestmark = pytest.mark.usefixtures("own_photographs")


@pytest.fixture
def small_world(monkeypatch):
    """Sets of which one is like what was learned and one is not."""
    dataset = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    monkeypatch.setattr(ood_detection, "load_cifar10", lambda: dataset)

    def outside_sets(half, folder=None):
        part = slice(0, 40) if half == "choice" else slice(40, 80)
        stripes = np.zeros((20, 24, 24, 3), np.uint8)
        stripes[:, ::3] = np.random.default_rng(half == "report").integers(60, 255, (20, 1, 1, 3))
        return {
            "near same": list(map(Image.fromarray, dataset.x_test[part])),
            "far stripes": list(map(Image.fromarray, stripes)),
        }

    monkeypatch.setattr(ood_detection, "outside_sets", outside_sets)
    monkeypatch.setattr(ood_detection, "SIZES", ((50, 4, 2),))
    return dataset


def test_every_score_is_asked_about_every_set(small_world, saved_models, tmp_path, caplog):
    store = shutil.copytree(saved_models, tmp_path / "store")
    assert ood_detection.ood_detection(load_classifier, store, tmp_path, ["tiny_b"]) == {}
    assert "tiny_b has no ood.npz, and is left out." in caplog.text
    card = json.loads((store / "tiny_b" / "card.json").read_text())
    (store / "tiny_b" / "card.json").write_text(json.dumps(card | {"validation_images": 40}))
    assert refit_ood_detector(store / "tiny_b", tiny_dataset(classes=10))
    ood_detection.ood_detection(load_classifier, store, tmp_path, ["tiny_a"])
    result = ood_detection.ood_detection(load_classifier, store, tmp_path, ["tiny_b"])
    assert json.loads((tmp_path / "ood_detection.json").read_text()) == result
    counts = {name: (each["choice"], each["report"]) for name, each in result["sets"].items()}
    assert counts == {"near same": (40, 40), "far stripes": (20, 20)}
    assert len({each["sha256"] for each in result["sets"].values()}) == 2
    deep, linear = result["models"]["tiny_a"], result["models"]["tiny_b"]
    sized = "50 images, 4 directions, k = 2"
    assert set(linear["scores"]) == {*SCORES, sized, SHIPPED}
    assert set(deep["scores"]) == {*WITHOUT_LOGITS, sized, SHIPPED}, "a hidden layer"
    for half in ("choice", "report"):
        assert deep["scores"][SHIPPED][half]["far stripes"] > 0.95
        assert 0.3 < deep["scores"][SHIPPED][half]["near same"] < 0.7
        assert 0 <= deep["scores_of_photographs"][SHIPPED][half]["far stripes"] <= 1
    unlike = deep["unlike"]
    assert unlike["far stripes"] > 0.5 and unlike["of the ten classes"] < 0.2
    assert set(unlike) == {"of the ten classes", "photographs", "near same", "far stripes"}
    assert deep["sha256"] == read_card(store / "tiny_a" / "card.json").sha256["model.onnx"]
    assert result["default"] == "tiny_a", "of equal validation accuracy, the first"


def test_uploads_are_doubted_apart_from_whether_they_are_right(small_world, saved_models, tmp_path, monkeypatch):
    monkeypatch.setattr(ood_detection, "CONDITIONS", ("as it is", "brightness_0.5"))
    asked = []

    class EveryFourthIsUnlike(Classifier):
        def classify(self, source, *arguments, **named):
            answers = super().classify(source, *arguments, **named)
            asked.append(answers)
            return [dataclasses.replace(each, in_distribution=float(n % 4 > 0)) for n, each in enumerate(answers)]

    def open_model(folder):
        opened = load_classifier(folder)
        return EveryFourthIsUnlike(opened.card, opened.engine, opened.ood_detector)

    result = ood_detection.ood_detection(open_model, saved_models, tmp_path, ["tiny_a"])
    found = result["models"]["tiny_a"]["uploads"]
    labels = [CLASS_NAMES[label] for label in small_world.y_test]
    for answers, row in zip(asked[-2:], (found["as it is"], found["brightness_0.5"]), strict=True):
        right = np.array([each.top[0][0] for each in answers]) == labels
        assert row["unlike"] == 0.25
        assert row["accuracy_of_unlike"] == pytest.approx(right[::4].mean())
        others = np.arange(len(right)) % 4 > 0
        assert row["accuracy_of_others"] == pytest.approx(right[others].mean())


def test_rows_of_other_sets_are_not_mixed_in(small_world, saved_models, tmp_path, monkeypatch):
    ood_detection.ood_detection(load_classifier, saved_models, tmp_path, ["tiny_a"])
    monkeypatch.setattr(ood_detection, "TESTED", 30)
    with pytest.raises(ValueError, match="holds rows of other sets: move it away first"):
        ood_detection.ood_detection(load_classifier, saved_models, tmp_path, ["tiny_a"])
