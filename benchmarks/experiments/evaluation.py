"""The models that ship, measured on the test images in every respect that the report shows."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm
from training.review_lists import fetch_review

from benchmarks.data.remote_files import FileUnavailableError
from benchmarks.experiments.reference import record
from benchmarks.measures.diagnosis import (
    confident_mistakes,
    confusion_pairs,
    coverage_curve,
    reliability,
    without_doubtful,
)
from benchmarks.report.figures import plot_mistakes
from models.saved.card import ONNX_FILE
from models.saved.onnx_model import OnnxModel
from runtime.validation import require
from training.data.cifar10 import load_cifar10
from training.data.dataset import ImageDataset
from training.data.image_batches import resize
from training.evaluation import calibration, class_order, evaluate, predict_probabilities
from training.export.saved_model import SavedModel, load_saved

logger = logging.getLogger(__name__)
FROM, TO = "custom_cnn", "mobilenet_v2"  # whose confusions are compared
MISTAKES = 12  # pictures in the grid


def evaluate_saved_models(store: Path, results: Path) -> dict:
    """Measure every model on the store, and record what the report shows; draw the surest mistakes of `mobilenet_v2`.

    Nothing is chosen by it: models, calibrations and names are those of the cards.

    Args:
        store: the folder of saved models, with `custom_cnn` and `mobilenet_v2` in it.
        results: where `evaluation.json` and `mistakes.png` go.

    Raises:
        ValueError: if the store lacks a model whose confusions are compared, or one of them answers other classes.
    """
    folders = sorted(path.parent for path in store.glob(f"*/{ONNX_FILE}"))
    require(
        {FROM, TO} <= {folder.name for folder in folders}, f"{FROM} and {TO} must be on the store", store=str(store)
    )
    dataset, review = load_cifar10(), _review()
    rows = {}
    for folder in tqdm(folders, desc="store", unit=" models", disable=None):
        saved = load_saved(folder / ONNX_FILE)
        order = class_order(saved, dataset)
        probabilities = predict_probabilities(saved.model, dataset.x_test, saved.image_size)[:, order]
        rows[folder.name] = _measured(saved, probabilities, dataset, review)
        if folder.name == TO:
            _draw_mistakes(saved, order, probabilities, dataset, results / "mistakes.png")
    pairs = confusion_pairs(rows[FROM]["confusion_matrix"], rows[TO]["confusion_matrix"], dataset.class_names)
    return record(
        results / "evaluation.json",
        {
            "images": len(dataset.x_test),
            "class_names": list(dataset.class_names),
            "models": rows,
            "pairs": {"from": FROM, "to": TO, "rows": pairs},
            "review": {name: {**each, "images": len(each["images"])} for name, each in review.items()},
        },
    )


def _review() -> dict:
    """Return the lists of doubtful test images, none of them where one cannot be had."""
    try:
        return fetch_review()
    except FileUnavailableError as error:
        logger.warning("The accuracy without doubtful test images is left out. %s", error)
        return {}


def _measured(saved: SavedModel, probabilities: np.ndarray, dataset: ImageDataset, review: dict) -> dict:
    labels, card = dataset.y_test, saved.card
    calibrated = card.calibration(probabilities)
    metrics = evaluate(probabilities, labels, dataset.class_names)
    return {
        "network": card.name,
        "recipe": card.recipe,
        "command": card.command,
        "input_size": saved.image_size,
        **{name: metrics[name] for name in ("accuracy", "loss", "macro", "per_class", "confusion_matrix")},
        "calibration": calibration(probabilities, labels, card.calibration),
        "reliability": {"before": reliability(probabilities, labels), "after": reliability(calibrated, labels)},
        "coverage": coverage_curve(calibrated, labels),
        "doubtful": without_doubtful(probabilities.argmax(axis=1) == labels, review),
    }


def _draw_mistakes(
    saved: SavedModel, order: Sequence[int], probabilities: np.ndarray, dataset: ImageDataset, path: Path
) -> None:
    calibrated = saved.card.calibration(probabilities)
    rows = confident_mistakes(calibrated, dataset.y_test, MISTAKES)
    answers = calibrated[rows].argmax(axis=1)
    names = dataset.class_names
    captions = [
        f"{names[answer]}, {calibrated[row, answer]:.0%}\nlabelled {names[dataset.y_test[row]]}"
        for row, answer in zip(rows, answers, strict=True)
    ]
    images = dataset.x_test[rows]
    plot_mistakes(
        images, _heat(saved.model, resize(images, saved.image_size), np.asarray(order)[answers]), captions, path
    )


def _heat(model: OnnxModel, images: np.ndarray, answers: Sequence[int]) -> np.ndarray:
    """Return Grad-CAM's maps of the answered classes, (n, h, w) in 0..1."""
    _, features, weights = model.outputs(images)  # see `models.grad_cam`
    chosen = weights[np.arange(len(answers)), answers]  # (n, C)
    heat = np.maximum(np.einsum("nhwc,nc->nhw", features, chosen), 0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
