"""What a saved model needs to tell images that are unlike its training images: `novelty.npz` beside it.

python -m training.novelty saved_models/mobilenet_v2     make it anew; several folders may be named

Their cards also get the resolution that was learned from, and the default fit of uploads.
"""

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from models.card import CARD_FILE, KERAS_FILE, NOVELTY_FILE, ONNX_FILE, ModelFileError
from models.novelty import Novelty, energies
from models.onnx_model import OnnxModel
from models.storage import sha256_of, written_whole
from training.artifacts import FIT, load_saved, write_json
from training.datasets import ImageDataset, spread
from training.folder_command import for_each_folder
from training.novelty_scores import on_sphere, principal
from training.pipeline import resize

# `python benchmark.py --novelty` compares them with others on validation images.
BANK, DIMENSIONS, NEIGHBOURS = 2000, 64, 10
LEVELS = 1001
BATCH = 64


def learn_novelty(
    features: np.ndarray,
    held_back: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray,
    *,
    bank: int = BANK,
    dimensions: int = DIMENSIONS,
    k: int = NEIGHBOURS,
) -> Novelty:
    """Return what tells images that are unlike the training images.

    Args:
        features: (n, C), of training images: averages of the last feature map.
        held_back: (m, C), of images that the model has not learned from.
        kernel: (C, classes), as in `Novelty`.
        bias: (classes,).
        bank: how many training images to keep at most.
        dimensions: how many directions to keep at most.
        k: the mean of the k nearest counts; fewer where the bank is small.
    """
    features = spread(features, bank)
    units = on_sphere(features)
    directions = principal(units, dimensions)
    known = units @ directions * energies(features, kernel, bias)[:, np.newaxis]
    # As float16, the precision of the file, so that the levels are those of what is read back.
    stored = [each.astype(np.float16) for each in (directions, known)]
    novelty = Novelty(*stored, min(k, len(known)), kernel, bias, levels=np.zeros(1))
    levels = np.quantile(novelty.scores(held_back), np.linspace(0, 1, LEVELS))
    return dataclasses.replace(novelty, levels=levels)


def write_novelty(
    folder: Path,
    model: OnnxModel,
    last: tuple[np.ndarray, np.ndarray],
    dataset: ImageDataset,
    training: np.ndarray,
    held_back: np.ndarray,
) -> bool:
    """Write `novelty.npz` beside a saved model; return whether it could be: the model has to give its last feature map.

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
    with written_whole(folder / NOVELTY_FILE) as partial:
        learn_novelty(features, others, *last).save(partial)
    return True


def add_novelty(folder: Path, dataset: ImageDataset) -> bool:
    """Write `novelty.npz` for a model that is finished, and let its card say so; return whether it could be written.

    The card gets the resolution that the model learned from, and shows it uploads as a run's card does, whether or not.
    """
    saved = load_saved(folder / ONNX_FILE)
    if saved.card is None:
        raise ModelFileError(f"{folder} holds no {CARD_FILE}.")
    sums = {name: digest for name, digest in saved.card.sha256.items() if name != NOVELTY_FILE}
    card = dataclasses.replace(saved.card, sha256=sums, resolution=dataset.x_train.shape[1], fit=FIT)
    write_json(folder / CARD_FILE, card.as_dict())  # without the file's sum: interrupted here, the model still answers
    last = last_layer(load_saved(folder / KERAS_FILE).model)
    if not write_novelty(folder, saved.model, last, *saved.split(dataset)):
        return False
    card = dataclasses.replace(card, sha256={**sums, NOVELTY_FILE: sha256_of(folder / NOVELTY_FILE)})
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


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    return (images[start : start + BATCH] for start in range(0, len(images), BATCH))


def main(arguments: list[str] | None = None) -> int:
    """Make the files, and return the exit status."""

    def work(folder: Path, dataset: ImageDataset) -> str:
        return NOVELTY_FILE if add_novelty(folder, dataset) else "its model has no feature map, nothing was made"

    return for_each_folder("novelty", __doc__, work, arguments)


if __name__ == "__main__":
    sys.exit(main())
