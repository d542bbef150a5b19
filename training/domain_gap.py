"""How far a model's accuracy carries from the test set to what people upload."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from models.card import read_card
from training.cifar10 import load_cifar10
from training.corruptions import CLEAN, CONDITIONS, find_corruption
from training.evaluation import expected_calibration_error
from training.measure import origin, record
from training.photographs import HALVES, photographs

Answer = Callable[[Sequence[Image.Image | Path]], np.ndarray]
"""From images as they are uploaded to calibrated probabilities (n, classes), in the order of the card's labels."""

MODELS = ("custom_cnn", "speedrun_cnn", "mobilenet_v2", "efficientnet_lite0")
BATCH = 64
IMAGES = 2000  # of the test set, the first ones, in every condition


def domain_gap(
    open_model: Callable[[Path], Answer],
    shelf: Path,
    results: Path,
    stage: str,
    models: Sequence[str] = MODELS,
    images: int = IMAGES,
) -> dict:
    """Ask shipped models test images as people would upload them, and photographs, and record what they answer.

    Args:
        open_model: from a saved model's folder to what answers with it, the way that uploads are answered.
        shelf: the folder of saved models.
        results: where `domain_gap.json` goes; other stages in it stay.
        stage: the name that the result gets, such as "before" and "after".
        models: names of folders on the shelf.
        images: how many test images are asked in every condition.
    """
    path = results / "domain_gap.json"
    stages = json.loads(path.read_text())["stages"] if path.exists() else {}
    dataset = load_cifar10()
    pictures, labels = [Image.fromarray(image) for image in dataset.x_test[:images]], dataset.y_test[:images]
    rows: dict[str, dict] = {}
    names = [CLEAN, *(name for group in CONDITIONS.values() for name in group)]
    with tqdm(total=len(models) * len(names), unit=" conditions", disable=None) as bar:
        for model in models:
            bar.set_description(model)
            card, answer = read_card(shelf / model / "card.json"), open_model(shelf / model)
            rows[model] = {"fit": card.fit, "input_size": card.input_size, "conditions": {}}
            for name in names:
                changed = pictures if name == CLEAN else map(find_corruption(name), pictures)
                rows[model]["conditions"][name] = _summary(_in_batches(answer, changed), labels)
                bar.update()
            rows[model]["photographs"] = {half: ask_photographs(answer, half, card.labels) for half in HALVES}
    stages[stage] = {**origin(), "test_images": images, "models": rows}
    return record(path, {"stages": stages})


def ask_photographs(answer: Answer, half: str, labels: Sequence[str]) -> dict:
    """Return what one half of the photographs are answered: accuracy, confidence, calibration error, and the mistakes."""
    asked = photographs(half)
    true = np.array([labels.index(each.label) for each in asked])
    probabilities = _in_batches(answer, [each.path for each in asked])
    answers, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = [
        {"file": f"{asked[i].label}/{asked[i].path.name}", "answer": labels[answers[i]], "confidence": float(confidences[i])}
        for i in np.flatnonzero(answers != true)
    ]  # fmt: skip
    return {"images": len(asked), **_summary(probabilities, true), "wrong": wrong}


def _in_batches(answer: Answer, pictures: Iterable[Image.Image | Path]) -> np.ndarray:
    """Return the answers (n, classes); the pictures may be made one by one, and few are held at a time."""
    found, batch = [], []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            found.append(answer(batch))
            batch = []
    return np.concatenate([*found, answer(batch)] if batch else found)


def _summary(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "calibration_error": expected_calibration_error(probabilities, labels),
    }
