"""How good a model is: its probabilities on a split, their metrics by scikit-learn, and their calibration."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import optimize, special
from sklearn import metrics
from tqdm.auto import tqdm

from models.saved.calibration import Calibration, distances, log_probabilities

if TYPE_CHECKING:
    from training.data.dataset import ImageDataset
    from training.export.saved_model import SavedModel
    from training.freezing.feeds import Split

logger = logging.getLogger(__name__)

CALIBRATION_BINS = 15
TEMPERATURE_RANGE, EXPONENT_RANGE = (0.05, 20.0), (0.5, 3.0)
_SIMPLEX = np.log([(1, 1), (2, 1), (1, 1.5)])  # where the search begins: (temperature, exponent)


class Predictor(Protocol):
    """What evaluation needs of a model; a `keras.Model` and an `OnnxModel` both have it."""

    def predict_on_batch(self, x: np.ndarray) -> Any:
        """Return the probabilities (b, classes) of images (b, S, S, 3), float32 in 0..255."""
        ...


def predict_probabilities(
    model: Predictor, images: np.ndarray, image_size: int, batch_size: int = 64, progress: bool = False
) -> np.ndarray:
    """Return the model's probabilities, (n, classes) float32, in the order of `images`.

    `images` is (n, H, W, 3) uint8; the pipeline that trains also resizes here, to `image_size`. `progress` shows a bar.
    """
    from training.data.image_batches import (
        image_batches,
    )  # here, because it imports TensorFlow and the metrics need none

    if len(images) == 0:
        raise ValueError(f"images must hold at least one image. Received: an array of shape {images.shape}")
    labels = np.zeros(len(images), np.int64)
    batches = image_batches(images, labels, classes=1, image_size=image_size, batch_size=batch_size)
    parts = []
    with tqdm(total=len(images), desc="predict", unit=" images", disable=not progress) as bar:
        for batch, _ in batches:
            parts.append(np.asarray(model.predict_on_batch(np.asarray(batch)), np.float32))  # (b, classes)
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def predict_views(
    model: Predictor, images: np.ndarray, image_size: int, views: Sequence[str], progress: bool = False
) -> np.ndarray:
    """Return the model's probabilities averaged over views of each image, (n, classes) float32.

    It is the geometric mean, which is the softmax of the mean logits. A view that `views` names twice counts twice.
    Arguments as in `predict_probabilities`; the names are those of `training.data.views`.
    """
    from training.data.views import apply_view

    logarithms = sum(
        share * log_probabilities(predict_probabilities(model, apply_view(images, view), image_size, progress=progress))
        for view, share in Counter(views).items()
    )
    return special.softmax(logarithms / len(views), axis=1).astype(np.float32)


def evaluate(probabilities: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of `probabilities` (n, classes) against `labels` (n,) as Python numbers, ready for JSON.

    Keys: `images` (n), `accuracy`, `loss` (mean cross-entropy in nats), `macro` (precision, recall, f1: unweighted
    means over the classes), `per_class` (name: precision, recall, f1, support), `class_names`, `confusion_matrix` (rows
    are the true classes, columns the predicted ones). A ratio whose denominator is zero counts as 0.

    Raises:
        ValueError: shapes disagree, a label is out of range, or a row of probabilities is no distribution.
    """
    probabilities = _distributions(probabilities, len(class_names))
    labels = _checked_labels(labels, probabilities)
    classes = np.arange(len(class_names))
    predicted = probabilities.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=classes, zero_division=0
    )
    return {
        "images": len(labels),
        "accuracy": float(metrics.accuracy_score(labels, predicted)),
        "loss": float(metrics.log_loss(labels, probabilities, labels=classes)),
        "macro": {"precision": float(precision.mean()), "recall": float(recall.mean()), "f1": float(f1.mean())},
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(class_names)
        },
        "class_names": list(class_names),
        "confusion_matrix": metrics.confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def fit_calibration(probabilities: np.ndarray, labels: np.ndarray) -> Calibration:
    """Return the calibration that minimises the cross-entropy of validation data; the most probable class stays the same.

    `probabilities` (n, classes), `labels` (n,). The model ends in softmax, so log-probabilities stand for logits, from which
    they differ by a constant a row.
    """
    probabilities = _distributions(probabilities)
    labels = _checked_labels(labels, probabilities)
    distance = distances(probabilities)
    bounds = np.log([TEMPERATURE_RANGE, EXPONENT_RANGE])

    def loss(logarithms: np.ndarray) -> float:
        temperature, exponent = np.exp(logarithms)
        return _cross_entropy(-((distance / temperature) ** exponent), labels)

    found = optimize.minimize(
        loss, np.zeros(2), method="Nelder-Mead", bounds=bounds, options={"initial_simplex": _SIMPLEX}
    )
    if (abs(found.x[:, np.newaxis] - bounds) < 1e-3).any():
        logger.warning(
            "The calibration ended at the edge, temperatures of %s and exponents of %s: too few or too uniform predictions.",
            TEMPERATURE_RANGE,
            EXPONENT_RANGE,
        )
    return Calibration(*map(float, np.exp(found.x)))


