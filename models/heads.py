"""Heads: the layers from a backbone's feature map to the class probabilities.

Their names start with `head_`: the freeze boundary, Grad-CAM and weight loading recognise a head by that.
"""

from collections.abc import Callable

import keras

from runtime.validation import require

HEADS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {}


def register_head(function):
    """Register `function(features, classes) -> probabilities` under its own name."""
    HEADS[function.__name__] = function
    return function


def attach_head(name: str, features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Append the head `name` to a backbone's features; return probabilities (batch, classes).

    Features are a map (batch, height, width, channels), or a vector (batch, channels) such as a class token, for which global
    average pooling (GAP) is left out. Raises a ValueError for an unknown name, or for `classes` below 2.
    """
    require(name in HEADS, f"head must be one of {', '.join(sorted(HEADS))}", head=name)
    require(classes >= 2, "classes must be at least 2", classes=classes)
    return HEADS[name](features, classes)


def _pooled(features: keras.KerasTensor) -> keras.KerasTensor:
    if len(features.shape) == 2:
        return features
    return keras.layers.GlobalAveragePooling2D(name="head_pool")(features)


def _hidden(x: keras.KerasTensor, units: int, dropout: float) -> keras.KerasTensor:
    x = keras.layers.Dense(units, activation="relu", name="head_dense")(x)
    return keras.layers.Dropout(dropout, name="head_dropout")(x)


def _probabilities(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    # float32 under mixed precision too: a float16 softmax loses the small probabilities that calibration needs.
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="head_probabilities")(features)


@register_head
def dense(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dense(128, relu) → Dropout(0.3) → Dense(classes, softmax)."""
    return _probabilities(_hidden(_pooled(features), 128, 0.3), classes)


@register_head
def dense_256(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dense(256, relu) → Dropout(0.5) → Dense(classes, softmax)."""
    return _probabilities(_hidden(_pooled(features), 256, 0.5), classes)


@register_head
def linear(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dropout(0.2) → Dense(classes, softmax)."""
    return _probabilities(keras.layers.Dropout(0.2, name="head_dropout")(_pooled(features)), classes)


@register_head
def flatten(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Flatten → Dense(256, relu) → Dropout(0.5) → Dense(classes, softmax)."""
    return _probabilities(_hidden(keras.layers.Flatten(name="head_flatten")(features), 256, 0.5), classes)


@register_head
def flatten_bn(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Flatten → Dense(512, relu) → BN → Dropout(0.5) → Dense(classes, softmax)."""
    x = keras.layers.Flatten(name="head_flatten")(features)
    x = keras.layers.Dense(512, activation="relu", name="head_dense")(x)
    x = keras.layers.BatchNormalization(name="head_BN")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    return _probabilities(x, classes)


@register_head
def max_pool(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Max-pool 3×3 → Dense(classes, no bias) → logits / 9 → softmax, the head of Jordan 2024 (arXiv 2404.00498)."""
    x = keras.layers.MaxPooling2D(3, name="head_pool")(features)
    x = keras.layers.Flatten(name="head_flatten")(x)
    uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")  # U(±1/√fan_in), PyTorch's
    x = keras.layers.Dense(classes, use_bias=False, kernel_initializer=uniform, name="head_logits")(x)
    x = keras.layers.Rescaling(1 / 9, name="head_scaling")(x)
    return keras.layers.Softmax(dtype="float32", name="head_probabilities")(x)


@register_head
def alexnet_classifier(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """AlexNet's in torchvision: pool to 6×6 → twice (Dropout(0.5) → Dense(4096, relu)) → Dense(classes, softmax)."""
    x = _flattened_as_in_pytorch(features, 6)
    for number in (1, 2):
        x = keras.layers.Dropout(0.5, name=f"head_dropout_{number}")(x)
        x = keras.layers.Dense(4096, activation="relu", name=f"head_dense_{number}")(x)
    return _probabilities(x, classes)


@register_head
def vgg_classifier(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """VGG's in torchvision: pool to 7×7 → twice (Dense(4096, relu) → Dropout(0.5)) → Dense(classes, softmax)."""
    x = _flattened_as_in_pytorch(features, 7)
    for number in (1, 2):
        x = keras.layers.Dense(4096, activation="relu", name=f"head_dense_{number}")(x)
        x = keras.layers.Dropout(0.5, name=f"head_dropout_{number}")(x)
    return _probabilities(x, classes)


def _flattened_as_in_pytorch(features: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """Pool a map to side × side and flatten it channels first: (b, h, w, c) → (b, c · side²)."""
    if features.shape[1:3] != (side, side):
        features = keras.layers.AdaptiveAveragePooling2D(side, name="head_pool")(features)
    x = keras.layers.Permute((3, 1, 2), name="head_permute")(features)
    return keras.layers.Flatten(name="head_flatten")(x)
