"""What is known of a saved model: `card.json`, which with the weights and `novelty.npz` is all that serving reads."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.calibration import Calibration

KERAS_FILE, ONNX_FILE, CARD_FILE, NOVELTY_FILE = "model.keras", "model.onnx", "card.json", "novelty.npz"


class ModelFileError(ValueError):
    """A path holds no model that can be read and evaluated."""


class NotExplainableError(ValueError):
    """A model cannot show where it looked: it has no feature map, a head of another kind, or was saved without Grad-CAM."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of a saved model; `card.json` has exactly these keys.

    Attributes:
        name: Name of the network, as the registry has it.
        version: Version of this model.
        labels: Class names in output order.
        input_size: S, the side of the input in pixels.
        fit: How an uploaded image becomes S×S: "bilinear" or "thumbnail", see `inference.images.fit`.
        temperature: See `Calibration`, which makes the probabilities that are shown.
        test_accuracy: 0..1, one forward pass on the test split.
        val_accuracy: 0..1, the same on the validation split.
        parameters: Numbers `total` and `trainable`.
        sha256: Sum of each model file in the folder, by file name.
        command: The command that reproduces the model.
        recipe: Name of the recipe.
        seed: Seed of the run, which also drew the validation split.
        weights: Where the initial weights came from.
        data: Which data, from where.
        hardware: What it was trained on.
        seconds: Wall-clock time of the run.
        date: ISO date, UTC.
        test_accuracy_tta: 0..1, averaged over views; absent from the file where it was not measured.
        validation_images: How many training images the validation split holds; absent where it is a tenth of them.
        resolution: Side in pixels of the images that it learned from, before they were resized to S; absent where unknown.
        exponent: See `Calibration`; a card without it means 1.
    """

    name: str
    version: str
    labels: tuple[str, ...]
    input_size: int
    fit: str
    temperature: float
    test_accuracy: float
    val_accuracy: float
    parameters: Mapping[str, int]
    sha256: Mapping[str, str]
    command: str
    recipe: str
    seed: int
    weights: str
    data: str
    hardware: str
    seconds: float
    date: str
    test_accuracy_tta: float | None = None
    validation_images: int | None = None
    resolution: int | None = None
    exponent: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be at least two different names. Received: labels={self.labels}")
        for key in ("input_size", "resolution"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1. Received: {key}={value}")
        Calibration(self.temperature, self.exponent)  # tells which of them is out of range
        for key in ("test_accuracy", "val_accuracy", "test_accuracy_tta"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{key} must be a share from 0 to 1. Received: {key}={value}")

    @property
    def calibration(self) -> Calibration:
        """What makes the model's probabilities those that are shown."""
        return Calibration(self.temperature, self.exponent)

    def as_dict(self) -> dict[str, Any]:
        """Return the card as it stands in `card.json`."""
        data = dataclasses.asdict(self) | {"labels": list(self.labels)}
        return {key: value for key, value in data.items() if value is not None}


def read_card(path: str | Path) -> Card:
    """Read a `card.json`. Raises ModelFileError where it is no JSON, or keys are missing, unknown or out of range."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"a card is a JSON object. Received: {type(data).__name__}")
        return Card(**data)
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} is not a model card: {error}") from error


def default_model(cards: Mapping[str, Card]) -> str:
    """Return the name of the model that answers where none is named.

    It is the one of the highest validation accuracy, for the test set chooses nothing; of several the first.
    """
    return max(cards, key=lambda name: cards[name].val_accuracy)
