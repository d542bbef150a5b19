"""MobileNetV2 1.0 (Sandler et al. 2018, arXiv 1801.04381) in the graph of Keras Applications.

PyTorch and Keras disagree in two places: PyTorch pads a strided convolution by one pixel on every side where Keras pads
the bottom and the right alone, and its BatchNormalization adds 1e-5 to the variance where Keras adds 1e-3. Weights work
only under the convention that they were trained with, so the convention follows from where the weights come from.
"""

import keras

from models.preprocessing import imagenet_scaling, symmetric_scaling
from models.pretrained.architectures import MOBILENET_V2
from models.registry import ModelSpec, register_model


def mobilenet_v2_backbone(image_size: int, convention: str) -> keras.Model:
    """Build the backbone over raw RGB: (S, S, 3) → (S/32, S/32, 1280), with scaling inside and random weights.

    Args:
        image_size: S, in pixels.
        convention: "pytorch" or "keras": the padding, the BN epsilon and the scaling that the weights expect.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    if convention == "keras":
        x = symmetric_scaling(image)
        return keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=x)
    # Keras pads inside its first convolution; PyTorch's padding needs a layer, which N does not count.
    x = keras.layers.ZeroPadding2D(1, name="preprocess_padding")(imagenet_scaling(image))
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=x)
    return keras.models.clone_model(backbone, clone_function=_in_pytorch_convention)


def _in_pytorch_convention(layer: keras.Layer) -> keras.Layer:
    config = layer.get_config()
    if isinstance(layer, keras.layers.BatchNormalization):
        config["epsilon"] = 1e-5
    elif isinstance(layer, keras.layers.ZeroPadding2D):
        config["padding"] = ((1, 1), (1, 1))
    elif layer.name == "Conv1":
        config["padding"] = "valid"
    return layer.__class__.from_config(config)


register_model(
    ModelSpec(
        name="mobilenet_v2",
        backbone=mobilenet_v2_backbone,
        conventions=("pytorch", "keras"),
        image_size=160,
        minimum_size=32,
        normalisation="ImageNet mean and deviation (PyTorch weights) or x / 127.5 - 1 (Keras weights)",
        heads=("dense", "linear"),
        pretrained=MOBILENET_V2,
        unfreeze=50,
    )
)
