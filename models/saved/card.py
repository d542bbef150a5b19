"""What is known of a saved model: `card.json`, which with the weights and `ood.npz` is all that serving reads."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.saved.calibration import Calibration

KERAS_FILE, ONNX_FILE, CARD_FILE, OOD_FILE = "model.keras", "model.onnx", "card.json", "ood.npz"
SCHEMA_VERSION = 2
RENAMED_FILES = {"novelty.npz": OOD_FILE}
"""Files beside a card of schema 1, which had no `schema_version`, and what they are called since."""


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
        resize_mode: How an uploaded image becomes S×S: "bilinear" or "thumbnail", see `inference.resize.resize`.
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
    resize_mode: str
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
        data = {"schema_version": SCHEMA_VERSION} | dataclasses.asdict(self) | {"labels": list(self.labels)}
        return {key: value for key, value in data.items() if value is not None}


def read_card(path: str | Path) -> Card:
    """Read a `card.json` of this schema or an earlier one.

    Raises:
        ModelFileError: not JSON, of a later schema, or with keys that are missing, unknown or out of range.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"a card is a JSON object. Received: {type(data).__name__}")
        version = data.pop("schema_version", 1)
        if version not in (1, SCHEMA_VERSION):
            raise ValueError(f"schema_version must be 1 or {SCHEMA_VERSION}. Received: schema_version={version!r}")
        return Card(**(_from_schema_1(data) if version == 1 else data))
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} is not a model card: {error}") from error


def _from_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of schema 1 under their names of schema 2."""
    renamed = {"resize_mode" if key == "fit" else key: value for key, value in data.items()}
    if isinstance(sums := renamed.get("sha256"), dict):
        renamed["sha256"] = {RENAMED_FILES.get(name, name): digest for name, digest in sums.items()}
    return renamed


def model_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a saved model's folder: under its name of schema 1 where only that is there."""
    earlier = {new: old for old, new in RENAMED_FILES.items()}.get(name)
    if earlier and not (folder / name).exists() and (folder / earlier).is_file():
        return folder / earlier
    return folder / name


def default_model(cards: Mapping[str, Card]) -> str:
    """Return the name of the model that answers where none is named.

    It is the one of the highest validation accuracy, for the test set chooses nothing; of several the first.
    """
    return max(cards, key=lambda name: cards[name].val_accuracy)
