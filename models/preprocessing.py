"""Input scaling as layers of the model, so that a caller passes raw pixels. All take and return (batch, S, S, 3).

Weights work only under the scaling that they were trained with. The freeze boundary and weight loading recognise these layers
by their names, `preprocess_*`.
"""

import keras

from models.layers import ReverseChannels

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_DEVIATION = (0.2470, 0.2435, 0.2616)
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)


def unit_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Scale raw pixels, 0..255, to 0..1."""
    return keras.layers.Rescaling(1 / 255, name="preprocess_rescaling")(image)


def symmetric_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Scale raw pixels to -1..1, as TensorFlow's MobileNets and the original Vision Transformers expect."""
    return keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocess_rescaling")(image)


def lite_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Scale raw pixels by (x - 127) / 128, as EfficientNet-Lite expects."""
    return keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="preprocess_rescaling")(image)


def imagenet_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Standardise raw pixels with ImageNet's mean and deviation, as PyTorch does."""
    return _standardised(image, IMAGENET_MEAN, IMAGENET_DEVIATION)


def cifar10_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Standardise raw pixels with the mean and deviation of CIFAR-10's training images."""
    return _standardised(image, CIFAR10_MEAN, CIFAR10_DEVIATION)


def _standardised(image: keras.KerasTensor, means, deviations) -> keras.KerasTensor:
    return keras.layers.Rescaling(
        scale=[1 / (255 * deviation) for deviation in deviations],
        offset=[-mean / deviation for mean, deviation in zip(means, deviations, strict=True)],
        name="preprocess_rescaling",
    )(image)


def caffe_scaling(image: keras.KerasTensor) -> keras.KerasTensor:
    """Turn RGB into BGR and subtract ImageNet's mean, as Keras's VGG16 and ResNet-50 expect."""
    x = ReverseChannels(name="preprocess_reverse_channels")(image)
    return keras.layers.Rescaling(1.0, offset=[-mean for mean in CAFFE_MEAN_BGR], name="preprocess_rescaling")(x)