def evaluate_once(
    served: Predictor, split: "Split", image_size: int, views: Sequence[str] = (), progress: bool = False
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Fit the calibration of a trained model on its validation split, then look at the test set, once.

    Args:
        served: the model as it will answer.
        split: the data set and the rows that were held back.
        image_size: the side of the model's square input in pixels.
        views: over which a second evaluation averages; none skips it.
        progress: whether to show bars.

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


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Return the mean distance, 0..1, between confidence and accuracy over `bins` equal intervals of confidence.

    Each interval counts by its share of the images. Guo et al., 2017, equation 5.
    """
    probabilities = _distributions(probabilities)
    labels = _checked_labels(labels, probabilities)
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    interval = confidence_intervals(confidence, bins)
    gaps = np.bincount(interval, weights=confidence - correct, minlength=bins)  # sum over each bin's images
    return float(np.abs(gaps).sum() / len(labels))


def confidence_intervals(confidence: np.ndarray, bins: int = CALIBRATION_BINS) -> np.ndarray:
    """Return in which of `bins` equal intervals (low, high] each confidence 0..1 lies: numbers from 0, same shape."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def calibration(probabilities: np.ndarray, labels: np.ndarray, fitted: Calibration) -> dict[str, float]:
    """Return the two numbers of a calibration, and cross-entropy (nats) and expected calibration error before and after it."""
    probabilities = _distributions(probabilities)
    calibrated = fitted(probabilities)
    labels = _checked_labels(labels, probabilities)
    return {
        **dataclasses.asdict(fitted),
        "loss_before": _cross_entropy(log_probabilities(probabilities), labels),
        "loss_after": _cross_entropy(log_probabilities(calibrated), labels),
        "ece_before": expected_calibration_error(probabilities, labels),
        "ece_after": expected_calibration_error(calibrated, labels),
    }


def evaluate_saved(
    saved: "SavedModel",
    dataset: "ImageDataset",
    split: str = "test",
    seed: int | None = None,
    batch_size: int = 64,
    progress: bool = False,
) -> dict[str, Any]:
    """Return the metrics of a saved model on a split of `dataset`: `evaluate`'s, and `calibration` by its card.

    The validation split depends on the seed of the run that trained the model: `seed`, else the card's.

    Raises:
        ValueError: the model answers other classes than the data set has, or the seed is needed and not known.
    """
    order = class_order(saved, dataset)
    images, labels = _split(saved, dataset, split, seed)
    probabilities = predict_probabilities(saved.model, images, saved.image_size, batch_size, progress)[:, order]
    report = evaluate(probabilities, labels, dataset.class_names)
    if saved.card:
        report["calibration"] = calibration(probabilities, labels, saved.card.calibration)
    return {"model": saved.card.name if saved.card else saved.file.stem, "data": dataset.name, "split": split} | report


def format_metrics(report: Mapping[str, Any]) -> str:
    """Return the table of `evaluate`'s metrics as text: one line a class, then the means, accuracy and loss."""
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
    """Return, for each class of the data set, the column of the model's output that answers for it."""
    outputs = saved.model.output_shape[-1]
    if outputs != dataset.classes:
        raise ValueError(
            f"{saved.file} answers {outputs} classes, and {dataset.name} has {dataset.classes}. "
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
    """Return the images and labels of "test" or "validation"."""
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


def _distributions(probabilities: np.ndarray, classes: int | None = None) -> np.ndarray:
    """Return `probabilities` as float64 whose rows sum to 1 exactly, which float32 softmax misses by rounding."""
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or len(probabilities) == 0 or classes not in (None, probabilities.shape[1]):
        wanted = "classes" if classes is None else classes
        raise ValueError(f"probabilities must have the shape (n, {wanted}), n > 0. Received: {probabilities.shape}")
    sums = probabilities.sum(axis=1, keepdims=True)
    if not (np.isfinite(sums).all() and (probabilities >= 0).all() and (abs(sums - 1) < 1e-2).all()):
        raise ValueError(
            "Each row of probabilities must be finite, not negative, and sum to 1. Received: sums from "
            f"{sums.min():.4g} to {sums.max():.4g}, least value {probabilities.min():.4g}"
        )
    return probabilities / sums


def _checked_labels(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels must have the shape {probabilities.shape[:1]}. Received: {labels.shape}")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(
            f"labels must lie in 0..{probabilities.shape[1] - 1}. Received: {labels.min()}..{labels.max()}"
        )
    return labels


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
