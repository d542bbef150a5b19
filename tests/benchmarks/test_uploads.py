"""The measurement of the domain gap, on two tiny models."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image
from tiny import tiny_dataset

from benchmarks.data import photographs as photographs_module
from benchmarks.data.photographs import Photograph, photographs
from benchmarks.data.remote_files import FileUnavailableError
from benchmarks.experiments import uploads as domain_gap
from inference.classifier import load_classifier
from models.saved.card import read_card
from training.data.cifar10 import CLASS_NAMES
from training.data.views import find_corruption

pytestmark = pytest.mark.usefixtures("own_photographs")


@pytest.fixture
def dataset(monkeypatch):
    found = dataclasses.replace(tiny_dataset(classes=10), class_names=CLASS_NAMES)
    monkeypatch.setattr(domain_gap, "load_cifar10", lambda: found)
    return found


def open_model(folder):
    classifier = load_classifier(folder)
    return lambda sources: np.array([list(each.probabilities.values()) for each in classifier.classify(list(sources))])


def test_every_condition_is_asked_the_way_of_an_upload_and_stages_stay(saved_models, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(domain_gap, "CONDITIONS", {"one": ("jpeg_10",), "other": ("bicubic_64+jpeg_90", "bars_1.5")})
    first = domain_gap.domain_gap(open_model, saved_models, tmp_path, "before", ["tiny_a"], images=20)
    domain_gap.domain_gap(open_model, saved_models, tmp_path, "after", ["tiny_b"], images=20)
    result = domain_gap.domain_gap(open_model, saved_models, tmp_path, "after", ["tiny_a"], images=20)
    assert set(result["stages"]["after"]["models"]) == {"tiny_a", "tiny_b"}
    assert json.loads((tmp_path / "uploads.json").read_text()) == result
    assert result["stages"]["before"] == first["stages"]["before"]
    assert result["stages"]["after"]["default"] == "tiny_a", "of equal validation accuracy, the first"
    tiny = result["stages"]["after"]["models"]["tiny_a"]
    assert list(tiny["conditions"]) == ["as it is", "jpeg_10", "bicubic_64+jpeg_90", "bars_1.5"]
    classifier = load_classifier(saved_models / "tiny_a")
    change = find_corruption("jpeg_10")
    answers = classifier.classify([change(Image.fromarray(image)) for image in dataset.x_test[:20]], top_k=1)
    right = [each.top[0][0] == CLASS_NAMES[label] for each, label in zip(answers, dataset.y_test, strict=False)]
    assert tiny["conditions"]["jpeg_10"]["accuracy"] == pytest.approx(np.mean(right))
    assert result["stages"]["after"]["picture"] == "figures/photographs-after.png"
    with Image.open(tmp_path / "figures" / "photographs-after.png") as picture:
        assert min(picture.size) > 100
    assert tiny["conditions"]["jpeg_10"]["confidence"] == pytest.approx(np.mean([each.top[0][1] for each in answers]))


def test_what_cannot_be_asked_is_told_before_anything_is(saved_models, dataset, cache, tmp_path, monkeypatch):
    def never(folder):
        pytest.fail("a model was asked")

    with pytest.raises(FileNotFoundError, match="tiny_c"):
        domain_gap.domain_gap(never, saved_models, tmp_path, "before", ["tiny_a", "tiny_c"], images=20)
    stored = {"stages": {"before": {"test_images": 10, "models": {}}}}
    (tmp_path / "uploads.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="stage 'before' was asked 10 images. Received: images=20"):
        domain_gap.domain_gap(never, saved_models, tmp_path, "before", ["tiny_a"], images=20)
    card = read_card(saved_models / "tiny_a" / "card.json")
    calibration = {"temperature": card.temperature, "exponent": card.exponent}
    others = (
        {"command": "python train.py --model other"},
        {"resize_mode": "thumbnail"},
        {"calibration": {"temperature": 9, "exponent": 1}},
    )
    for other in others:
        row = {"command": card.command, "fit": card.resize_mode, "calibration": calibration} | other
        stored = {"stages": {"before": {"test_images": 20, "models": {"tiny_a": row}}}}
        (tmp_path / "uploads.json").write_text(json.dumps(stored))
        with pytest.raises(
            ValueError, match="holds tiny_a as it was before, .* and would lose that: name another stage"
        ):
            domain_gap.domain_gap(never, saved_models, tmp_path, "before", ["tiny_b", "tiny_a"], images=20)
    missing = Photograph("cat/gone.jpg", "choice", "A", "CC0", "a place", "http://127.0.0.1:9/a.jpg", "0" * 64)
    monkeypatch.setattr(photographs_module, "listed_photographs", lambda: [missing])
    with pytest.raises(FileUnavailableError, match="cat/gone.jpg"):
        domain_gap.domain_gap(never, saved_models, tmp_path, "after", ["tiny_a"], images=20)


def test_another_order_of_labels_changes_nothing(saved_models, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(domain_gap, "CONDITIONS", {})
    answered = open_model(saved_models / "tiny_a")(dataset.x_test).argmax(axis=1)
    dataset = dataclasses.replace(dataset, y_test=answered)
    turned = dataclasses.replace(dataset, class_names=CLASS_NAMES[::-1], y_test=9 - answered)
    same = []
    for data in (dataset, turned):
        monkeypatch.setattr(domain_gap, "load_cifar10", lambda data=data: data)
        result = domain_gap.domain_gap(open_model, saved_models, tmp_path, str(len(same)), ["tiny_a"], images=50)
        same.append(result["stages"][str(len(same))]["models"]["tiny_a"]["conditions"])
    assert same[0] == same[1] and same[0]["as it is"]["accuracy"] == 1


def test_photographs_that_are_answered_wrongly_are_named(saved_models):
    classifier = load_classifier(saved_models / "tiny_a")
    found = domain_gap.ask_photographs(open_model(saved_models / "tiny_a"), "report", CLASS_NAMES)
    asked = photographs("report")
    assert found["images"] == len(asked)
    assert len(found["wrong"]) == round(len(asked) * (1 - found["accuracy"])) > 0
    worst = found["wrong"][0]
    path = next(each.path for each in asked if f"{each.label}/{each.path.name}" == worst["file"])
    assert classifier.classify(path, 1).top[0] == (worst["answer"], pytest.approx(worst["confidence"]))
