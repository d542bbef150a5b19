"""The measurement of OOD detectors, on two tiny models."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.experiments import ood_detection
from inference.classifier import load_classifier
from models.saved.card import read_card
from training.data.cifar10 import CLASS_NAMES
from training.data.transforms import find_corruption

pytestmark = pytest.mark.usefixtures("own_photographs")


@pytest.fixture
def dataset(ten_classes, monkeypatch):
    """One OOD data set of in-distribution images, and one of stripes."""

    def ood_datasets(half, *_):
        stripes = np.zeros((20, 24, 24, 3), np.uint8)
        stripes[:, ::3] = np.random.default_rng(half == "report").integers(60, 255, (20, 1, 1, 3))
        part = slice(0, 40) if half == "choice" else slice(40, 80)
        images = {"near same": ten_classes.x_test[part], "far stripes": stripes}
        return {name: list(map(Image.fromarray, each)) for name, each in images.items()}

    monkeypatch.setattr(ood_detection, "load_cifar10", lambda: ten_classes)
    monkeypatch.setattr(ood_detection, "ood_datasets", ood_datasets)
    monkeypatch.setattr(ood_detection, "CONDITIONS", ("as it is", "brightness_0.5"))
    return ten_classes


@pytest.fixture
def chosen(options):
    return options(models=["tiny_a"], dtd=None, cifar100=False, tiny_imagenet=None)


def test_detectors_separate_ood_images_and_flag_what_the_classifier_flags(saved_models, dataset, chosen, monkeypatch):
    result = ood_detection.run(chosen, saved_models)
    assert json.loads((chosen.results / "ood_detection.json").read_text()) == result
    counts = {name: (each["choice"], each["report"]) for name, each in result["sets"].items()}
    assert counts == {"near same": (40, 40), "far stripes": (20, 20)}
    row = result["models"]["tiny_a"]
    assert row["sha256"] == read_card(saved_models / "tiny_a" / "card.json").sha256["model.onnx"]
    areas = row["scores"]["as shipped"]["report"]
    assert areas["far stripes"] > 0.95 and 0.3 < areas["near same"] < 0.7
    assert set(row["scores_of_photographs"]["as shipped"]["report"]) == set(areas)
    assert row["unlike"]["far stripes"] > 0.5 and row["unlike"]["of the ten classes"] < 0.2
    change = find_corruption("brightness_0.5")
    images = [change(Image.fromarray(image)) for image in dataset.x_test]
    predictions = load_classifier(saved_models / "tiny_a").classify(images)
    flagged = np.array([each.in_distribution < 0.05 for each in predictions])
    labels = [CLASS_NAMES[label] for label in dataset.y_test]
    correct = np.array([each.top[0][0] == label for each, label in zip(predictions, labels, strict=True)])
    uploads = row["uploads"]["brightness_0.5"]
    assert uploads["unlike"] == pytest.approx(flagged.mean())
    assert uploads["accuracy_of_others"] == pytest.approx(correct[~flagged].mean())
    assert uploads["accuracy_of_unlike"] == (pytest.approx(correct[flagged].mean()) if flagged.any() else None)
    monkeypatch.setattr(ood_detection, "TEST_IMAGES", 30)
    with pytest.raises(ValueError, match="test_images"):
        ood_detection.run(chosen, saved_models)


def test_a_model_without_a_detector_is_refused(saved_models, dataset, chosen):
    chosen.models = ["tiny_b"]
    with pytest.raises(ValueError, match="tiny_b"):
        ood_detection.run(chosen, saved_models)
