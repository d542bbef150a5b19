"""The shipped models: each card's command trains that model, and uploads are handled the same way."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import train
from inference.classifier import load_classifier
from inference.model_store import ModelStore
from models.saved.card import OOD_FILE, read_card
from training.config import make_config
from training.export.saved_model import RESIZE_MODE

ROOT = Path(__file__).parents[3]
CARDS = sorted(ROOT.glob("saved_models/*/card.json"))


def test_there_are_shipped_models():
    assert len(CARDS) >= 8


@pytest.mark.parametrize("path", CARDS, ids=[path.parent.name for path in CARDS])
def test_the_command_of_a_card_trains_the_model(path):
    card = read_card(path)
    program, script, *arguments = shlex.split(card.command)
    assert (program, script) == ("python", "train.py")
    options = train.parse_arguments(arguments)
    assert options.output is None and options.resume is None
    names = ("model", "recipe", "epochs", "augment", "views", "average_with", "seed", "precision")
    config = make_config(**{name: getattr(options, name) for name in names})
    assert (config.model, config.recipe, config.seed) == (card.name, card.recipe, card.seed)
    assert (config.validation or 5000) == (card.validation_images or 5000)
    runs = json.loads((ROOT / "results" / "accuracy.json").read_text())["runs"]
    (row,) = (run for run in runs if run["command"] == card.command and run["hardware"] == card.hardware)
    assert (row["accuracy"], row["parameters"]) == (card.test_accuracy, card.parameters)


@pytest.mark.parametrize("path", CARDS, ids=[path.parent.name for path in CARDS])
def test_resize_mode_calibration_and_ood_detector_are_current(path):
    card = read_card(path)
    assert (card.resize_mode, card.resolution) == (RESIZE_MODE, 32)
    assert "exponent" in json.loads(path.read_text()), f"python -m training.export.calibrate {path.parent}"
    assert (OOD_FILE in card.sha256) == load_classifier(path.parent).engine.explains
    if OOD_FILE in card.sha256:
        measured = json.loads((ROOT / "results" / "ood_detection.json").read_text())["models"][path.parent.name]
        assert measured["sha256"] == card.sha256["model.onnx"], (
            f"python benchmark.py ood_detection --models {path.parent.name}"
        )


def test_the_default_model_warns_about_noise_and_not_about_a_cat():
    classifier = ModelStore().get()
    noise = np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), np.uint8)
    assert sum(bool(prediction.warning) for prediction in classifier.classify(list(noise))) >= 8
    cat = classifier.classify(ROOT / "deploy" / "examples" / "cat.jpg")
    assert (cat.top[0][0], cat.warning) == ("cat", "")
