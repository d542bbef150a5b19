"""Fit the OOD detector of a saved model and write it beside the model as `ood.npz`.

python -m training.export.ood saved_models/mobilenet_v2     refit it; takes several folders

The cards are updated, with the training images' resolution and the default resize mode.
"""

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path

import keras
import numpy as np

from models.saved.card import CARD_FILE, KERAS_FILE, ONNX_FILE, OOD_FILE, ModelFileError
from models.saved.onnx_model import OnnxModel
from models.saved.ood import OodDetector, energies
from runtime.files import atomic_write, sha256_of
from runtime.progress import ProgressBar
from training.data.dataset import ImageDataset, spread
from training.data.image_batches import resize
from training.export.calibrate import for_each_folder
from training.export.saved_model import RESIZE_MODE, load_saved, write_json

BANK, DIMENSIONS, NEIGHBOURS = 2000, 64, 10  # compared by benchmarks/experiments/ood_detection.py
LEVELS = 1001  # quantiles of the held-out scores
BATCH = 64


def fit_ood_detector(
    features: np.ndarray,
    held_out: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    *,
    bank: int = BANK,
    dimensions: int = DIMENSIONS,
    k: int = NEIGHBOURS,
) -> OodDetector:
    """Fit NNGuide (Park et al. 2023, arXiv 2309.14888) on the pooled features of training images.

    Args:
        features: (n, C), of training images.
        held_out: (m, C), of images that the model was not trained on; the quantiles of their scores are stored.
        kernel: (C, classes), as in `OodDetector`.
        bias: (classes,).
        bank: maximum number of training images to keep.
        dimensions: maximum number of principal directions to keep.
        k: number of nearest neighbours to average, at most the bank.
    """
    features = spread(features, bank)
    units = unit_length(features)
    directions = principal_directions(units, dimensions)
    weighted = units @ directions * energies(features, kernel, bias)[:, np.newaxis]
    # The file stores float16: with it here too, the quantiles fit the detector that is loaded.
    stored = [each.astype(np.float16) for each in (directions, weighted)]
    detector = OodDetector(*stored, min(k, len(weighted)), kernel, bias, levels=np.zeros(1))
    levels = np.quantile(detector.scores(held_out), np.linspace(0, 1, LEVELS))
    return dataclasses.replace(detector, levels=levels)


def write_ood_detector(
    folder: Path,
    model: OnnxModel,
    last: tuple[np.ndarray, np.ndarray],
    dataset: ImageDataset,
    training: np.ndarray,
    held_out: np.ndarray,
) -> bool:
    """Write `ood.npz` beside a saved model; return False, and write nothing, if the model outputs no feature map.

    `last` is the model's `last_layer`. `training` and `held_out` are rows of the data set: of the images that the model was
    trained on, of which 2,000 are kept, evenly spread, and of others.
    """
    if model.output_count < 3:
        return False
    features, others = (pooled_features(model, dataset.x_train[rows]) for rows in (spread(training, BANK), held_out))
    with atomic_write(folder / OOD_FILE) as partial:
        fit_ood_detector(features, others, *last).save(partial)
    return True


def refit_ood_detector(folder: Path, dataset: ImageDataset) -> bool:
    """Write `ood.npz` for a saved model and update its card; return False if the model outputs no feature map."""
    saved = load_saved(folder / ONNX_FILE)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    sums = {name: digest for name, digest in saved.card.sha256.items() if name != OOD_FILE}
    card = dataclasses.replace(saved.card, sha256=sums, resolution=dataset.x_train.shape[1], resize_mode=RESIZE_MODE)
    write_json(folder / CARD_FILE, card.as_dict())  # without the detector, so that an interruption leaves a valid model
    last = last_layer(load_saved(folder / KERAS_FILE).model)
    if not write_ood_detector(folder, saved.model, last, *saved.split(dataset)):
        return False
    card = dataclasses.replace(card, sha256={**sums, OOD_FILE: sha256_of(folder / OOD_FILE)})
    write_json(folder / CARD_FILE, card.as_dict())
    return True


def last_layer(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel (C, classes) and bias (classes,) of the layer from pooled features to logits.

    With 0 classes if the head is not global average pooling and one Dense layer.
    """
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    dense = [layer for layer in head if isinstance(layer, keras.layers.Dense)]
    if len(dense) != 1 or not isinstance(head[0], keras.layers.GlobalAveragePooling2D):
        return np.zeros((head[0].input.shape[-1], 0), np.float32), np.zeros(0, np.float32)
    kernel = np.asarray(dense[0].kernel)
    return kernel, np.zeros(kernel.shape[1], np.float32) if dense[0].bias is None else np.asarray(dense[0].bias)


def pooled_features(model: OnnxModel, images: np.ndarray) -> np.ndarray:
    """Return the average-pooled last feature map, (n, C) float32, of images (n, H, W, 3), resized as in training."""
    size = model.input_shape[1]
    batches = (images[start : start + BATCH] for start in range(0, len(images), BATCH))
    return averaged_maps(model, (np.asarray(resize(batch, size)) for batch in batches), len(images))


def averaged_maps(model: OnnxModel, batches: Iterable[np.ndarray], images: int) -> np.ndarray:
    """Return the average-pooled last feature map, (n, C), of batches of model inputs with `images` images in total."""
    shown = ProgressBar(batches, desc="features", unit=" batches", total=-(-images // BATCH), leave=False)
    return np.concatenate([model.outputs(batch)[1].mean(axis=(1, 2)) for batch in shown])


def unit_length(features: np.ndarray) -> np.ndarray:
    """Return features (n, d) scaled to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def principal_directions(features: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the leading eigenvectors (d, dimensions) of the uncentred second moment of features (n, d)."""
    _, vectors = np.linalg.eigh(features.T @ features / len(features))
    return vectors[:, ::-1][:, :dimensions]


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        return OOD_FILE if refit_ood_detector(folder, dataset) else "no OOD detector: the model outputs no feature map"

    return for_each_folder("ood", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
