"""From an image in any form to labels with calibrated probabilities."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from inference import explain, images
from inference.engines import Engine, open_engine
from models.card import CARD_FILE, Card, ModelFileError, NotExplainableError, read_card

BATCH = 32


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: of each class in the model's order, label → 0..1, calibrated; they sum to one.
        top: the most probable (label, probability) pairs, best first, as many as were asked for.
    """

    probabilities: dict[str, float]
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Explanation:
    """Where in the image a model saw a class.

    Attributes:
        label: the class.
        heat: (h, w) float32 in 0..1, over the model's view of the image; all 0 where nothing speaks for the class.
        view: the model's view of the image: (S, S, 3) uint8.
    """

    label: str
    heat: np.ndarray
    view: np.ndarray


class Classifier:
    """A saved model that answers images. It keeps no state between calls, and threads may share it.

    Attributes:
        card: what is known of the model.
        engine: what runs it.
    """

    def __init__(self, card: Card, engine: Engine):
        self.card = card
        self.engine = engine

    def classify(self, source, top_k: int = 3, *, max_pixels: int = images.MAX_PIXELS):
        """Answer one image, or a list of them.

        Args:
            source: an image, or a list or tuple of images: the bytes of a file, a path, a PIL image, or an array (H, W),
                (H, W, 1), (H, W, 3) or (H, W, 4), RGB in 0..255.
            top_k: how many of the most probable classes to name, from 1 to the number of classes.
            max_pixels: as in `images.decode`.

        Returns:
            A `Prediction`, or a list of them for a list.

        Raises:
            ImageError: for bytes, files and arrays that are no image.
            OSError: for a path that cannot be read.
            ValueError: `top_k` out of range.
        """
        if not isinstance(source, list | tuple):
            return self.classify([source], top_k, max_pixels=max_pixels)[0]
        views = (self.view(each, max_pixels=max_pixels) for each in source)
        return [each for batch in _batches(views) for each in self.answer(np.stack(batch), top_k)]

    def view(self, source, *, max_pixels: int = images.MAX_PIXELS) -> np.ndarray:
        """Return what the model sees of an image: (S, S, 3) float32 in 0..255. Arguments and errors as in `classify`."""
        size = self.card.input_size
        if isinstance(source, str | os.PathLike):
            source = Path(source).read_bytes()
        if isinstance(source, bytes | bytearray | memoryview):
            image = images.decode(bytes(source), max_pixels=max_pixels, size_hint=size)
        elif isinstance(source, np.ndarray):
            image = images.from_array(source)
        elif isinstance(source, Image.Image):
            image = images.to_rgb(source)
        else:
            raise TypeError(f"An image is bytes, a path, a PIL image or an array. Received: {type(source).__name__}")
        return images.fit(image, size, self.card.fit)

    def answer(self, views: np.ndarray, top_k: int = 3) -> list[Prediction]:
        """Answer images that are fitted already: (b, S, S, 3) float32 in 0..255, as `view` makes them."""
        labels = self.card.labels
        if not 1 <= top_k <= len(labels):
            raise ValueError(f"top_k must be from 1 to {len(labels)}. Received: top_k={top_k}")
        return [self._prediction(row, top_k) for row in self.probabilities(views)]

    def probabilities(self, views: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities (b, classes) for fitted images (b, S, S, 3)."""
        return temper(self.engine.outputs(views)[0], self.card.temperature)

    def explain(self, view: np.ndarray, label: str | None = None) -> Explanation:
        """Return the Grad-CAM heat map of a fitted image (S, S, 3) for a class, by default the most probable one.

        Raises:
            NotExplainableError: if the model was saved without what Grad-CAM needs, or its head does not allow it.
            ValueError: an unknown label.
        """
        if not self.engine.explains:
            raise NotExplainableError(f"The model {self.card.name} cannot show where it looked.")
        if label is not None and label not in self.card.labels:
            raise ValueError(f"label must be one of {', '.join(self.card.labels)}. Received: label={label!r}")
        probabilities, features, weights = self.engine.outputs(view[None])
        index = int(probabilities[0].argmax()) if label is None else self.card.labels.index(label)
        heat = explain.heat_map(features[0], weights[0, index])
        return Explanation(self.card.labels[index], heat, view.round().clip(0, 255).astype(np.uint8))

    def warm_up(self) -> float:
        """Answer one grey image, so that the first real one need not wait; return the seconds that it took."""
        started = time.perf_counter()
        self.probabilities(np.full((1, self.card.input_size, self.card.input_size, 3), 128, np.float32))
        return time.perf_counter() - started

    def _prediction(self, probabilities: np.ndarray, top_k: int) -> Prediction:
        by_label = dict(zip(self.card.labels, map(float, probabilities), strict=True))
        best = sorted(by_label.items(), key=lambda pair: pair[1], reverse=True)
        return Prediction(by_label, tuple(best[:top_k]))


def load_classifier(folder: str | os.PathLike, engine: str = "auto", *, threads: int | None = None) -> Classifier:
    """Load a saved model.

    Args:
        folder: with `card.json` and `model.onnx` or `model.keras`.
        engine: "auto", "onnxruntime" or "keras", see `open_engine`.
        threads: for one answer, under onnxruntime; None for as many as there are cores.

    Raises:
        ModelFileError: if the folder holds no model that can be run; the message says what is missing.
    """
    folder = Path(folder)
    if not (folder / CARD_FILE).is_file():
        raise ModelFileError(f"{folder} is not the folder of a saved model: it holds no {CARD_FILE}.")
    card = read_card(folder / CARD_FILE)
    if card.fit not in images.FITS:
        raise ModelFileError(
            f"{folder / CARD_FILE}: fit must be one of {', '.join(images.FITS)}. Received: {card.fit!r}"
        )
    return Classifier(card, open_engine(folder, card, engine, threads))


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(log p / T), (b, classes): temperature scaling (Guo et al. 2017, arXiv 1706.04599).

    In float64, and with the smallest positive float32 in the place of 0, which has no logarithm.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _batches(views: Iterator[np.ndarray]) -> Iterator[Sequence[np.ndarray]]:
    batch: list[np.ndarray] = []
    for view in views:
        batch.append(view)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
