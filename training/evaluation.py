"""Evaluation of a model on a split: probabilities, metrics by scikit-learn, and calibration."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import special
from sklearn import metrics

from models.saved.calibration import log_probabilities
from runtime.progress import ProgressBar
from training.calibration import calibration, checked_labels, distributions, fit_calibration

if TYPE_CHECKING:
    from training.data.dataset import ImageDataset
    from training.export.saved_model import SavedModel
    from training.freezing.feeds import Split


class Predictor(Protocol):
    """A model that can be evaluated: `keras.Model` and `OnnxModel`."""

    def predict_on_batch(self, x: np.ndarray) -> Any:
        """Return the probabilities (b, classes) of images (b, S, S, 3), float32 in 0..255."""


def predict_probabilities(
    model: Predictor, images: np.ndarray, image_size: int, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Return the model's probabilities, (n, classes) float32, on `images`: (n, H, W, 3) uint8, resized as in training."""
    from training.data.image_batches import image_batches  # imports TensorFlow, which metrics do not need

    if len(images) == 0:
        raise ValueError(f"images must hold at least one image. Received: an array of shape {images.shape}")
    labels = np.zeros(len(images), np.int64)
    batches = image_batches(images, labels, classes=1, image_size=image_size, batch_size=batch_size)
    parts = []
    with ProgressBar(total=len(images), desc="Predicting", unit=" images", disable=not progress) as bar:
        for batch, _ in batches:
            parts.append(np.asarray(model.predict_on_batch(np.asarray(batch)), np.float32))  # (b, classes)
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def predict_views(
    model: Predictor, images: np.ndarray, image_size: int, views: Sequence[str], progress: bool = False
) -> np.ndarray:
    """Return the geometric mean of the model's probabilities over views of each image, (n, classes) float32.

    It equals the softmax of the mean logits. `views` are names of `training.data.transforms`; one named twice counts twice.
    """
    from training.data.transforms import apply_view

    logarithms = sum(
        share * log_probabilities(predict_probabilities(model, apply_view(images, view), image_size, progress=progress))
        for view, share in Counter(views).items()
    )
    return special.softmax(logarithms / len(views), axis=1).astype(np.float32)


