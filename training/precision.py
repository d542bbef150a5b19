"""Mixed precision: training computes in bfloat16 where it is faster; weights and saved models stay float32."""

import keras

from models.layers import WhiteningConv2D
from training.checkpoint import assign, values
from training.provenance import gpus, vector_instructions

_KEPT_EXACT = ("preprocess_", "head_")


def computes_bfloat16() -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs, and on processors with AVX-512, which oneDNN supports."""
    return bool(gpus()) or vector_instructions() == "AVX-512"


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Return a copy of a flat model with its weights under dtype policy "float32" or "mixed_bfloat16".

    Scaling, whitening and head stay float32: they cost little, whitening amplifies rounding errors, and probabilities need
    the precision.
    """

    def copy(layer: keras.Layer) -> keras.Layer:
        exact = layer.name.startswith(_KEPT_EXACT) or isinstance(layer, WhiteningConv2D)
        return type(layer).from_config({**layer.get_config(), "dtype": "float32" if exact else policy})

    uncompiled = keras.Model(model.inputs, model.outputs, name=model.name)  # Keras would copy the optimizer too
    result = keras.models.clone_model(uncompiled, clone_function=copy)
    assign(result.weights, values(model.weights))
    return result
