"""From an image in any form to labels with calibrated probabilities."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inference import explain, images
from inference.engines import Engine, open_engine
from models.saved.card import CARD_FILE, Card, ModelFileError, NotExplainableError, read_card
from models.saved.ood import OOD_THRESHOLD, OodDetector, read_ood_detector

BATCH = 32


@dataclass(frozen=True, eq=False)
class ModelInput:
    """What a model sees of an image.

    Attributes:
        pixels: (S, S, 3) float32 in 0..255.
        sides: width and height of the image that it was made of, in pixels. A large JPEG is read at a part of its size.
    """

    pixels: np.ndarray
    sides: tuple[int, int]


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    Attributes:
        probabilities: of each class in the model's order, label → 0..1, calibrated; they sum to one.
        top: the most probable (label, probability) pairs, best first, as many as were asked for.
        in_distribution: the share, 0..1, of held-back training images that the model finds at least as unlike those that it
            learned from; None where the model has nothing to tell it by.
        warning: why the answer is not to be trusted, in a sentence; empty where nothing speaks against it.
    """

    probabilities: dict[str, float]
    top: tuple[tuple[str, float], ...]
    in_distribution: float | None = None
    warning: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as the API gives it: `in_distribution` and `warning` only where there is one."""
        document: dict[str, Any] = {
            "predictions": [{"label": label, "score": score} for label, score in self.top],
            "probabilities": self.probabilities,
        }
        if self.in_distribution is not None:
            document["in_distribution"] = self.in_distribution
        if self.warning:
            document["warning"] = self.warning
        return document


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
        ood_detector: what tells images that are unlike the training images; None where that was not saved.
    """

    def __init__(self, card: Card, engine: Engine, ood_detector: OodDetector | None = None):
        self.card = card
        self.engine = engine
        self.ood_detector = ood_detector if engine.explains else None  # it reads the feature map

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
        views = (self.preprocess(each, max_pixels=max_pixels) for each in source)
        return [each for batch in _batches(views) for each in self.predict(batch, top_k)]

    def preprocess(self, source, *, max_pixels: int = images.MAX_PIXELS) -> ModelInput:
        """Return what the model sees of an image. Arguments and errors as in `classify`."""
        card = self.card
        if isinstance(source, str | os.PathLike):
            source = Path(source).read_bytes()
        if isinstance(source, bytes | bytearray | memoryview):
            needed = card.resolution if card.resize_mode == "thumbnail" else max(card.input_size, card.resolution or 0)
            image = images.decode(bytes(source), max_pixels=max_pixels, size_hint=needed)
        elif isinstance(source, np.ndarray):
            image = images.from_array(source)
        elif isinstance(source, Image.Image):
            image = images.to_rgb(source)
        else:
            raise TypeError(f"An image is bytes, a path, a PIL image or an array. Received: {type(source).__name__}")
        return ModelInput(images.resize(image, card.input_size, card.resize_mode, card.resolution), image.size)

    def predict(self, views: Sequence[ModelInput], top_k: int = 3) -> list[Prediction]:
        """Answer images that are fitted already, as `view` makes them; at least one."""
        labels = self.card.labels
        if not 1 <= top_k <= len(labels):
            raise ValueError(f"top_k must be from 1 to {len(labels)}. Received: top_k={top_k}")
        outputs = self.engine.outputs(np.stack([view.pixels for view in views]))
        probabilities = self.card.calibration(outputs[0])
        near = (
            [None] * len(views)
            if self.ood_detector is None
            else map(float, self.ood_detector.in_distribution(outputs[1].mean((1, 2))))
        )
        return [
            self._prediction(row, top_k, share, view)
            for row, share, view in zip(probabilities, near, views, strict=True)
        ]

    def probabilities(self, views: Sequence[ModelInput]) -> np.ndarray:
        """Return calibrated probabilities (b, classes) for fitted images; at least one."""
        return self.card.calibration(self.engine.outputs(np.stack([view.pixels for view in views]))[0])

    def explain(self, view: ModelInput, label: str | None = None) -> Explanation:
        """Return the Grad-CAM heat map of a fitted image for a class, by default the most probable one.

        Raises:
            NotExplainableError: if the model was saved without what Grad-CAM needs, or its head does not allow it.
            ValueError: an unknown label.
        """
        if not self.engine.explains:
            raise NotExplainableError(f"The model {self.card.name} cannot show where it looked.")
        if label is not None and label not in self.card.labels:
            raise ValueError(f"label must be one of {', '.join(self.card.labels)}. Received: label={label!r}")
        probabilities, features, weights = self.engine.outputs(view.pixels[None])
        index = int(probabilities[0].argmax()) if label is None else self.card.labels.index(label)
        heat = explain.heat_map(features[0], weights[0, index])
        return Explanation(self.card.labels[index], heat, view.pixels.round().clip(0, 255).astype(np.uint8))

    def warm_up(self) -> float:
        """Answer one grey image, so that the first real one need not wait; return the seconds that it took."""
        started = time.perf_counter()
        self.classify(np.full((self.card.input_size, self.card.input_size), 128, np.uint8), top_k=1)
        return time.perf_counter() - started

    def _prediction(self, probabilities: np.ndarray, top_k: int, near: float | None, view: ModelInput) -> Prediction:
        by_label = dict(zip(self.card.labels, map(float, probabilities), strict=True))
        best = sorted(by_label.items(), key=lambda pair: pair[1], reverse=True)
        return Prediction(by_label, tuple(best[:top_k]), near, self._warning(near, view.sides))

    def _warning(self, near: float | None, sides: tuple[int, int]) -> str:
        reasons = []
        if near is not None and near < OOD_THRESHOLD:
            reasons.append(
                "This picture is unlike the ones that the model learned from: it may show none of its classes."
            )
        if min(sides) < (self.card.resolution or 0):
            learned = "×".join([str(self.card.resolution)] * 2)
            reasons.append(f"This picture has {sides[0]}×{sides[1]} pixels; the model learned from {learned}.")
        return " ".join(reasons)


def load_classifier(folder: str | os.PathLike, engine: str = "auto", *, threads: int | None = None) -> Classifier:
    """Load a saved model.

    Args:
        folder: with `card.json` and `model.onnx` or `model.keras`.
        engine: "auto", "onnxruntime" or "keras", see `open_engine`.
        threads: for one answer, under onnxruntime; None for as many as there are cores.

    Raises:
        ModelFileError: if the folder holds no model that can be run, or a damaged file; the message says which.
    """
    folder = Path(folder)
    if not (folder / CARD_FILE).is_file():
        raise ModelFileError(f"{folder} is not the folder of a saved model: it holds no {CARD_FILE}.")
    card = read_card(folder / CARD_FILE)
    if card.resize_mode not in images.RESIZE_MODES:
        raise ModelFileError(
            f"{folder / CARD_FILE}: resize_mode must be one of {', '.join(images.RESIZE_MODES)}. Received: {card.resize_mode!r}"
        )
    if card.resize_mode == "thumbnail" and card.resolution is None:
        raise ModelFileError(f"{folder / CARD_FILE}: resize_mode 'thumbnail' needs a resolution.")
    return Classifier(card, open_engine(folder, card, engine, threads), read_ood_detector(folder, card))


def _batches(views: Iterator[ModelInput]) -> Iterator[Sequence[ModelInput]]:
    batch: list[ModelInput] = []
    for view in views:
        batch.append(view)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
