"""Copies weights between a PyTorch state dict and a Keras model, in both directions.

A network declares the PyTorch module of each Keras layer. The layouts of each kind of layer's tensors are here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np

from models.layers import ClassToken, PositionEmbedding, resampled_positions
from models.pretrained.mismatch import WeightsMismatchError, require_same_shapes

Pairs = tuple[tuple[str | tuple[str, ...], str], ...]
"""(PyTorch module, Keras layer) pairs in the network's order, such as ("features.0.0", "Conv1").

Where one layer has several modules, their tensors are concatenated along the output axis. A module that ends with `_` is a
prefix of tensor names, as `in_proj_` is of `in_proj_weight`.
"""


@dataclass(frozen=True)
class PytorchMapping:
    """The PyTorch module of each Keras layer, for one network in one naming."""

    naming: str  # such as "torchvision"
    layers: Pairs  # of the backbone
    classifier: Pairs = ()  # of the original's classifier and the layers of the corresponding head
    ignored: tuple[str, ...] = ()  # prefixes of tensor names that have no counterpart in the Keras network
    convention: str = "pytorch"  # the variant of the graph that the weights belong to; see `ModelSpec.conventions`
    epsilon: float = 1e-5  # of BatchNormalization; PyTorch's default is 1e-5, Keras's 1e-3
    symmetric_padding: bool = True  # of strided layers; False for PyTorch networks that imitate TensorFlow's padding


class _Tensor(NamedTuple):
    """One tensor of a layer: its PyTorch name, its Keras attribute, and the PyTorch axes in Keras's order."""

    pytorch: str
    keras: str
    axes: tuple[int, ...] = (0,)


_BIAS = _Tensor("bias", "bias")
_LAYOUTS: dict[type[keras.Layer], tuple[_Tensor, ...]] = {
    # (out, in, height, width) → (height, width, in, out)
    keras.layers.Conv2D: (_Tensor("weight", "kernel", (2, 3, 1, 0)), _BIAS),
    # (channels, 1, height, width) → (height, width, channels, 1)
    keras.layers.DepthwiseConv2D: (_Tensor("weight", "kernel", (2, 3, 0, 1)), _BIAS),
    # (out, in) → (in, out)
    keras.layers.Dense: (_Tensor("weight", "kernel", (1, 0)), _BIAS),
    keras.layers.BatchNormalization: (
        _Tensor("weight", "gamma"),
        _Tensor("bias", "beta"),
        _Tensor("running_mean", "moving_mean"),
        _Tensor("running_var", "moving_variance"),
    ),
    keras.layers.LayerNormalization: (_Tensor("weight", "gamma"), _Tensor("bias", "beta")),
    # In PyTorch a parameter of the same shape, not a module.
    ClassToken: (_Tensor("", "token", (0, 1, 2)),),
    PositionEmbedding: (_Tensor("", "embedding", (0, 1, 2)),),
}
_COUNTER = "num_batches_tracked"  # batches that PyTorch's BatchNorm has seen; Keras does not count them


