"""What a run leaves behind, and how it is read again: model.keras, model.onnx, card.json, JSON reports."""

import dataclasses
import datetime
import json
from collections.abc import Sequence
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
RESIZE_MODE = (
    "thumbnail"  # how a new model is shown uploads: see `inference.resize.resize`, and `python benchmark.py --fits`
)


def write_card(
    folder: str | Path,
    model: "keras.Model",
    *,
    name: str,
    version: str,
    labels: Sequence[str],
    resize_mode: str,
    calibration: Calibration,
    test_accuracy: float,
    val_accuracy: float,
    command: str,
    recipe: str,
    seed: int,
    weights: str,
    data: str,
    seconds: float,
    test_accuracy_tta: float | None = None,
    validation_images: int | None = None,
    resolution: int | None = None,
) -> Card:
    """Write `folder`/card.json beside the model files that it describes, and return the card.

    Input size and parameter counts come from `model`, with its layers as trainable as they are now; checksums from the
    files, so `save_keras`, `export_onnx` and `write_ood_detector` come first. The other arguments are the card's own; see `Card`.
    """
    folder = Path(folder)
    files = [folder / file for file in (KERAS_FILE, ONNX_FILE, OOD_FILE)]
    card = Card(
        name=name,
        version=version,
        labels=tuple(labels),
        input_size=int(model.input_shape[1]),
        resize_mode=resize_mode,
        **dataclasses.asdict(calibration),
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
        validation_images=validation_images,
        resolution=resolution,
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
    with atomic_write(path) as partial:
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
    with atomic_write(path) as partial:
        model.save(partial)


def save_predictions(path: str | Path, **probabilities: np.ndarray) -> None:
    """Write the probabilities (n, classes) of each split, by its name, as one `.npz`, whole or not at all."""
    with atomic_write(path) as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **{split: np.asarray(array, np.float32) for split, array in probabilities.items()})


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

    def split(self, dataset: ImageDataset, seed: int | None = None) -> tuple[ImageDataset, np.ndarray, np.ndarray]:
        """Return the data as the model's run had it, and the rows that trained and that were held back.

        Args:
            dataset: what the run was given, whole.
            seed: of the split; None for the card's, without which it is needed.
        """
        if self.limit is not None:
            dataset = dataset.limited(self.limit)
        held_back = self.card.validation_images if self.card is not None else None
        rows = dataset.split(self.card.seed if seed is None else seed, held_back or len(dataset.x_train) // 10)
        return dataset, *rows


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
