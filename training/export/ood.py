"""What a saved model needs to tell images that are unlike its training images: `ood.npz` beside it.

python -m training.export.ood saved_models/mobilenet_v2     make it anew; several folders may be named

Their cards also get the resolution that was learned from, and the default fit of uploads.
"""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from models.saved.card import CARD_FILE, KERAS_FILE, ONNX_FILE, OOD_FILE, ModelFileError
from models.saved.onnx_model import OnnxModel
from models.saved.ood import OodDetector, energies
from runtime.files import atomic_write, sha256_of
from training.data.dataset import ImageDataset, spread
from training.data.pipeline import resize
from training.export.folder_command import for_each_folder
from training.export.saved_model import RESIZE_MODE, load_saved, write_json

# `python benchmark.py --ood_detector` compares them with others on validation images.
BANK, DIMENSIONS, NEIGHBOURS = 2000, 64, 10
LEVELS = 1001
BATCH = 64


def fit_ood_detector(
    features: np.ndarray,
    held_back: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    *,
    bank: int = BANK,
    dimensions: int = DIMENSIONS,
    k: int = NEIGHBOURS,
) -> OodDetector:
    """Return what tells images that are unlike the training images.

    Args:
        features: (n, C), of training images: averages of the last feature map.
        held_back: (m, C), of images that the model has not learned from.
        kernel: (C, classes), as in `OodDetector`.
        bias: (classes,).
        bank: how many training images to keep at most.
        dimensions: how many directions to keep at most.
        k: the mean of the k nearest counts; fewer where the bank is small.
    """
    features = spread(features, bank)
    units = unit_length(features)
    directions = principal_directions(units, dimensions)
    known = units @ directions * energies(features, kernel, bias)[:, np.newaxis]
    # As float16, the precision of the file, so that the levels are those of what is read back.
    stored = [each.astype(np.float16) for each in (directions, known)]
    ood_detector = OodDetector(*stored, min(k, len(known)), kernel, bias, levels=np.zeros(1))
    levels = np.quantile(ood_detector.scores(held_back), np.linspace(0, 1, LEVELS))
    return dataclasses.replace(ood_detector, levels=levels)


def write_ood_detector(
    folder: Path,
    model: OnnxModel,
    last: tuple[np.ndarray, np.ndarray],
    dataset: ImageDataset,
    training: np.ndarray,
    held_back: np.ndarray,
) -> bool:
    """Write `ood.npz` beside a saved model; return whether it could be: the model has to give its last feature map.

    Args:
        folder: where it goes.
        model: the folder's.
        last: the model's `last_layer`.
        dataset: what the model learned from.
        training: rows of its training images that the model learned from; 2,000 of them, evenly spread, are kept.
        held_back: rows that it has not learned from.
    """
    if model.output_count < 3:
        return False
    kept = spread(training, BANK)
    features, others = (pooled_features(model, dataset.x_train[rows]) for rows in (kept, held_back))
    with atomic_write(folder / OOD_FILE) as partial:
        fit_ood_detector(features, others, *last).save(partial)
    return True


def refit_ood_detector(folder: Path, dataset: ImageDataset) -> bool:
    """Write `ood.npz` for a model that is finished, and let its card say so; return whether it could be written.

    The card gets the resolution that the model learned from, and shows it uploads as a run's card does, whether or not.
    """
    saved = load_saved(folder / ONNX_FILE)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    sums = {name: digest for name, digest in saved.card.sha256.items() if name != OOD_FILE}
    card = dataclasses.replace(saved.card, sha256=sums, resolution=dataset.x_train.shape[1], resize_mode=RESIZE_MODE)
    write_json(folder / CARD_FILE, card.as_dict())  # without the file's sum: interrupted here, the model still answers
    last = last_layer(load_saved(folder / KERAS_FILE).model)
    if not write_ood_detector(folder, saved.model, last, *saved.split(dataset)):
        return False
    card = dataclasses.replace(card, sha256={**sums, OOD_FILE: sha256_of(folder / OOD_FILE)})
    write_json(folder / CARD_FILE, card.as_dict())
    return True


def last_layer(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel (C, classes) and bias (classes,) of the layer that makes logits of the averages of the last feature map.

    There is such a layer where the head is their average, and one Dense layer; else there are no classes.
    """
    head = [layer for layer in model.layers if layer.name.startswith("head_")]
    dense = [layer for layer in head if isinstance(layer, keras.layers.Dense)]
    if len(dense) != 1 or not isinstance(head[0], keras.layers.GlobalAveragePooling2D):
        return np.zeros((head[0].input.shape[-1], 0), np.float32), np.zeros(0, np.float32)
    kernel = np.asarray(dense[0].kernel)
    return kernel, np.zeros(kernel.shape[1], np.float32) if dense[0].bias is None else np.asarray(dense[0].bias)


def pooled_features(model: OnnxModel, images: np.ndarray) -> np.ndarray:
    """Return the averages of the last feature map, (n, C) float32, for images (n, H, W, 3) as training resizes them."""
    size = model.input_shape[1]
    return averaged_maps(model, (np.asarray(resize(batch, size)) for batch in _batches(images)), len(images))


def averaged_maps(model: OnnxModel, batches: Iterable[np.ndarray], images: int) -> np.ndarray:
    """Return the averages of the last feature map, (n, C), for batches of a model's inputs."""
    shown = tqdm(batches, desc="features", unit=" batches", total=-(-images // BATCH), leave=False, disable=None)
    return np.concatenate([model.outputs(batch)[1].mean(axis=(1, 2)) for batch in shown])


def unit_length(features: np.ndarray) -> np.ndarray:
    """Return features (n, d) scaled to length 1."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def principal_directions(features: np.ndarray, dimensions: int) -> np.ndarray:
    """Return the directions in which features (n, d) are longest, of centred ones those of most variance: (d, dimensions)."""
    _, vectors = np.linalg.eigh(features.T @ features / len(features))
    return vectors[:, ::-1][:, :dimensions]


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def main(arguments: list[str] | None = None) -> int:
    """Make the files, and return the exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        return OOD_FILE if refit_ood_detector(folder, dataset) else "its model has no feature map, nothing was made"

    return for_each_folder("ood_detector", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
