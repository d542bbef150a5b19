"""How accurate are the shipped models on uploads: compressed, small and cropped images, and photographs?

Command: python benchmark.py uploads STAGE
Cost: about 15 minutes for four models (photographs are downloaded once, 40 MB)
Result: results/uploads.json, results/figures/photographs-STAGE.png
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.data.photographs import HALVES, photographs
from benchmarks.measures.conditions import CLEAN, CONDITIONS
from benchmarks.report.figures import plot_photographs
from benchmarks.results import origin, read, record
from inference.classifier import Classifier, load_classifier
from inference.model_store import SAVED_MODELS
from models.saved.card import CARD_FILE, Card, default_model, read_card
from runtime.progress import ProgressBar
from runtime.validation import require
from training.calibration import expected_calibration_error
from training.data.cifar10 import load_cifar10
from training.data.transforms import find_corruption

MODELS = ("custom_cnn", "speedrun_cnn", "mobilenet_v2", "efficientnet_lite0")
BATCH = 64


def add_arguments(parser) -> None:
    """Add the stage and the models."""
    parser.add_argument("stage", metavar="STAGE", help='name of the measurement, such as "before" or "after"')
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME", help="shipped models (default: four)")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="first test images (default: 2000)")


def run(options, store: Path = SAVED_MODELS) -> dict:
    """Predict corrupted test images and photographs; other stages and other models in the file are kept.

    Raises:
        ValueError: the stage in the file has another number of images, or a model of the same name with another training
            command, resize mode or calibration.
        FileNotFoundError: a model is missing.
    """
    stage, path = options.stage, options.results / "uploads.json"
    require(bool(stage), "the stage needs a name", stage=stage)
    stages = read(path).get("stages", {})
    rows = stages.setdefault(stage, {"test_images": options.images, "models": {}})["models"]
    before = stages[stage]["test_images"]
    require(before == options.images, f"stage {stage!r} was measured on {before} images", images=options.images)
    cards = {model: read_card(store / model / CARD_FILE) for model in options.models}
    for model in set(rows) & set(cards):
        shipped = _preparation(cards[model])
        stored = {key: rows[model].get(key) for key in shipped}
        require(
            stored == shipped, f"stage {stage!r} holds another {model}, {stored}: name another stage", shipped=shipped
        )
    photographs()  # downloads them before the long work
    for model, card in ProgressBar(cards.items(), desc="uploads", unit=" models"):
        classifier = load_classifier(store / model)
        conditions = _conditions(classifier, options.images)
        halves = {half: predict_photographs(classifier, half) for half in HALVES}
        row = {"input_size": card.input_size, "conditions": conditions, "photographs": halves}
        rows[model] = {**origin(), **_preparation(card), **row}
        record(path, {"stages": stages})  # after each row: an interruption loses none
    default = default_model({model: read_card(store / model / CARD_FILE) for model in sorted(rows)})
    wrong = rows[default]["photographs"]["report"]["wrong"]
    picture = f"figures/photographs-{stage}.png" if wrong else None
    if picture:
        _draw_mistakes(wrong, options.results / picture)
    stages[stage] |= {"default": default, "picture": picture}
    return record(path, {"stages": stages})


def _preparation(card: Card) -> dict:
    """Return what determines the predictions for uploads: training, resize mode and calibration."""
    return {"command": card.command, "fit": card.resize_mode, "calibration": dataclasses.asdict(card.calibration)}


def _conditions(classifier: Classifier, count: int) -> dict[str, dict]:
    """Return the summary of the first `count` test images under every corruption."""
    dataset, index = load_cifar10(), classifier.card.labels.index
    images = [Image.fromarray(image) for image in dataset.x_test[:count]]
    labels = np.array([index(dataset.class_names[label]) for label in dataset.y_test[:count]])
    found = {CLEAN: summary(predict(classifier, images), labels)}
    for name in ProgressBar([name for group in CONDITIONS.values() for name in group], unit=" conditions", leave=False):
        found[name] = summary(predict(classifier, map(find_corruption(name), images)), labels)
    return found


def predict_photographs(classifier: Classifier, half: str) -> dict:
    """Return the number of photographs in one half, their `summary` and the mistakes."""
    found, names = photographs(half), classifier.card.labels
    labels = np.array([names.index(each.label) for each in found])
    probabilities = predict(classifier, [each.path for each in found])
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = [
        {"file": found[i].file, "answer": names[predicted[i]], "confidence": float(confidence[i])}
        for i in np.flatnonzero(predicted != labels)
    ]
    return {"images": len(found), **summary(probabilities, labels), "wrong": wrong}


def _draw_mistakes(wrong: Sequence[Mapping], path: Path) -> None:
    known = {each.file: each for each in photographs("report")}
    shown = [(known[row["file"]], row) for row in wrong]
    captions = [f"{each.label}: {row['answer']}, {row['confidence']:.0%}" for each, row in shown]
    plot_photographs([each.path for each, _ in shown], captions, path)


def predict(classifier: Classifier, images: Iterable[Image.Image | Path]) -> np.ndarray:
    """Return calibrated probabilities (n, classes) of uploads, in batches to save memory."""
    images, found = iter(images), []
    while batch := list(itertools.islice(images, BATCH)):
        found += [list(each.probabilities.values()) for each in classifier.classify(batch)]
    return np.array(found)


def summary(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return `accuracy`, mean `confidence` and expected `calibration_error` of probabilities (n, classes)."""
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "calibration_error": expected_calibration_error(probabilities, labels),
    }