class _Place(NamedTuple):
    """The Keras variable of the tensors `names`, concatenated along PyTorch's first axis."""

    names: tuple[str, ...]
    layer: keras.Layer
    variable: keras.Variable
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each tensor in PyTorch."""
        first, *rest = (self.variable.shape[axis] for axis in np.argsort(self.axes))
        return (first // len(self.names), *rest)


def choose_mapping(state_dict: Mapping[str, np.ndarray], mappings: Sequence[PytorchMapping]) -> PytorchMapping:
    """Return the mapping with the most module names in the state dict; the first if several have as many."""
    found = {name.rpartition(".")[0] for name in state_dict}
    return max(
        mappings, key=lambda mapping: sum(part in found for names, _ in mapping.layers for part in _modules(names))
    )


def load_pytorch(model: keras.Model, state_dict: Mapping[str, np.ndarray], mapping: PytorchMapping) -> bool:
    """Assign the tensors of a PyTorch state dict to a Keras model; return whether its head was loaded too.

    The head is loaded if it corresponds to the original's classifier and has as many classes. Arrays of any float dtype are
    converted, and position embeddings of another grid resampled. `preprocess_*` layers do not change.

    Raises:
        WeightsMismatchError: if a tensor is missing, unknown or of another shape, or if the model and the weights differ in
            convention. The model is unchanged then.
    """
    _require_same_convention(model, mapping)
    backbone = list(_places(model, mapping.layers))
    classifier = list(_places(model, mapping.classifier)) if _has_classifier(model, mapping) else []
    tensors = {name: array for name, array in state_dict.items() if not name.endswith(_COUNTER)}
    for place in backbone:
        name = place.names[0]
        if isinstance(place.layer, PositionEmbedding) and name in tensors:
            tensors[name] = resampled_positions(tensors[name], place.shape[1])

    with_head = bool(classifier) and all(
        name in tensors and tensors[name].shape == place.shape for place in classifier for name in place.names
    )
    places = backbone + (classifier if with_head else [])
    left_out = mapping.ignored if with_head else (*mapping.ignored, *_prefixes(mapping.classifier))
    offered = {name: array.shape for name, array in tensors.items() if not name.startswith(left_out)}
    require_same_shapes(model.name, {name: place.shape for place in places for name in place.names}, offered)
    for place in places:
        array = np.concatenate([tensors[name] for name in place.names])
        place.variable.assign(np.array(array.transpose(place.axes), dtype="float32", order="C"))
    return with_head


def to_pytorch(model: keras.Model, mapping: PytorchMapping, *, with_classifier: bool = True) -> dict[str, np.ndarray]:
    """Return a Keras model as a PyTorch state dict, which the PyTorch network loads with `strict=True`.

    A head that does not correspond to the original's classifier is left out. The arrays are float32, in the mapping's order;
    BN's `num_batches_tracked` is 0 (int64).

    Raises:
        WeightsMismatchError: if the model is not the mapping's, or follows another convention.
    """
    _require_same_convention(model, mapping)
    with_classifier = with_classifier and _has_classifier(model, mapping)
    pairs = mapping.layers + (mapping.classifier if with_classifier else ())
    state_dict = {}
    for place in _places(model, pairs):
        array = keras.ops.convert_to_numpy(place.variable).transpose(np.argsort(place.axes))
        for name, part in zip(place.names, np.split(array, len(place.names)), strict=True):
            state_dict[name] = np.array(part, dtype="float32", order="C")
            if name.endswith("running_var"):
                state_dict[name.removesuffix("running_var") + _COUNTER] = np.zeros((), "int64")
    return state_dict


def _places(model: keras.Model, pairs: Pairs) -> Iterator[_Place]:
    layers = {layer.name: layer for layer in model.layers}
    for names, name in pairs:
        if name not in layers:
            raise WeightsMismatchError(f"{model.name} has no layer {name}, to which the mapping assigns {names}.")
        for tensor in _layout(layers[name]):
            variable = getattr(layers[name], tensor.keras)
            if variable is not None:
                tensors = tuple(_tensor_name(module, tensor.pytorch) for module in _modules(names))
                yield _Place(tensors, layers[name], variable, tensor.axes)


def _modules(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _tensor_name(module: str, tensor: str) -> str:
    return f"{module}{tensor}" if module.endswith("_") or not tensor else f"{module}.{tensor}"


def _prefixes(pairs: Pairs) -> tuple[str, ...]:
    return tuple(module if module.endswith("_") else f"{module}." for names, _ in pairs for module in _modules(names))


def _has_classifier(model: keras.Model, mapping: PytorchMapping) -> bool:
    """Return whether the model's head corresponds to the original's classifier."""
    heads = {layer.name for layer in model.layers if layer.name.startswith("head_") and layer.weights}
    return bool(heads) and heads == {name for _, name in mapping.classifier}


def _layout(layer: keras.Layer) -> tuple[_Tensor, ...]:
    for kind, tensors in _LAYOUTS.items():
        if isinstance(layer, kind):
            return tensors
    known = ", ".join(kind.__name__ for kind in _LAYOUTS)
    raise TypeError(f"Layers to port must be among {known}. Received: {layer.name}, a {type(layer).__name__}")


def _require_same_convention(model: keras.Model, mapping: PytorchMapping) -> None:
    """Refuse a graph that the mapping does not cover, or in which the weights would fit but compute something else."""
    mapped = {name for _, name in mapping.layers}
    for layer in model.layers:
        if layer.weights and layer.name not in mapped and not layer.name.startswith(("head_", "preprocess_")):
            raise WeightsMismatchError(f"The mapping has no PyTorch module for the layer {layer.name} of {model.name}.")
    for layer in model.layers:
        if layer.name.startswith("head_"):
            continue
        batch_norm = isinstance(layer, keras.layers.BatchNormalization)
        if batch_norm and not np.isclose(layer.epsilon, mapping.epsilon, atol=0):
            raise WeightsMismatchError(
                f"{layer.name} of {model.name} must have the epsilon that the PyTorch weights were trained with, "
                f"{mapping.epsilon:g}. Received: epsilon={layer.epsilon:g}"
            )
        if mapping.symmetric_padding and _pads_one_side_more(layer):
            raise WeightsMismatchError(
                f"{layer.name} of {model.name} pads the bottom and the right more than the top and the left; PyTorch pads "
                "all sides equally. Put a symmetric ZeroPadding2D in front of it, and give it padding='valid'."
            )


def _pads_one_side_more(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return any(before != after for before, after in layer.padding)
    strided = max(np.ravel(getattr(layer, "strides", 1))) > 1
    window = getattr(layer, "kernel_size", getattr(layer, "pool_size", 1))
    return strided and max(np.ravel(window)) > 1 and getattr(layer, "padding", "valid") == "same"
