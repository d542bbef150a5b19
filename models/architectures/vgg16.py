"""VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556): thirteen 3×3 convolutions in the graph of Keras Applications."""

import keras

from models.preprocessing import caffe_scaling, imagenet_scaling
from models.pretrained.architectures import VGG16
from models.registry import ModelSpec, register_model


def vgg16_backbone(image_size: int, convention: str) -> keras.Model:
    """Build the backbone: (S, S, 3) → (S/32, S/32, 512). PyTorch's and Keras's graphs differ in the scaling alone."""
    image = keras.Input((image_size, image_size, 3), name="image")
    x = caffe_scaling(image) if convention == "keras" else imagenet_scaling(image)
    return keras.applications.VGG16(include_top=False, weights=None, input_tensor=x)


register_model(
    ModelSpec(
        name="vgg16",
        backbone=vgg16_backbone,
        conventions=("pytorch", "keras"),
        image_size=96,
        minimum_size=32,
        normalisation="ImageNet mean and deviation (PyTorch weights) or BGR minus the mean (Keras weights)",
        heads=("linear", "dense", "vgg_classifier"),
        pretrained=VGG16,
        unfreeze=4,
    )
)
