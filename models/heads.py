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
    """Append the head `name` to a feature map (batch, height, width, channels); return probabilities (batch, classes).

    Raises:
        ValueError: if no head has that name, or `classes` is below 2.
    """
    if name not in HEADS:
        raise ValueError(f"head must be one of {', '.join(sorted(HEADS))}. Received: head={name!r}")
    if classes < 2:
        raise ValueError(f"classes must be at least 2. Received: classes={classes}")
    return HEADS[name](features, classes)


def _probabilities(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    # float32 under mixed precision too: a float16 softmax loses the small probabilities that calibration needs.
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="head_probabilities")(features)


@register_head
def dense(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dense(128, relu) → Dropout(0.3) → Dense(classes, softmax)."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    x = keras.layers.Dense(128, activation="relu", name="head_dense")(x)
    x = keras.layers.Dropout(0.3, name="head_dropout")(x)
    return _probabilities(x, classes)


@register_head
def linear(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """GAP → Dropout(0.2) → Dense(classes, softmax)."""
    x = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
    x = keras.layers.Dropout(0.2, name="head_dropout")(x)
    return _probabilities(x, classes)


@register_head
def flatten(features: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Flatten → Dense(256, relu) → Dropout(0.5) → Dense(classes, softmax), the head of the small CNNs."""
    x = keras.layers.Flatten(name="head_flatten")(features)
    x = keras.layers.Dense(256, activation="relu", name="head_dense")(x)
    x = keras.layers.Dropout(0.5, name="head_dropout")(x)
    return _probabilities(x, classes)
