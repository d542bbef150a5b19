"""Loads weights by layer name from `.weights.h5`, `.keras` (a zip archive with such a file) and Keras Applications' HDF5.

h5py reads the arrays; no layer or function that the file describes is built.
"""

import json
import logging
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np

from models.layers import PositionEmbedding, resampled_positions
from models.pretrained.mismatch import WeightsMismatchError, require_same_shapes
from models.pretrained.unpickling import CheckpointError

logger = logging.getLogger(__name__)

# Layers that scale the input: their arrays are constants. `normalization` is in Keras Applications' EfficientNet.
_CONSTANTS = ("preprocess_", "normalization")
# Settings that change what a layer computes: weights trained under another value would load but compute something else.
_CONVENTION = ("epsilon", "padding", "strides", "activation", "heads", "scale", "offset", "mean", "variance")


class KerasFile(NamedTuple):
    """The contents of a file."""

    arrays: dict[str, np.ndarray]  # by layer name and index: "Conv1/0", or "attention/query/0" in a composite layer
    configs: dict[str, dict] | None  # of the layers, by name; None in all formats but `.keras`


def load_keras_file(model: keras.Model, path: str | Path) -> bool:
    """Assign the weights in a Keras file to the layers of the same names; return whether the head was loaded.

    The whole backbone must fit. The layers named `head_*` are loaded if all of them fit; otherwise they stay unchanged and
    a warning is logged. Layers that scale the input are not loaded. Position embeddings of another grid are resampled.

    Raises:
        WeightsMismatchError: if the backbone's weights differ in name, number or shape, or if the file's network has
            another epsilon, padding or scaling. The model is unchanged then.
        CheckpointError: if the file is truncated, damaged or of another format.
    """
    file = read_keras_file(path)
    variables = _variables(model)
    arrays = {name: array for name, array in file.arrays.items() if not name.startswith(_CONSTANTS)}
    for layer in model.layers:
        name = f"{layer.name}/0"
        if isinstance(layer, PositionEmbedding) and name in arrays:
            arrays[name] = resampled_positions(arrays[name], layer.embedding.shape[1])
    backbone = _part(variables, is_head=False)
    require_same_shapes(model.name, _shapes(backbone), _shapes(_part(arrays, is_head=False)))
    if file.configs is not None:
        _require_same_convention(model, file.configs)
    loaded = backbone
    if file_head := _part(arrays, is_head=True):
        try:
            head = _part(variables, is_head=True)
            require_same_shapes(f"the head of {model.name}", _shapes(head), _shapes(file_head))
            loaded = variables
        except WeightsMismatchError as error:
            logger.warning("Loaded the backbone in %s and left out its head. %s", path, error)
    for name, variable in loaded.items():
        variable.assign(arrays[name])
    return loaded is variables


def is_applications_file(path: Path) -> bool:
    """Return whether a file is in the HDF5 format of Keras Applications, whose networks follow Keras's convention."""
    try:
        with h5py.File(path, "r") as file:
            return _is_legacy(file)
    except OSError:  # another format
        return False


def _part(named: dict, is_head: bool) -> dict:
    return {name: value for name, value in named.items() if name.startswith("head_") == is_head}


def _shapes(named: dict) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in named.items()}


def read_keras_file(path: str | Path) -> KerasFile:
    """Read a Keras file. Raises a CheckpointError if it is truncated, damaged or of another format."""
    try:
        with _opened(Path(path)) as (file, configs):
            return KerasFile(_legacy_arrays(file) if _is_legacy(file) else _arrays(file), configs)
    except FileNotFoundError:
        raise
    except Exception as error:  # a malicious or damaged file can make h5py and zipfile raise any error
        damage = f"it is truncated, damaged or of another format ({type(error).__name__}: {error})."
        reason = error if isinstance(error, CheckpointError) else damage
        raise CheckpointError(f"{path} cannot be read as a Keras file: {reason}") from error


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, dict[str, dict] | None]]:
    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            yield file, None
        return
    with zipfile.ZipFile(path) as archive:
        configs = _configs(archive.read("config.json"))
        with archive.open("model.weights.h5") as member, h5py.File(member, "r") as file:
            yield file, configs


