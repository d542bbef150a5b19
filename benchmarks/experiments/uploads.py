"""How far a model's accuracy carries from the test set to what people upload."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.data.photographs import HALVES, photographs
from benchmarks.experiments.reference import origin, record
from benchmarks.report.figures import plot_photographs
from models.saved.card import CARD_FILE, Card, default_model, read_card
from runtime.validation import require
from training.data.cifar10 import load_cifar10
from training.data.views import find_corruption
from training.evaluation import expected_calibration_error

Answer = Callable[[Sequence[Image.Image | Path]], np.ndarray]
"""From images as they are uploaded to calibrated probabilities (n, classes), in the order of the card's labels."""

MODELS = ("custom_cnn", "speedrun_cnn", "mobilenet_v2", "efficientnet_lite0")
CLEAN = "as it is"
CONDITIONS = {
    "compression": ("jpeg_75", "jpeg_50", "jpeg_30", "jpeg_10"),
    "blur": ("blur_0.5", "blur_1", "blur_2"),
    "noise": ("noise_8", "noise_16", "noise_32"),
    "light": ("brightness_0.5", "brightness_1.5", "contrast_0.5", "contrast_0.25"),
    "pixelation": ("pixelate_16", "pixelate_8"),
    "resolution": ("bicubic_8", "bicubic_16", "bicubic_24", "bicubic_64", "bicubic_128", "bicubic_512"),
    # crop_0.75 is an alias of center_crop_0.75, by which uploads.json and the report know it.
    "shape": ("crop_0.75", "corner_0.75", "stretch_1.5", "stretch_0.67", "bars_1.5", "screenshot_0.25"),
    "enlarged": tuple(
        f"{method}_{side}+jpeg_90"
        for method in ("nearest", "bilinear", "bicubic", "lanczos")
        for side in (96, 224, 640)
    ),
}
"""What uploads are measured under, beside `CLEAN`: corruptions by their kind."""
BATCH = 64
IMAGES = 2000  # of the test set, the first ones, in every condition


def domain_gap(
    open_model: Callable[[Path], Answer],
    store: Path,
    results: Path,
    stage: str,
    models: Sequence[str] = MODELS,
    images: int = IMAGES,
) -> dict:
    """Ask shipped models test images as people would upload them, and photographs, and record what they answer.

    Args:
        open_model: from a saved model's folder to what answers with it, the way that uploads are answered.
        store: the folder of saved models.
        results: where `domain_gap.json` goes; other stages in it, and other models of this one, stay.
            `figures/photographs-STAGE.png` shows the photographs to report by that the default of them is wrong about.
        stage: the name that the result gets, such as "before" and "after".
        models: names of folders on the store.
        images: how many test images are asked in every condition.

    Raises:
        ValueError: if there are rows of this stage that were asked another number of images, or that are of a model of one of
            these names that was trained, shown uploads or calibrated otherwise.
        FileNotFoundError: if there is no model of a name.
        FileUnavailableError: a photograph can neither be found in the cache nor downloaded.
    """
    path = results / "uploads.json"
    stages = json.loads(path.read_text())["stages"] if path.exists() else {}
    rows = stages.setdefault(stage, {"test_images": images, "models": {}})["models"]
    require(
        stages[stage]["test_images"] == images,
        f"stage {stage!r} was asked {stages[stage]['test_images']} images",
        images=images,
    )
    cards = {model: read_card(store / model / CARD_FILE) for model in models}  # a wrong name is told now
    for model in set(rows) & set(cards):
        shipped = _shown_by(cards[model])
        stored = {key: rows[model].get(key) for key in shipped}
        require(
            stored == shipped,
            f"stage {stage!r} holds {model} as it was before, {stored}, and would lose that: name another stage",
            shipped=shipped,
        )
    photographs()  # fetched now: what cannot be had is told before anything is asked
    dataset = load_cifar10()
    pictures = [Image.fromarray(image) for image in dataset.x_test[:images]]
    names = [CLEAN, *(name for group in CONDITIONS.values() for name in group)]
    with tqdm(total=len(models) * len(names), unit=" conditions", disable=None) as bar:
        for model in models:
            bar.set_description(model)
            card, answer = cards[model], open_model(store / model)
            labels = np.array([card.labels.index(dataset.class_names[label]) for label in dataset.y_test[:images]])
            row = {**origin(), **_shown_by(card), "input_size": card.input_size, "conditions": {}}
            for name in names:
                changed = pictures if name == CLEAN else map(find_corruption(name), pictures)
                row["conditions"][name] = summary(in_batches(answer, changed), labels)
                bar.update()
            row["photographs"] = {half: ask_photographs(answer, half, card.labels) for half in HALVES}
            rows[model] = row
            record(path, {"stages": stages})  # after each, so that an interruption loses none
    default = default_model({model: read_card(store / model / CARD_FILE) for model in sorted(rows)})
    stages[stage] |= {"default": default, "picture": None}
    if wrong := rows[default]["photographs"]["report"]["wrong"]:
        stages[stage]["picture"] = f"figures/photographs-{stage}.png"
        _draw_wrong(wrong, results / stages[stage]["picture"])
    return record(path, {"stages": stages})


def _shown_by(card: Card) -> dict:
    """Return what decides the answers to uploads: which model, how it is shown them, and what is made of its probabilities."""
    return {"command": card.command, "fit": card.resize_mode, "calibration": dataclasses.asdict(card.calibration)}


def ask_photographs(answer: Answer, half: str, labels: Sequence[str]) -> dict:
    """Return what one half of the photographs are answered: accuracy, confidence, calibration error, and the mistakes."""
    asked = photographs(half)
    true = np.array([labels.index(each.label) for each in asked])
    probabilities = in_batches(answer, [each.path for each in asked])
    answers, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = [
        {"file": asked[i].file, "answer": labels[answers[i]], "confidence": float(confidences[i])}
        for i in np.flatnonzero(answers != true)
    ]
    return {"images": len(asked), **summary(probabilities, true), "wrong": wrong}


def _draw_wrong(wrong: Sequence[Mapping], path: Path) -> None:
    known = {each.file: each for each in photographs("report")}
    shown = [(known[row["file"]], row) for row in wrong]
    captions = [f"{each.label}: {row['answer']}, {row['confidence']:.0%}" for each, row in shown]
    plot_photographs([each.path for each, _ in shown], captions, path)


def in_batches(answer: Answer, pictures: Iterable[Image.Image | Path]) -> np.ndarray:
    """Return the answers (n, classes); the pictures may be made one by one, and few are held at a time."""
    found, batch = [], []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == BATCH:
            found.append(answer(batch))
            batch = []
    return np.concatenate([*found, answer(batch)] if batch else found)


def summary(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return `accuracy`, mean `confidence` and `calibration_error` of answers (n, classes)."""
    return {
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "calibration_error": expected_calibration_error(probabilities, labels),
    }
