"""Write a run's model, card and reports, and load saved models."""

import dataclasses
import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.saved.calibration import Calibration
from models.saved.card import CARD_FILE, KERAS_FILE, ONNX_FILE, OOD_FILE, Card, ModelFileError, read_card
from models.saved.onnx_model import OnnxModel
from runtime.files import atomic_write, sha256_of
from training.data.dataset import ImageDataset
from training.provenance import describe_hardware

if TYPE_CHECKING:
    import keras

CONFIG_FILE, PREDICTIONS_FILE = "config.json", "predictions.npz"
RESIZE_MODE = "thumbnail"  # of a new model's card: see `inference.resize.resize`


def write_card(folder: str | Path, model: "keras.Model", *, calibration: Calibration, **facts: Any) -> Card:
    """Write card.json for the model files in `folder`, which must exist already, and return the card.

    Input size and parameter counts are those of `model`, with its layers as trainable as they are now; hardware and date are
    the current ones. `facts` are the other fields of `Card`.

    Raises:
        TypeError: `facts` lacks a field or has an unknown one.
        ValueError: a field is out of range.
    """
    folder = Path(folder)
    files = [folder / file for file in (KERAS_FILE, ONNX_FILE, OOD_FILE)]
    card = Card(
        input_size=int(model.input_shape[1]),
        **dataclasses.asdict(calibration),
        parameters=parameter_counts(model),
        sha256={file.name: sha256_of(file) for file in files if file.exists()},
        hardware=describe_hardware(),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        **facts,
    )
    write_json(folder / CARD_FILE, card.as_dict())
    return card


def write_json(path: str | Path, data: Any) -> None:
    """Write `data` atomically as indented UTF-8 JSON; NumPy scalars and arrays become numbers and lists."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise TypeError(f"{type(value).__name__} has no JSON form. Received: {value!r}")

    text = json.dumps(data, indent=2, ensure_ascii=False, default=plain) + "\n"
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")


def parameter_counts(model: "keras.Model") -> dict[str, int]:
    """Return the numbers of parameters: `{"total": ..., "trainable": ...}`."""
    trainable = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    return {"total": int(model.count_params()), "trainable": trainable}


def save_keras(model: "keras.Model", path: str | Path) -> None:
    """Save `model` atomically as a `.keras` file without the optimizer, which would triple its size."""
    import keras

    if Path(path).suffix != ".keras":
        raise ValueError(f"path must end with .keras. Received: path={path}")
    if model.compiled:  # Keras has no option for this: save the same layers in a model that is not compiled
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    with atomic_write(path) as partial:
        model.save(partial)


def save_predictions(path: str | Path, **probabilities: np.ndarray) -> None:
    """Write the probabilities (n, classes) of splits by name, atomically as one `.npz`."""
    with atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **{split: np.asarray(array, np.float32) for split, array in probabilities.items()})


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A model loaded from disk.

    Attributes:
        image_size: S, the side of its input in pixels.
        card: the card beside the file, if any.
        limit: the first n images that its run was limited to, from the config.json beside the file; None for all.
    """

    model: "keras.Model | OnnxModel"
    file: Path
    image_size: int
    card: Card | None = None
    limit: int | None = None

    def split(self, dataset: ImageDataset, seed: int | None = None) -> tuple[ImageDataset, np.ndarray, np.ndarray]:
        """Return the data set as limited by the model's run, its training rows and its validation rows.

        `seed` is that of the split; None, only with a card, for the card's.
        """
        if self.limit is not None:
            dataset = dataset.limited(self.limit)
        validation = self.card.validation_images if self.card is not None else None
        rows = dataset.split(self.card.seed if seed is None else seed, validation or len(dataset.x_train) // 10)
        return dataset, *rows


def load_saved(path: str | Path) -> SavedModel:
    """Load a `.keras` or `.onnx` file, or the `model.keras` (preferred) or `model.onnx` of a folder.

    Raises:
        ModelFileError: no model, a damaged file, or not an image classifier.
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
        raise ModelFileError(f"{file} must take square RGB images (batch, S, S, 3). Received: input shape {shape}")
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ModelFileError(f"{file} must output probabilities (batch, classes). Received: output shape {outputs}")
    size = shape[1] or (card.input_size if card else None)
    if size is None:
        raise ModelFileError(f"{file} takes images of any size, and there is no {CARD_FILE} that says which it needs.")
    return SavedModel(model, file, size, card, _limit(file.with_name(CONFIG_FILE)))


def _model_file(path: Path) -> Path:
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
    hint = f" These folders in it hold one: {', '.join(inside)}." if inside else ""
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

    from models.registry import list_models

    list_models()  # imports every architecture, and so registers the custom layers
    return keras.saving.load_model(file, compile=False)