def _configs(model_json: str | bytes) -> dict[str, dict]:
    return {layer["config"]["name"]: layer["config"] for layer in json.loads(model_json)["config"]["layers"]}


def _is_legacy(file: h5py.File) -> bool:
    return "layer_names" in file.attrs


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the datasets of a file by path. `visititems` follows no link into another file."""
    found = {}

    def visit(path: str, entry: h5py.Group | h5py.Dataset) -> None:
        if isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual:
                raise CheckpointError(f"the values of {path} are in another file.")
            if entry.nbytes > max(entry.id.get_storage_size(), 1024):
                raise CheckpointError(f"{path} claims {entry.nbytes} bytes but has {entry.id.get_storage_size()}.")
            if entry.dtype.kind not in "fiu":
                raise CheckpointError(f"{path} must contain numbers. Received: dtype {entry.dtype}.")
            found[path] = entry

    file.visititems(visit)
    return found


def _arrays(file: h5py.File) -> dict[str, np.ndarray]:
    """Read the format of `save_weights`: `layers/<kind>_<count>/.../vars/<index>`, the name an attribute of `vars`."""
    names = {}

    def visit(path: str, entry: h5py.Group | h5py.Dataset) -> None:
        if isinstance(entry, h5py.Group) and path.endswith("/vars") and isinstance(entry.attrs.get("name"), str):
            names[path.removesuffix("/vars")] = entry.attrs["name"]

    file.visititems(visit)
    arrays = {}
    for path, dataset in _datasets(file).items():
        # The file also has optimizer and metric states, and the seeds of dropout layers.
        match = re.fullmatch(r"(layers/.+)/vars/(\d+)", path)
        if match and "seed_generator" not in path:
            folder = match[1]
            if folder not in names:
                raise CheckpointError(f"it has no layer names ({folder}); save it again with Keras 3.12 or newer.")
            parents = [folder[: slash.start()] for slash in re.finditer("/", folder)] + [folder]
            layer = "/".join(names[parent] for parent in parents if parent in names)
            arrays[f"{layer}/{match[2]}"] = dataset[()]
    if not arrays:
        raise CheckpointError("it has no layer with weights.")
    return arrays


def _legacy_arrays(file: h5py.File) -> dict[str, np.ndarray]:
    """Read the format of Keras Applications: attributes list the layers and, for each layer, its weights in order."""
    datasets = _datasets(file)
    return {
        f"{layer}/{index}": datasets[f"{layer}/{_text(name)}"][()]
        for layer in map(_text, file.attrs["layer_names"])
        for index, name in enumerate(file[layer].attrs["weight_names"])
    }


def _text(attribute: str | bytes) -> str:
    return attribute.decode() if isinstance(attribute, bytes) else str(attribute)


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the weights of the backbone and the head under the names of `KerasFile.arrays`."""
    variables = {}
    for layer in model.layers:
        if not layer.name.startswith("preprocess_"):
            counts = Counter()
            for variable in layer.weights:
                folder = layer.name + variable.path.rpartition("/")[0].removeprefix(layer.name)
                variables[f"{folder}/{counts[folder]}"] = variable
                counts[folder] += 1
    return variables


def _require_same_convention(model: keras.Model, configs: dict[str, dict]) -> None:
    ours = _configs(model.to_json())
    for name in sorted(ours.keys() ^ configs.keys()):
        if name.startswith("preprocess_"):
            owner = model.name if name in ours else "the file's network"
            raise WeightsMismatchError(
                f"{model.name} and the file's network scale the input differently: {name} is a layer of only {owner}."
            )
    # TensorFlow's padding of a strided layer depends on the size of the input, so at another size it may differ.
    file_size, our_size = (each.get("image", {}).get("batch_shape") for each in (configs, ours))
    keys = [key for key in _CONVENTION if file_size == our_size or key != "padding"]
    for name in (name for name in ours if name in configs and not name.startswith("head_")):
        for key in keys:
            if configs[name].get(key) != ours[name].get(key):
                raise WeightsMismatchError(
                    f"{name} of {model.name} must have the {key} that the file's weights were trained with, "
                    f"{configs[name].get(key)}. Received: {key}={ours[name].get(key)}"
                )
