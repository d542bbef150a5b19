"""The freeze boundary: which layers train, and where the graph is cut so that the others are computed only once.

A flat model is a list of layers in topological order. Those before its first trainable layer give the same output for the
same image in every epoch, so the graph is cut there: the *prefix* runs once per image, its output is cached, and the
*suffix* trains. Both share their layers with the full model, so training the suffix trains the model.
"""

import difflib
import math
from dataclasses import dataclass

import keras

from runtime.validation import require

REACH = 16  # frozen layers that the suffix may hold for the sake of a smaller tensor: a bottleneck block and a half


@dataclass(frozen=True)
class Cut:
    """A place between two layers of a flat model.

    Attributes:
        position: the number of layers of `model.layers` before the cut.
        tensors: the outputs that cross it, in the order of their layers, each (batch, ...).
        has_weights: whether any layer before the cut has weights, so that caching saves work.
    """

    position: int
    tensors: tuple[keras.KerasTensor, ...]
    has_weights: bool

    @property
    def values_per_image(self) -> int:
        return sum(math.prod(tensor.shape[1:]) for tensor in self.tensors)

    @property
    def name(self) -> str:
        """The names of the layers whose outputs cross the cut, joined by `+`."""
        return "+".join(tensor._keras_history.operation.name for tensor in self.tensors)


def backbone_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the backbone's layers in topological order: all but those named `preprocess_*` and `head_*`."""
    return [layer for layer in model.layers if not layer.name.startswith(("preprocess_", "head_"))]


def resolve_unfreeze(model: keras.Model, unfreeze: int | str) -> int:
    """Return the number of backbone layers to train, counted from the backbone's end.

    Args:
        model: a flat model.
        unfreeze: the number (or its digits), "all", or the first layer or block to train, such as "block_13".

    Raises:
        ValueError: the number is negative or beyond the backbone, or no layer has that name.
    """
    names = [layer.name for layer in backbone_layers(model)]
    if unfreeze == "all":
        return len(names)
    text = str(unfreeze)
    if text.lstrip("-").isdigit():
        rule = f"unfreeze must be between 0 and {len(names)}, the number of backbone layers of {model.name}"
        require(0 <= int(text) <= len(names), rule, unfreeze=int(text))
        return int(text)
    for index, name in enumerate(names):
        if name == text or name.startswith(f"{text}_"):
            return len(names) - index
    near = ", ".join(difflib.get_close_matches(text, names, n=3)) or f"{names[1]} … {names[-1]}"
    raise ValueError(
        f"unfreeze must be a number, 'all', or the name of a layer or block of {model.name} (near: {near}). "
        f"Received: unfreeze={text!r}"
    )


def freeze(model: keras.Model, unfreeze: int, *, train_batch_norm: bool = False) -> None:
    """Make the head and the last `unfreeze` backbone layers trainable, and nothing else.

    BatchNormalization stays frozen unless `train_batch_norm`: only `trainable = False` on the layer itself freezes its
    moving statistics under `fit` (`training=False` in the call does not). Compile the model after this call.
    """
    backbone = backbone_layers(model)
    thawed = {id(layer) for layer in backbone[len(backbone) - unfreeze :]}
    for layer in model.layers:
        stays_frozen = isinstance(layer, keras.layers.BatchNormalization) and not train_batch_norm
        layer.trainable = not stays_frozen and (id(layer) in thawed or layer.name.startswith("head_"))


def cuts(model: keras.Model) -> list[Cut]:
    """Return every cut of a flat model, from just behind its input to just before its last layer."""
    layers = model.layers
    last_use = {id(tensor): len(layers) for tensor in model.outputs}
    for index, layer in enumerate(layers[1:], start=1):
        for tensor in keras.tree.flatten(layer.input):
            last_use[id(tensor)] = max(index, last_use.get(id(tensor), 0))
    result = []
    for position in range(1, len(layers)):
        crossing = tuple(layer.output for layer in layers[:position] if last_use.get(id(layer.output), -1) >= position)
        result.append(Cut(position, crossing, any(layer.weights for layer in layers[:position])))
    return result


def choose_cut(model: keras.Model) -> Cut:
    """Choose where to cut a model whose layers have been frozen: at the boundary, or a little before it.

    The boundary is before the first layer that trains or draws random numbers. With skip connections or expanded blocks
    several wide tensors may cross there, and a few layers earlier a single narrow one. Chosen is the latest cut within
    `REACH` layers that is at most twice the smallest; the layers between stay frozen in the suffix.
    """
    boundary = next(
        index
        for index, layer in enumerate(model.layers)
        if layer.trainable_weights or hasattr(layer, "seed_generator")  # such as Dropout
    )
    reachable = [cut for cut in cuts(model) if boundary - REACH <= cut.position <= boundary]
    smallest = min(cut.values_per_image for cut in reachable)
    return max((cut for cut in reachable if cut.values_per_image <= 2 * smallest), key=lambda cut: cut.position)


def prefix_model(model: keras.Model, chosen: list[Cut]) -> keras.Model:
    """Return the frozen part: from the model's input to a list of the tensors of all `chosen` cuts, in order."""
    return keras.Model(model.input, [tensor for cut in chosen for tensor in cut.tensors], name="prefix")


def suffix_model(model: keras.Model, cut: Cut) -> keras.Model:
    """Return the part that trains: from the tensors of `cut` to the model's output."""
    inputs = list(cut.tensors) if len(cut.tensors) > 1 else cut.tensors[0]
    return keras.Model(inputs, model.output, name="suffix")
