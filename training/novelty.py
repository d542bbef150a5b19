"""What a saved model needs to tell images that are unlike its training images: `novelty.npz` beside it.

python -m training.novelty saved_models/mobilenet_v2     make it anew; several folders may be named
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from models.card import CARD_FILE, NOVELTY_FILE, ONNX_FILE, ModelFileError, read_card
from models.novelty import Novelty
from models.onnx_model import OnnxModel
from models.storage import sha256_of, written_whole
from training.artifacts import write_json
from training.cifar10 import load_cifar10
from training.datasets import ImageDataset
from training.novelty_scores import on_sphere, principal
from training.pipeline import resize

# Chosen on validation images: see results/novelty.json, written by `python benchmark.py --novelty`.
BANK, DIMENSIONS, NEIGHBOUR = 2000, 64, 5
LEVELS = 1001
BATCH = 64


def learn_novelty(
    features: np.ndarray, held_back: np.ndarray, *, bank: int = BANK, dimensions: int = DIMENSIONS, k: int = NEIGHBOUR
) -> Novelty:
    """Return what tells images that are unlike the training images.

    Args:
        features: (n, C), of training images: averages of the last feature map. The first `bank` of them are kept.
        held_back: (m, C), of images that the model has not learned from.
        bank: how many training images to keep at most.
        dimensions: how many directions to keep at most.
        k: the k-th nearest counts; less where the bank is small.
    """
    mean = features.mean(axis=0)
    directions = principal(features - mean, dimensions)
    known = on_sphere((features[:bank] - mean) @ directions)
    # As float16, the precision of the file, so that the levels are those of what is read back.
    stored = [each.astype(np.float16) for each in (directions, known)]
    novelty = Novelty(mean, *stored, min(k, len(known)), levels=np.zeros(1))
    levels = np.quantile(novelty.scores(held_back), np.linspace(0, 1, LEVELS))
    return dataclasses.replace(novelty, levels=levels)


def write_novelty(folder: Path, model: OnnxModel, kept: np.ndarray, held_back: np.ndarray, size: int) -> bool:
    """Write `novelty.npz` beside a saved model; return whether it could be: the model has to give its last feature map.

    Args:
        folder: where it goes.
        model: the folder's.
        kept: training images, uint8 (n, H, W, 3), of which the first 2,000 are kept.
        held_back: images that the model has not learned from, alike.
        size: S, in pixels.
    """
    if model.output_count < 3:
        return False
    features, others = (pooled_features(model.outputs, images, size) for images in (kept[:BANK], held_back))
    with written_whole(folder / NOVELTY_FILE) as partial:
        learn_novelty(features, others).save(partial)
    return True


def add_novelty(folder: Path, dataset: ImageDataset) -> bool:
    """Write `novelty.npz` for a model that is finished, and name it in its card; return whether it could be written."""
    card = read_card(folder / CARD_FILE)
    training, validation = dataset.split(card.seed, card.validation_images or len(dataset.x_train) // 10)
    images = dataset.x_train
    model = OnnxModel(folder / ONNX_FILE)
    if not write_novelty(folder, model, images[training[:BANK]], images[validation], card.input_size):
        return False
    sums = {**card.sha256, NOVELTY_FILE: sha256_of(folder / NOVELTY_FILE)}
    write_json(folder / CARD_FILE, dataclasses.replace(card, sha256=sums).as_dict())
    return True


def pooled_features(outputs: Callable[[np.ndarray], list], images: np.ndarray, size: int) -> np.ndarray:
    """Return the averages of the last feature map, (n, C) float32, for images (n, H, W, 3) as training resizes them."""
    starts = tqdm(range(0, len(images), BATCH), desc="features", unit=" batches", leave=False, disable=None)
    batches = (np.asarray(resize(images[start : start + BATCH], size)) for start in starts)
    return np.concatenate([outputs(batch)[1].mean(axis=(1, 2)) for batch in batches])


def main(arguments: list[str] | None = None) -> int:
    """Make the files, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="of a saved model")
    options = parser.parse_args(arguments)
    for folder in options.folders:
        try:
            made = add_novelty(folder, load_cifar10())
        except (ModelFileError, OSError, ValueError) as error:
            print(f"novelty: {error}", file=sys.stderr)
            return 1
        print(f"{folder}: {NOVELTY_FILE if made else 'its model has no feature map, nothing was made'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
