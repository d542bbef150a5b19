"""Classify images with a saved model: decode, resize, run, calibrate, explain."""

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from inference import explain
from inference.decode import MAX_PIXELS, decode, from_array, to_rgb
from inference.engines import Engine, open_engine
from inference.resize import RESIZE_MODES, resize
from models.saved.card import CARD_FILE, Card, ModelFileError, NotExplainableError, read_card
from models.saved.ood import OOD_THRESHOLD, OodDetector, read_ood_detector
from runtime.validation import require

BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class ModelInput:
    """A preprocessed image.

    Attributes:
        pixels: (S, S, 3) float32 in 0..255.
        source_size: width and height in pixels of the decoded image, for a large JPEG a fraction of the file's.
    """

    pixels: np.ndarray
    source_size: tuple[int, int]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        probabilities: label → calibrated probability, in the model's order; they sum to 1.
        top: the most probable (label, probability) pairs, best first.
        in_distribution: share, 0..1, of held-out images whose in-distribution score is at most this image's; None without an
            OOD detector.
        warning: why the prediction may be wrong, or empty.
    """

    probabilities: dict[str, float]
    top: tuple[tuple[str, float], ...]
    in_distribution: float | None = None
    warning: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the API's JSON of the prediction; it omits an `in_distribution` of None and an empty `warning`."""
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
    """A Grad-CAM explanation: which parts of an image speak for the class `label`.

    Attributes:
        heat: (h, w) float32 in 0..1, over the preprocessed image; all 0 if no part does.
        image: the preprocessed image, (S, S, 3) uint8.
    """

    label: str
    heat: np.ndarray
    image: np.ndarray


class Classifier:
    """A saved model that classifies images. It keeps no state between calls, so threads may share it.

    `ood_detector` is None for a model that was saved without one.
    """

    def __init__(self, card: Card, engine: Engine, ood_detector: OodDetector | None = None):
        self.card = card
        self.engine = engine
        self.ood_detector = ood_detector if engine.explains else None  # it reads the feature map

    def classify(self, source, top_k: int = 3, *, max_pixels: int = MAX_PIXELS):
        """Classify an image or a list of images.

        Args:
            source: the bytes of a file, a path, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), RGB in
                0..255; or a list or tuple of these.
            top_k: number of classes in `Prediction.top`, from 1 to the number of classes.
            max_pixels: as in `inference.decode.decode`.

        Returns:
            A `Prediction`, or a list of them for a list or tuple.

        Raises:
            ImageError: a file or array is no image.
            OSError: a path cannot be read.
            ValueError: `top_k` is out of range.
        """
        if not isinstance(source, list | tuple):
            return self.classify([source], top_k, max_pixels=max_pixels)[0]
        inputs = (self.preprocess(each, max_pixels=max_pixels) for each in source)
        predictions: list[Prediction] = []
        while batch := list(itertools.islice(inputs, BATCH_SIZE)):
            predictions += self.predict(batch, top_k)
        return predictions

    def preprocess(self, source, *, max_pixels: int = MAX_PIXELS) -> ModelInput:
        """Decode an image and resize it to the model's input. Arguments and errors as in `classify`."""
        card = self.card
        if isinstance(source, str | os.PathLike):
            source = Path(source).read_bytes()
        if isinstance(source, bytes | bytearray | memoryview):
            needed = card.resolution if card.resize_mode == "thumbnail" else max(card.input_size, card.resolution or 0)
            image = decode(bytes(source), max_pixels=max_pixels, size_hint=needed)
        elif isinstance(source, np.ndarray):
            image = from_array(source)
        elif isinstance(source, Image.Image):
            image = to_rgb(source)
        else:
            raise TypeError(f"An image is bytes, a path, a PIL image or an array. Received: {type(source).__name__}")
        return ModelInput(resize(image, card.input_size, card.resize_mode, card.resolution), image.size)

    def predict(self, inputs: Sequence[ModelInput], top_k: int = 3) -> list[Prediction]:
        """Classify a batch of at least one preprocessed image."""
        labels = self.card.labels
        require(1 <= top_k <= len(labels), f"top_k must be from 1 to {len(labels)}", top_k=top_k)
        outputs = self.engine.outputs(np.stack([each.pixels for each in inputs]))
        shares: list[float | None] = [None] * len(inputs)
        if self.ood_detector is not None:
            shares = self.ood_detector.in_distribution(outputs[1].mean((1, 2))).tolist()  # of features (b, C)
        predictions = []
        for row, share, each in zip(self.card.calibration(outputs[0]).tolist(), shares, inputs, strict=True):
            probabilities = dict(zip(labels, row, strict=True))
            ranked = sorted(probabilities.items(), key=lambda pair: pair[1], reverse=True)
            warning = self._warning(share, each.source_size)
            predictions.append(Prediction(probabilities, tuple(ranked[:top_k]), share, warning))
        return predictions

    def explain(self, image: ModelInput, label: str | None = None) -> Explanation:
        """Return the Grad-CAM heat map of a preprocessed image for a class, by default the most probable one.

        Raises:
            NotExplainableError: the model has no Grad-CAM outputs.
            ValueError: `label` is unknown.
        """
        if not self.engine.explains:
            raise NotExplainableError(f"The model {self.card.name} has no Grad-CAM outputs, so it cannot be explained.")
        labels = self.card.labels
        require(label is None or label in labels, f"label must be one of {', '.join(labels)}", label=label)
        probabilities, features, weights = self.engine.outputs(image.pixels[None])
        index = int(probabilities[0].argmax()) if label is None else labels.index(label)
        heat = explain.heat_map(features[0], weights[0, index])
        return Explanation(labels[index], heat, image.pixels.round().clip(0, 255).astype(np.uint8))

    def warm_up(self) -> float:
        """Classify one grey image, so that the first request is fast; return the seconds that it took."""
        started = time.perf_counter()
        self.classify(np.full((self.card.input_size, self.card.input_size), 128, np.uint8), top_k=1)
        return time.perf_counter() - started

    def _warning(self, in_distribution: float | None, source_size: tuple[int, int]) -> str:
        reasons = []
        if in_distribution is not None and in_distribution < OOD_THRESHOLD:
            reasons.append("Out-of-distribution: this image may show none of the model's classes.")
        resolution = self.card.resolution or 0
        if min(source_size) < resolution:
            width, height = source_size
            reasons.append(f"Low resolution: {width}×{height} pixels; training images had {resolution}×{resolution}.")
        return " ".join(reasons)


def load_classifier(folder: str | os.PathLike, engine: str = "auto", *, threads: int | None = None) -> Classifier:
    """Load the model saved in a folder; `engine` and `threads` as in `open_engine`.

    Raises:
        ModelFileError: the folder holds no model that can be run, or a damaged file.
    """
    folder, path = Path(folder), Path(folder, CARD_FILE)
    if not path.is_file():
        raise ModelFileError(f"{folder} is not the folder of a saved model: it holds no {CARD_FILE}.")
    card = read_card(path)
    if card.resize_mode not in RESIZE_MODES:
        known = ", ".join(RESIZE_MODES)
        raise ModelFileError(f"{path}: resize_mode must be one of {known}. Received: {card.resize_mode!r}")
    if card.resize_mode == "thumbnail" and card.resolution is None:
        raise ModelFileError(f"{path}: resize_mode 'thumbnail' needs a resolution.")
    return Classifier(card, open_engine(folder, card, engine, threads), read_ood_detector(folder, card))
