"""Heads: what stands between a backbone's feature map and the class probabilities.

Every layer of a head has a name that starts with `head_`; that is how the freeze boundary, Grad-CAM and weight loading
tell a head from its backbone, in a saved file too.
"""

from collections.abc import Callable

import keras

HEADS: dict[str, Callable[[keras.KerasTensor, int], keras.KerasTensor]] = {}


def register_head(function):
    """Register `function(features, classes) -> probabilities` under its own name."""
    HEADS[function.__name__] = function
    return function


def attach_head(name: str, features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Append the head `name` to a backbone's features; return probabilities (batch, classes).

    Features are a map (batch, height, width, channels), or a vector (batch, channels) such as a class token, which heads
    that begin with global average pooling (GAP) take as it is.

    Raises:
        ValueError: if no head has that name, or `classes` is below 2.
    """
    if name not in HEADS:
        raise ValueError(f"head must be one of {', '.join(sorted(HEADS))}. Received: head={name!r}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2. Received: classes={classes}")
    return HEADS[name](features, classes)


def _pooled(features: keras.KerasTensor) -> keras.KerasTensor:
    if len(features.shape) == 2:
        return features
    return keras.layers.GlobalAveragePooling2D(name="head_pool")(features)


def _probabilities(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    # float32 under mixed precision too: a float16 softmax loses the small probabilities that calibration needs.
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="head_probabilities")(features)


@register_head
def dense(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dense(128, relu) → Dropout(0.3) → Dense(classes, softmax)."""
    x = keras.layers.Dense(128, activation="relu", name="head_dense")(_pooled(features))
    x = keras.layers.Dropout(0.3, name="head_dropout")(x)
    return _probabilities(x, classes)


@register_head
def dense_256(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dense(256, relu) → Dropout(0.5) → Dense(classes, softmax)."""
    x = keras.layers.Dense(256, activation="relu", name="head_dense")(_pooled(features))
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    return _probabilities(x, classes)


@register_head
def linear(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dropout(0.2) → Dense(classes, softmax)."""
    x = keras.layers.Dropout(0.2, name="head_dropout")(_pooled(features))
    return _probabilities(x, classes)


@register_head
def flatten(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Flatten → Dense(256, relu) → Dropout(0.5) → Dense(classes, softmax), the head of the small CNNs."""
    x = keras.layers.Flatten(name="head_flatten")(features)
    x = keras.layers.Dense(256, activation="relu", name="head_dense")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    return _probabilities(x, classes)


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
    """The original of AlexNet in torchvision: 6×6 → (Dropout(0.5) → Dense(4096, relu)) twice → Dense(classes, softmax)."""
    x = _flattened_as_in_pytorch(features, 6)
    for number in (1, 2):
        x = keras.layers.Dropout(0.5, name=f"head_dropout_{number}")(x)
        x = keras.layers.Dense(4096, activation="relu", name=f"head_dense_{number}")(x)
    return _probabilities(x, classes)


@register_head
def vgg_classifier(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """The original of VGG in torchvision: 7×7 → (Dense(4096, relu) → Dropout(0.5)) twice → Dense(classes, softmax)."""
    x = _flattened_as_in_pytorch(features, 7)
    for number in (1, 2):
        x = keras.layers.Dense(4096, activation="relu", name=f"head_dense_{number}")(x)
        x = keras.layers.Dropout(0.5, name=f"head_dropout_{number}")(x)
    return _probabilities(x, classes)


def _flattened_as_in_pytorch(features: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """Average a map to side × side and flatten it channel by channel: (b, h, w, c) → (b, c · side²)."""
    if features.shape[1:3] != (side, side):
        features = keras.layers.AdaptiveAveragePooling2D(side, name="head_pool")(features)
    x = keras.layers.Permute((3, 1, 2), name="head_permute")(features)
    return keras.layers.Flatten(name="head_flatten")(x)