def evaluate(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of `probabilities` (n, classes) against `labels` (n,) as Python numbers, ready for JSON.

    Keys: `images` (n), `accuracy`, `loss` (mean cross-entropy in nats), `macro` (precision, recall, f1: unweighted
    means over the classes), `per_class` (name: precision, recall, f1, support), `class_names`, `confusion_matrix` (rows
    true, columns predicted). A ratio with denominator zero counts as 0.

    Raises:
        ValueError: shapes disagree, a label is out of range, or a row of probabilities is not a distribution.
    """
    probabilities = distributions(probabilities, len(class_names))
    labels = checked_labels(labels, probabilities)
    classes = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    columns = metrics.precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    scores = dict(zip(("precision", "recall", "f1", "support"), columns, strict=True))
    return {
        "images": len(labels),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "loss": float(metrics.log_loss(labels, probabilities, labels=classes)),
        "macro": {score: float(scores[score].mean()) for score in ("precision", "recall", "f1")},
        "per_class": {
            name: {score: column[i].item() for score, column in scores.items()} for i, name in enumerate(class_names)
        },
        "class_names": list(class_names),
        "confusion_matrix": metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def evaluate_once(
    served: Predictor, split: "Split", image_size: int, views: Sequence[str] = (), progress: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit the calibration of the model that will be served on the validation split, then evaluate it on the test set, once.

    Without `views` there is no test-time augmentation.

    Returns:
        `evaluate`'s metrics with `calibration`, `validation_accuracy` and, with `views`, `tta`; and the probabilities
        (images, classes) of `test` and `validation`.
    """
    dataset = split.dataset
    images, labels = dataset.x_train[split.validation], dataset.y_train[split.validation]

    def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
        return float((probabilities.argmax(axis=1) == labels).mean())

    validation = predict_probabilities(served, images, image_size, progress=progress)
    test = predict_probabilities(served, dataset.x_test, image_size, progress=progress)
    found = {
        **evaluate(test, dataset.y_test, dataset.class_names),
        "calibration": calibration(test, dataset.y_test, fit_calibration(validation, labels)),
        "validation_accuracy": accuracy(validation, labels),
    }
    if views:
        averaged = predict_views(served, images, image_size, views, progress=progress)
        averaged_test = predict_views(served, dataset.x_test, image_size, views, progress=progress)
        found["tta"] = {
            "views": list(views),
            "accuracy": accuracy(averaged_test, dataset.y_test),
            "validation_accuracy": accuracy(averaged, labels),
        }
    return found, {"test": test, "validation": validation}


def evaluate_saved(
    saved: "SavedModel",
    dataset: "ImageDataset",
    split: str = "test",
    seed: int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the metrics of a saved model on split "test" or "validation": `evaluate`'s, and `calibration` by its card.

    `seed` is that of the run that trained the model, which the validation split depends on; None for the card's.

    Raises:
        ValueError: the model and the data set have different classes, or the seed is needed and unknown.
    """
    order = class_order(saved, dataset)
    images, labels = _split(saved, dataset, split, seed)
    probabilities = predict_probabilities(saved.model, images, saved.image_size, batch_size, progress)[:, order]
    report = evaluate(probabilities, labels, dataset.class_names)
    if saved.card:
        report["calibration"] = calibration(probabilities, labels, saved.card.calibration)
    return {"model": saved.card.name if saved.card else saved.file.stem, "data": dataset.name, "split": split} | report


def format_metrics(report: Mapping[str, Any]) -> str:
    """Return the metrics of `evaluate_saved` as text: a line per class, then means, accuracy, loss and calibration."""
    width = max(map(len, [*report["per_class"], "macro average"]))
    lines = [f"{'':{width}}  precision  recall      f1  support"]
    for name, row in [*report["per_class"].items(), ("macro average", report["macro"] | {"support": report["images"]})]:
        if name == "macro average":
            lines.append("")
        lines.append(
            f"{name:{width}}  {row['precision']:9.4f}  {row['recall']:6.4f}  {row['f1']:6.4f}  {row['support']:7d}"
        )
    lines += ["", f"accuracy {report['accuracy']:.4f}   loss {report['loss']:.4f} nats   images {report['images']}"]
    if found := report.get("calibration"):
        fitted = f"temperature {found['temperature']:.3f}, exponent {found['exponent']:.3f}"
        lines.append(f"calibration error {found['ece_before']:.4f}, at {fitted}: {found['ece_after']:.4f}")
    return "\n".join(lines)


def class_order(saved: "SavedModel", dataset: "ImageDataset") -> list[int]:
    """Return the column of the model's output for each class of the data set."""
    outputs = saved.model.output_shape[-1]
    if outputs != dataset.classes:
        raise ValueError(
            f"{saved.file} has {outputs} classes, and {dataset.name} has {dataset.classes}. "
            "Evaluate a model that was trained on this data set."
        )
    if saved.card is None:
        return list(range(outputs))
    if sorted(saved.card.labels) != sorted(dataset.class_names):
        raise ValueError(
            f"The card beside {saved.file} names the classes {', '.join(saved.card.labels)}; "
            f"{dataset.name} has {', '.join(dataset.class_names)}."
        )
    return [saved.card.labels.index(name) for name in dataset.class_names]


def _split(saved: "SavedModel", dataset: "ImageDataset", split: str, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    if split == "test":
        return dataset.x_test, dataset.y_test
    if split != "validation":
        raise ValueError(f"split must be 'test' or 'validation'. Received: split={split!r}")
    if seed is None and saved.card is None:
        raise ValueError(
            f"{saved.file} has no card.json that says which seed split its data, and with another seed it would be "
            "evaluated on images that it was trained on. Give the seed of its run."
        )
    dataset, _, validation = saved.split(dataset, seed)
    return dataset.x_train[validation], dataset.y_train[validation]
