"""The last stages of a run: save, evaluate, fit the OOD detector, plot and write the card."""

import logging
from collections import Counter
from pathlib import Path

import keras
import numpy as np

from models.saved.calibration import Calibration
from models.saved.onnx_model import OnnxModel
from training import plots
from training.checkpoint import TrainingState
from training.config import TrainingConfig
from training.data.image_batches import image_batches
from training.evaluation import evaluate_once
from training.export.onnx_export import OnnxExportError, export_served
from training.export.ood import last_layer, write_ood_detector
from training.export.saved_model import (
    PREDICTIONS_FILE,
    RESIZE_MODE,
    save_keras,
    save_predictions,
    write_card,
    write_json,
)
from training.freezing.feeds import Split, thaw
from training.precision import in_precision
from training.progress import write_history
from training.provenance import peak_memory_mb

log = logging.getLogger(__name__)

PARITY_IMAGES = 64


def finalize(
    folder: Path, config: TrainingConfig, state: TrainingState, command: str, model: keras.Model, split: Split
) -> dict:
    """Save a trained model, evaluate it once on the test set, and write card, plots and metrics; return the metrics.

    The time of each stage is added to `state`. `command` repeats the run and goes into the card.
    """
    dataset = split.dataset
    write_history(folder / "history.csv", state.history)
    if config.precision != "float32":
        model = in_precision(model, "float32")
    thaw(model, config, config.phases[-1])  # not yet done if the run was resumed after its last phase
    with state.stage("save"):
        save_keras(model, folder / "model.keras")
        onnx_difference = _export(folder, model, dataset.x_train[split.validation[:PARITY_IMAGES]])
    with state.stage("evaluate"):
        served = OnnxModel(folder / "model.onnx") if onnx_difference is not None else model
        metrics, probabilities = evaluate_once(served, split, config.image_size, config.tta_views, progress=True)
        save_predictions(folder / PREDICTIONS_FILE, **probabilities)
    if onnx_difference is not None:
        with state.stage("ood_detector"):
            write_ood_detector(folder, served, last_layer(model), dataset, split.training, split.validation)
    with state.stage("plots"):
        _plot(folder, config, state, metrics, split)
    seconds = {**state.seconds, "total": sum(state.seconds.values())}
    epochs = Counter(row["phase"] for row in state.history)
    metrics |= {
        "evaluated": "model.onnx" if onnx_difference is not None else "model.keras",
        "onnx_max_abs_difference": onnx_difference,
        "epochs": {phase.name: epochs[phase.name] for phase in config.phases},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "cpu_seconds": round(state.cpu_seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_card(
        folder,
        model,
        name=config.model,
        version="1",
        labels=dataset.class_names,
        resize_mode=RESIZE_MODE,
        calibration=Calibration(**{name: metrics["calibration"][name] for name in ("temperature", "exponent")}),
        test_accuracy=metrics["accuracy"],
        val_accuracy=metrics["validation_accuracy"],
        command=command,
        recipe=config.recipe,
        seed=config.seed,
        weights=Path(str(config.weights or "none")).name,
        data=f"{dataset.name}, {len(split.training)} training images, {len(split.validation)} held back",
        seconds=round(seconds["total"], 1),
        test_accuracy_tta=metrics.get("tta", {}).get("accuracy"),
        validation_images=len(split.validation),
        resolution=dataset.x_train.shape[1],
    )
    write_json(folder / "metrics.json", metrics)
    return metrics


def _export(folder: Path, model: keras.Model, images: np.ndarray) -> float | None:
    try:
        return export_served(model, folder / "model.onnx", images)
    except (ImportError, OnnxExportError) as error:
        log.warning("No model.onnx: %s", error)
        return None


def _plot(folder: Path, config: TrainingConfig, state: TrainingState, metrics: dict, split: Split) -> None:
    dataset = split.dataset
    plots.plot_confusion_matrix(metrics["confusion_matrix"], dataset.class_names, folder / "confusion_matrix.png")
    plots.plot_curves(state.history, folder / "curves.png")
    rows = split.training[:25]
    batches = image_batches(
        dataset.x_train[rows],
        dataset.y_train[rows],
        classes=dataset.classes,
        image_size=config.image_size,
        batch_size=len(rows),
        augment=config.augment,
        seed=config.seed,
    )
    images, labels = next(iter(batches))
    plots.plot_samples(np.asarray(images), np.asarray(labels), dataset.class_names, folder / "samples.png")
