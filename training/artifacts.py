"""What a run leaves behind, and how it is read again: model.keras, model.onnx, card.json, JSON reports."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.storage import sha256_of, written_whole
from training.onnx_export import OnnxExportError, OnnxModel, OnnxParityError, export_onnx
from training.provenance import describe_hardware, git_commit, hardware, peak_memory_mb

if TYPE_CHECKING:
    import keras

__all__ = [
    "Card",
    "ModelFileError",
    "OnnxExportError",
    "OnnxModel",
    "OnnxParityError",
    "SavedModel",
    "describe_hardware",
    "export_onnx",
    "git_commit",
    "hardware",
    "load_saved",
    "parameter_counts",
    "peak_memory_mb",
    "read_card",
    "save_keras",
    "write_card",
    "write_json",
]

KERAS_FILE, ONNX_FILE, CARD_FILE, CONFIG_FILE = "model.keras", "model.onnx", "card.json", "config.json"


class ModelFileError(ValueError):
    """A path holds no model that can be read and evaluated."""


@dataclasses.dataclass(frozen=True)
class Card:
    """What is known of a saved model; `card.json` has exactly these keys, and serving reads nothing else.

    Attributes:
        name: Name of the network, as the registry has it.
        version: Version of this model.
        labels: Class names in output order.
        input_size: S, the side of the input in pixels.
        fit: How an uploaded image becomes S×S.
        temperature: What divides the log-probabilities before they are shown; 1 changes nothing.
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

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", tuple(self.labels))
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be at least two different names. Received: labels={self.labels}")
        if self.input_size < 1:
            raise ValueError(f"input_size must be at least 1. Received: input_size={self.input_size}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be greater than 0. Received: temperature={self.temperature}")
        for key in ("test_accuracy", "val_accuracy", "test_accuracy_tta"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{key} must be a share from 0 to 1. Received: {key}={value}")

    def as_dict(self) -> dict[str, Any]:
        """Return the card as it stands in `card.json`."""
        data = dataclasses.asdict(self) | {"labels": list(self.labels)}
        if self.test_accuracy_tta is None:
            del data["test_accuracy_tta"]
        return data


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


def write_card(
    folder: str | Path,
    model: "keras.Model",
    *,
    name: str,
    version: str,
    labels: Sequence[str],
    fit: str,
    temperature: float,
    test_accuracy: float,
    val_accuracy: float,
    command: str,
    recipe: str,
    seed: int,
    weights: str,
    data: str,
    seconds: float,
    test_accuracy_tta: float | None = None,
) -> Card:
    """Write `folder`/card.json beside the model files that it describes, and return the card.

    Input size and parameter counts come from `model`, with its layers as trainable as they are now; checksums from the
    files, so `save_keras` and `export_onnx` come first. The other arguments are the card's own; see `Card`.
    """
    folder = Path(folder)
    files = [folder / file for file in (KERAS_FILE, ONNX_FILE)]
    card = Card(
        name=name,
        version=version,
        labels=tuple(labels),
        input_size=int(model.input_shape[1]),
        fit=fit,
        temperature=float(temperature),
        test_accuracy=float(test_accuracy),
        val_accuracy=float(val_accuracy),
        parameters=parameter_counts(model),
        sha256={file.name: sha256_of(file) for file in files if file.exists()},
        command=command,
        recipe=recipe,
        seed=int(seed),
        weights=weights,
        data=data,
        hardware=describe_hardware(),
        seconds=round(float(seconds), 1),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        test_accuracy_tta=None if test_accuracy_tta is None else float(test_accuracy_tta),
    )
    write_json(folder / CARD_FILE, card.as_dict())
    return card


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` as indented UTF-8 JSON, whole or not at all. NumPy scalars and arrays become numbers and lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no JSON form. Received: {value!r}")

    text = json.dumps(data, indent=2, ensure_ascii=False, default=plain) + "\n"
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def parameter_counts(model: "keras.Model") -> dict[str, int]:
    """Return the numbers of all and of trainable parameters: `{"total": ..., "trainable": ...}`."""
    return {
        "total": int(model.count_params()),
        "trainable": int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
    }


def save_keras(model: "keras.Model", path: str | Path) -> None:
    """Save `model` as a `.keras` file, whole or not at all, without the optimizer, which would triple its size."""
    import keras

    if Path(path).suffix != ".keras":
        raise ValueError(f"path must end with .keras. Received: path={path}")
    if model.compiled:  # Keras has no option for it: save the same layers in a model that was never compiled
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    with written_whole(path) as partial:
        model.save(partial)


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A model read from disk.

    Attributes:
        model: What predicts: a `keras.Model` or an `OnnxModel`.
        file: The file that it was read from.
        image_size: S, the side of its input in pixels.
        card: Its card, or None where no card stands beside the file.
        limit: The first n images that its run was limited to, by the config.json beside the file; None for all.
    """

    model: "keras.Model | OnnxModel"
    file: Path
    image_size: int
    card: Card | None = None
    limit: int | None = None


def load_saved(path: str | Path) -> SavedModel:
    """Read the model at `path`: a `.keras` or `.onnx` file, or a folder with `model.keras` (preferred) or `model.onnx`.

    Raises ModelFileError, a ValueError that says what was found, where there is no model or not one of images.
    """
    file = _model_file(Path(path))
    card_file = file.with_name(CARD_FILE)
    card = read_card(card_file) if card_file.exists() else None
    try:
        model = OnnxModel(file) if file.suffix == ".onnx" else _load_keras(file)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelFileError(f"{file} cannot be read as a model: {reason[:500]}") from error
    shape, outputs = model.input_shape, model.output_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] not in (3, None) or shape[1] != shape[2]:
        raise ModelFileError(f"{file} must take square RGB images, (batch, S, S, 3). Received: inputs of shape {shape}")
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ModelFileError(
            f"{file} must answer probabilities, (batch, classes). Received: outputs of shape {outputs}"
        )
    size = shape[1] or (card.input_size if card else None)
    if size is None:
        raise ModelFileError(
            f"{file} takes images of any size, and no {CARD_FILE} beside it says which it was trained on."
        )
    return SavedModel(model, file, size, card, _limit(file.with_name(CONFIG_FILE)))


def _model_file(path: Path) -> Path:
    """Return the model file that `path` means."""
    if not path.exists():
        raise ModelFileError(f"There is no file or folder {path}.")
    if path.is_file():
        if path.suffix not in (".keras", ".onnx"):
            raise ModelFileError(f"A model file must end with .keras or .onnx. Received: {path}")
        return path
    for name in (KERAS_FILE, ONNX_FILE):
        if (path / name).is_file():
            return path / name
    inside = sorted({file.parent.name for name in (KERAS_FILE, ONNX_FILE) for file in path.glob(f"*/{name}")})
    hint = f" These folders inside it hold one: {', '.join(inside)}." if inside else ""
    raise ModelFileError(f"The folder {path} holds neither {KERAS_FILE} nor {ONNX_FILE}.{hint}")


def _limit(config_file: Path) -> int | None:
    if not config_file.exists():
        return None
    try:
        return json.loads(config_file.read_text(encoding="utf-8"))["config"]["limit"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{config_file} is not the config of a run: {error!r}") from error


def _load_keras(file: Path) -> "keras.Model":
    import keras

    import models.registry

    models.registry.list_models()  # imports every architecture, and so registers the layers of our own
    return keras.saving.load_model(file, compile=False)
