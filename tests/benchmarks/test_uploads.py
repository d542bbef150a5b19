"""Accuracy on uploads, of two tiny models."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.data import photographs as photographs_module
from benchmarks.data.photographs import Photograph
from benchmarks.data.remote_files import FileUnavailableError
from benchmarks.experiments import uploads
from inference.classifier import load_classifier
from models.saved.card import read_card
from training.data.cifar10 import CLASS_NAMES
from training.data.transforms import find_corruption

pytestmark = pytest.mark.usefixtures("own_photographs")


@pytest.fixture
def dataset(ten_classes, monkeypatch):
    monkeypatch.setattr(uploads, "load_cifar10", lambda: ten_classes)
    monkeypatch.setattr(uploads, "CONDITIONS", {"one": ("jpeg_10",), "other": ("bicubic_64+jpeg_90", "bars_1.5")})
    return ten_classes


@pytest.fixture
def measure(saved_models, dataset, options):
    return lambda stage, models: uploads.run(options(stage=stage, models=models, images=20), saved_models)


def test_every_condition_is_predicted_as_an_upload_and_other_rows_stay(saved_models, dataset, measure, tmp_path):
    first = measure("before", ["tiny_a"])
    measure("after", ["tiny_b"])
    result = measure("after", ["tiny_a"])
    assert json.loads((tmp_path / "uploads.json").read_text()) == result
    assert result["stages"]["before"] == first["stages"]["before"]
    after = result["stages"]["after"]
    assert set(after["models"]) == {"tiny_a", "tiny_b"}
    assert after["default"] == "tiny_a", "of equal validation accuracy, the first"
    tiny = after["models"]["tiny_a"]
    assert list(tiny["conditions"]) == ["as it is", "jpeg_10", "bicubic_64+jpeg_90", "bars_1.5"]
    change, classifier = find_corruption("jpeg_10"), load_classifier(saved_models / "tiny_a")
    predictions = classifier.classify([change(Image.fromarray(image)) for image in dataset.x_test[:20]])
    top = [each.top[0] for each in predictions]
    labels = [CLASS_NAMES[label] for label in dataset.y_test[:20]]
    correct = [name == label for (name, _), label in zip(top, labels, strict=True)]
    found = tiny["conditions"]["jpeg_10"]
    assert found["accuracy"] == pytest.approx(np.mean(correct))
    assert found["confidence"] == pytest.approx(np.mean([share for _, share in top]))
    with Image.open(tmp_path / after["picture"]) as picture:
        assert min(picture.size) > 100


def test_what_cannot_be_measured_is_refused_before_the_long_work(measure, cache, monkeypatch):
    monkeypatch.setattr(uploads, "load_classifier", lambda folder: pytest.fail("a model was run"))
    with pytest.raises(FileNotFoundError, match="tiny_c"):
        measure("before", ["tiny_a", "tiny_c"])
    missing = Photograph("cat/gone.jpg", "choice", "A", "CC0", "a place", "http://127.0.0.1:9/a.jpg", "0" * 64)
    monkeypatch.setattr(photographs_module, "listed_photographs", lambda: [missing])
    with pytest.raises(FileUnavailableError, match="cat/gone.jpg"):
        measure("after", ["tiny_a"])


@pytest.mark.parametrize("change", [{"test_images": 10}, {"fit": "thumbnail"}])
def test_a_stage_keeps_one_setting(saved_models, measure, tmp_path, change):
    card = read_card(saved_models / "tiny_a" / "card.json")
    calibration = {"temperature": card.temperature, "exponent": card.exponent}
    row = {"command": card.command, "fit": card.resize_mode, "calibration": calibration}
    stage = {"test_images": 20, "models": {"tiny_a": row}}
    (stage if "test_images" in change else row).update(change)
    (tmp_path / "uploads.json").write_text(json.dumps({"stages": {"before": stage}}))
    with pytest.raises(ValueError, match="stage 'before'"):
        measure("before", ["tiny_b", "tiny_a"])
