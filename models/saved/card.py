"""The model card `card.json`. Serving reads only it, the weights and `ood.npz`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.saved.calibration import Calibration
from runtime.validation import require

KERAS_FILE, ONNX_FILE, CARD_FILE, OOD_FILE = "model.keras", "model.onnx", "card.json", "ood.npz"
SCHEMA_VERSION = 2
RENAMED_FILES = {"novelty.npz": OOD_FILE}
"""Files beside a card of schema 1, which has no `schema_version`, and their names in schema 2."""


class ModelFileError(ValueError):
    """A path has no model that can be read and evaluated."""


class NotExplainableError(ValueError):
    """A model has no Grad-CAM: it has no feature map, another kind of head, or was saved without Grad-CAM."""


@dataclasses.dataclass(frozen=True)
class Card:
    """The description of a saved model. `card.json` has these keys, unless they are None, and `schema_version`."""

    name: str  # of the network in the registry
    version: str  # of this model
    labels: tuple[str, ...]  # class names in output order
    input_size: int  # S, the side of the input in pixels
    resize_mode: str  # how an upload is resized to S×S: "bilinear" or "thumbnail", see `inference.resize.resize`
    temperature: float  # see `Calibration`
    test_accuracy: float  # 0..1, one forward pass on the test split
    val_accuracy: float  # 0..1, one forward pass on the validation split
    parameters: Mapping[str, int]  # counts, `total` and `trainable`
    sha256: Mapping[str, str]  # of each model file in the folder, by file name
    command: str  # that reproduces the model
    recipe: str
    seed: int  # of the run and of the validation split
    weights: str  # source of the initial weights
    data: str  # the data set and its source
    hardware: str  # on which the model was trained
    seconds: float  # wall-clock time of the run
    date: str  # ISO, UTC
    test_accuracy_tta: float | None = None  # 0..1, with test-time augmentation; None if not measured
    validation_images: int | None = None  # from the training images; None for a tenth of them
    resolution: int | None = None  # side in pixels of the training images before they were resized; None if unknown
    exponent: float = 1.0  # see `Calibration`

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        different = len(set(self.labels)) == len(self.labels) >= 2
        require(different, "labels must be at least two different names", labels=self.labels)
        for key in ("input_size", "resolution"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"{key} must be at least 1", **{key: value})
        _ = self.calibration  # checks its numbers
        for key in ("test_accuracy", "val_accuracy", "test_accuracy_tta"):
            value = getattr(self, key)
            require(value is None or 0 <= value <= 1, f"{key} must be from 0 to 1", **{key: value})

    @property
    def calibration(self) -> Calibration:
        return Calibration(self.temperature, self.exponent)

    def as_dict(self) -> dict[str, Any]:
        """Return the contents of `card.json`."""
        data = {"schema_version": SCHEMA_VERSION} | dataclasses.asdict(self) | {"labels": list(self.labels)}
        return {key: value for key, value in data.items() if value is not None}


def read_card(path: str | Path) -> Card:
    """Read a `card.json` of this schema or an earlier one.

    Raises:
        ModelFileError: if it is not JSON, has a later schema, or if keys are missing, unknown or out of range.
    """
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError(f"a card is a JSON object. Received: {type(data).__name__}")
        version = data.pop("schema_version", 1)
        if version not in (1, SCHEMA_VERSION):
            raise ValueError(f"schema_version must be at most {SCHEMA_VERSION}. Received: schema_version={version!r}")
        return Card(**(_from_schema_1(data) if version == 1 else data))
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path} is not a model card: {error}") from error


def _from_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys and files of schema 1 to those of schema 2."""
    renamed = {"resize_mode" if key == "fit" else key: value for key, value in data.items()}
    if isinstance(sums := renamed.get("sha256"), dict):
        renamed["sha256"] = {RENAMED_FILES.get(name, name): digest for name, digest in sums.items()}
    return renamed


def model_file(folder: Path, name: str) -> Path:
    """Return the path of a file in a saved model's folder, under its name of schema 1 if only that exists."""
    earlier = {new: old for old, new in RENAMED_FILES.items()}.get(name)
    if earlier and not (folder / name).exists() and (folder / earlier).is_file():
        return folder / earlier
    return folder / name


def default_model(cards: Mapping[str, Card]) -> str:
    """Return the name of the model with the highest validation accuracy. The test set is not used for model selection."""
    return max(cards, key=lambda name: cards[name].val_accuracy)
