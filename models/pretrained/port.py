"""Carries weights between a PyTorch state dict and a Keras model, in both directions.

An architecture declares which PyTorch module is which Keras layer; how the tensors of a layer are laid out on both sides
is stated here, once for each kind of layer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import keras
import numpy as np

from models.pretrained.mismatch import WeightsMismatchError, require_same_shapes


@dataclass(frozen=True)
class PytorchMapping:
    """Which PyTorch module is which Keras layer, for one architecture in one naming.

    Attributes:
        layers: (PyTorch module, Keras layer) pairs, such as ("features.0.0", "Conv1"), in the network's order.
        ignored: beginnings of tensor names that the Keras backbone has no place for, such as "classifier.".
        epsilon: what BatchNormalization adds to the variance; PyTorch's default is 1e-5, Keras's 1e-3.
        symmetric_padding: whether strided layers pad all sides alike, as PyTorch's own do. False for PyTorch networks that
            imitate TensorFlow's padding.
    """

    layers: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...] = ()
    epsilon: float = 1e-5
    symmetric_padding: bool = True


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
}
_COUNTER = "num_batches_tracked"  # how many batches PyTorch's BatchNorm has seen; Keras keeps no such count


def choose_mapping(state_dict: Mapping[str, np.ndarray], mappings: Sequence[PytorchMapping]) -> PytorchMapping:
    """Return the mapping of which most module names occur in the state dict; the first of equals."""
    modules = {name.rpartition(".")[0] for name in state_dict}
    return max(mappings, key=lambda mapping: sum(module in modules for module, _ in mapping.layers))


def load_pytorch(model: keras.Model, state_dict: Mapping[str, np.ndarray], mapping: PytorchMapping) -> None:
    """Assign the tensors of a PyTorch state dict to a Keras model's backbone.

    Args:
        model: a model with the backbone that `mapping` names, in PyTorch's convention (padding, BN epsilon). Layers named
            `head_*` and `preprocess_*` are left alone.
        state_dict: arrays by PyTorch name, of any float dtype.
        mapping: which module is which layer.

    Raises:
        WeightsMismatchError: if a tensor is missing, unknown or of another shape, or the model follows another convention
            than the weights. The model is unchanged then.
    """
    _require_same_convention(model, mapping)
    places = dict(_places(model, mapping))
    offered = {
        name: tensor.shape
        for name, tensor in state_dict.items()
        if not name.startswith(mapping.ignored) and not name.endswith(_COUNTER)
    }
    expected = {name: _pytorch_shape(variable, axes) for name, (variable, axes) in places.items()}
    require_same_shapes(model.name, expected, offered)
    for name, (variable, axes) in places.items():
        variable.assign(np.array(state_dict[name].transpose(axes), dtype="float32", order="C"))


def to_pytorch(model: keras.Model, mapping: PytorchMapping) -> dict[str, np.ndarray]:
    """Return a Keras model's backbone as a PyTorch state dict, which the PyTorch network loads with `strict=True`.

    Returns:
        Float32 arrays by PyTorch name, in the mapping's order; BN's `num_batches_tracked` is 0 (int64).

    Raises:
        WeightsMismatchError: if the model is not the mapping's, or follows another convention.
    """
    _require_same_convention(model, mapping)
    state_dict = {}
    for name, (variable, axes) in _places(model, mapping):
        array = keras.ops.convert_to_numpy(variable).transpose(np.argsort(axes))
        state_dict[name] = np.array(array, dtype="float32", order="C")
        if name.endswith("running_var"):
            state_dict[name.removesuffix("running_var") + _COUNTER] = np.zeros((), "int64")
    return state_dict


def _places(
    model: keras.Model, mapping: PytorchMapping
) -> Iterator[tuple[str, tuple[keras.Variable, tuple[int, ...]]]]:
    """Yield each PyTorch tensor name with its Keras variable and the axes that bring it there."""
    layers = {layer.name: layer for layer in model.layers}
    mapped = {ours for _, ours in mapping.layers}
    for layer in model.layers:
        if layer.weights and layer.name not in mapped and not layer.name.startswith(("head_", "preprocess_")):
            raise WeightsMismatchError(f"The mapping has no PyTorch module for the layer {layer.name} of {model.name}.")
    for module, name in mapping.layers:
        if name not in layers:
            raise WeightsMismatchError(f"{model.name} has no layer {name}, which the mapping takes {module} for.")
        for tensor in _layout(layers[name]):
            variable = getattr(layers[name], tensor.keras)
            if variable is not None:
                yield f"{module}.{tensor.pytorch}", (variable, tensor.axes)


def _layout(layer: keras.Layer) -> tuple[_Tensor, ...]:
    for kind, tensors in _LAYOUTS.items():
        if isinstance(layer, kind):
            return tensors
    known = ", ".join(kind.__name__ for kind in _LAYOUTS)
    raise TypeError(f"Layers to port must be of kind {known}. Received: {layer.name} of kind {type(layer).__name__}")


def _pytorch_shape(variable: keras.Variable, axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(variable.shape[axis] for axis in np.argsort(axes))


def _require_same_convention(model: keras.Model, mapping: PytorchMapping) -> None:
    """Refuse a graph in which the weights would fit and answer wrongly."""
    for layer in model.layers:
        if layer.name.startswith("head_"):
            continue
        if isinstance(layer, keras.layers.BatchNormalization) and not np.isclose(
            layer.epsilon, mapping.epsilon, atol=0
        ):
            raise WeightsMismatchError(
                f"{layer.name} of {model.name} must have the epsilon that the PyTorch weights were trained with, "
                f"{mapping.epsilon:g}. Received: epsilon={layer.epsilon:g}"
            )
        if mapping.symmetric_padding and _pads_one_side_more(layer):
            raise WeightsMismatchError(
                f"{layer.name} of {model.name} pads the bottom and the right more than the top and the left; PyTorch pads "
                "all sides alike. Put a symmetric ZeroPadding2D in front of it, and give it padding='valid'."
            )


def _pads_one_side_more(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ZeroPadding2D):
        return any(before != after for before, after in layer.padding)
    strided = max(np.ravel(getattr(layer, "strides", 1))) > 1
    window = getattr(layer, "kernel_size", getattr(layer, "pool_size", 1))
    return strided and max(np.ravel(window)) > 1 and getattr(layer, "padding", "valid") == "same"
