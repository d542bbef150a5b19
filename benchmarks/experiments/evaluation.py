"""How do the shipped models perform in detail: per class, calibration, selective accuracy, mistakes?

Command: python benchmark.py evaluation
Cost: 2 minutes
Result: results/evaluation.json, results/mistakes.png
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.measures.diagnosis import confident_mistakes, confusion_pairs, coverage_curve, reliability
from benchmarks.report.figures import plot_mistakes
from benchmarks.results import record
from inference.explain import heat_map
from inference.model_store import SAVED_MODELS
from models.saved.card import ONNX_FILE
from runtime.progress import ProgressBar
from runtime.validation import require
from training.calibration import calibration
from training.data.cifar10 import load_cifar10
from training.data.dataset import ImageDataset
from training.data.image_batches import resize
from training.evaluation import class_order, evaluate, predict_probabilities
from training.export.saved_model import SavedModel, load_saved

FROM, TO = "custom_cnn", "mobilenet_v2"  # the models whose confused classes are compared
MISTAKES = 12  # images in the figure


def add_arguments(parser) -> None:
    """Add nothing."""


def run(options, store: Path = SAVED_MODELS) -> dict:
    """Evaluate every model in `store` (`FROM` and `TO` among them) on the test images, and draw `TO`'s worst mistakes."""
    folders = sorted(path.parent for path in store.glob(f"*/{ONNX_FILE}"))
    present = {FROM, TO} <= {folder.name for folder in folders}
    require(present, f"{FROM} and {TO} must be in the folder of saved models", store=str(store))
    dataset, rows = load_cifar10(), {}
    for folder in ProgressBar(folders, desc="evaluation", unit=" models"):
        saved = load_saved(folder / ONNX_FILE)
        order = class_order(saved, dataset)
        probabilities = predict_probabilities(saved.model, dataset.x_test, saved.image_size)[:, order]
        rows[folder.name] = _measured(saved, probabilities, dataset)
        if folder.name == TO:
            _draw_mistakes(saved, order, probabilities, dataset, options.results / "mistakes.png")
    pairs = confusion_pairs(rows[FROM]["confusion_matrix"], rows[TO]["confusion_matrix"], dataset.class_names)
    result = {"images": len(dataset.x_test), "class_names": list(dataset.class_names), "models": rows}
    return record(options.results / "evaluation.json", {**result, "pairs": {"from": FROM, "to": TO, "rows": pairs}})


def _measured(saved: SavedModel, probabilities: np.ndarray, dataset: ImageDataset) -> dict:
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
    }


def _draw_mistakes(
    saved: SavedModel, order: Sequence[int], probabilities: np.ndarray, dataset: ImageDataset, path: Path
) -> None:
    calibrated, names = saved.card.calibration(probabilities), dataset.class_names
    rows = confident_mistakes(calibrated, dataset.y_test, MISTAKES)
    predicted = calibrated[rows].argmax(axis=1)
    captions = [
        f"{names[label]}, {calibrated[row, label]:.0%}\nlabelled {names[dataset.y_test[row]]}"
        for row, label in zip(rows, predicted, strict=True)
    ]
    images = dataset.x_test[rows]
    _, features, weights = saved.model.outputs(resize(images, saved.image_size))
    outputs = np.asarray(order)[predicted]  # the model's own indices of the predicted classes
    heat = np.stack([heat_map(features[i], weights[i, output]) for i, output in enumerate(outputs)])
    plot_mistakes(images, heat, captions, path)
