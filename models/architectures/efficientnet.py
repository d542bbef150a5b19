"""EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946) and EfficientNet-Lite0, its form for phones.

Layers are named as in Keras Applications, whose weight files load by these names. Two things are left out on purpose.
Stochastic depth would make the frozen part of the network random, which nothing can cache; it has no weights. And the
layer of Keras's graph that holds the scaling's constants is a Rescaling here.

With a linear head for 10 classes PyTorch counts 4,020,358 parameters in EfficientNet-B0. Keras counts 42,016 more, the moving
statistics of BatchNormalization, which are buffers to PyTorch; Keras Applications another 7, the scaling's constants.

EfficientNet-Lite0 drops squeeze-and-excite, puts ReLU6 in the place of swish, and scales its input to whole numbers.
"""

import keras

from models.preprocessing import imagenet_scaling, lite_scaling
from models.pretrained.architectures import EFFICIENTNET_B0, EFFICIENTNET_LITE0
from models.registry import ModelSpec, register_model

# kernel, blocks, filters, expansion, stride of the first block (table 1 of the paper)
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)


class _Builder:
    """What all blocks of one network share.

    Args:
        activation: "swish" or "relu6".
        squeeze: whether blocks have squeeze-and-excite.
        symmetric: whether strided convolutions pad all sides alike (PyTorch) or the bottom and right more (TensorFlow).
        epsilon: what BatchNormalization adds to the variance.
    """

    def __init__(self, activation: str, squeeze: bool, symmetric: bool, epsilon: float):
        self.activation = activation
        self.squeeze = squeeze
        self.symmetric = symmetric
        self.epsilon = epsilon

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Build everything from the scaled image (batch, S, S, 3) to (batch, S/32, S/32, 1280)."""
        x = self.padded(x, 3, "stem_conv_pad")
        x = keras.layers.Conv2D(32, 3, 2, use_bias=False, name="stem_conv")(x)
        x = self.normalised(x, "stem_bn", "stem_activation")
        for stage, (kernel, blocks, filters, expansion, stride) in enumerate(STAGES, start=1):
            for block in range(blocks):
                name = f"block{stage}{'abcd'[block]}_"
                x = self.block(x, name, kernel, filters, expansion, stride if block == 0 else 1)
        x = keras.layers.Conv2D(1280, 1, use_bias=False, name="top_conv")(x)
        return self.normalised(x, "top_bn", "top_activation")

    def block(self, x, name: str, kernel: int, filters: int, expansion: int, stride: int) -> keras.KerasTensor:
        """Append an inverted residual block: expand, depthwise, squeeze-and-excite, project, add."""
        shortcut, entering = x, x.shape[-1]
        if expansion != 1:
            x = keras.layers.Conv2D(entering * expansion, 1, use_bias=False, name=f"{name}expand_conv")(x)
            x = self.normalised(x, f"{name}expand_bn", f"{name}expand_activation")
        if stride == 2:
            x = self.padded(x, kernel, f"{name}dwconv_pad")
        padding = "valid" if stride == 2 else "same"
        x = keras.layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, name=f"{name}dwconv")(x)
        x = self.normalised(x, f"{name}bn", f"{name}activation")
        if self.squeeze:
            x = self.squeezed(x, name, squeezed=max(1, entering // 4))
        x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}project_conv")(x)
        x = keras.layers.BatchNormalization(epsilon=self.epsilon, name=f"{name}project_bn")(x)
        if stride == 1 and entering == filters:
            x = keras.layers.Add(name=f"{name}add")([x, shortcut])
        return x

    def squeezed(self, x, name: str, squeezed: int) -> keras.KerasTensor:
        """Scale each channel by a gate between 0 and 1 that sees the channels' means (arXiv 1709.01507)."""
        channels = x.shape[-1]
        gate = keras.layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
        gate = keras.layers.Reshape((1, 1, channels), name=f"{name}se_reshape")(gate)
        gate = keras.layers.Conv2D(squeezed, 1, activation=self.activation, name=f"{name}se_reduce")(gate)
        gate = keras.layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}se_expand")(gate)
        return keras.layers.Multiply(name=f"{name}se_excite")([x, gate])

    def normalised(self, x, batch_norm: str, activation: str) -> keras.KerasTensor:
        """Append BatchNormalization and the activation."""
        x = keras.layers.BatchNormalization(epsilon=self.epsilon, name=batch_norm)(x)
        return keras.layers.Activation(self.activation, name=activation)(x)

    def padded(self, x, kernel: int, name: str) -> keras.KerasTensor:
        """Pad for a convolution of stride 2."""
        before = after = kernel // 2
        if not self.symmetric and x.shape[1] % 2 == 0:
            before -= 1
        return keras.layers.ZeroPadding2D(((before, after), (before, after)), name=name)(x)


def efficientnet_b0_backbone(image_size: int, convention: str) -> keras.Model:
    """Build EfficientNet-B0: (S, S, 3) → (S/32, S/32, 1280)."""
    image = keras.Input((image_size, image_size, 3), name="image")
    pytorch = convention == "pytorch"
    builder = _Builder("swish", squeeze=True, symmetric=pytorch, epsilon=1e-5 if pytorch else 1e-3)
    return keras.Model(image, builder.features(imagenet_scaling(image)), name="efficientnet_b0_backbone")


def efficientnet_lite0_backbone(image_size: int, convention: str) -> keras.Model:
    """Build EfficientNet-Lite0, padded as TensorFlow pads: (S, S, 3) → (S/32, S/32, 1280)."""
    image = keras.Input((image_size, image_size, 3), name="image")
    builder = _Builder("relu6", squeeze=False, symmetric=False, epsilon=1e-3)
    return keras.Model(image, builder.features(lite_scaling(image)), name="efficientnet_lite0_backbone")


register_model(
    ModelSpec(
        name="efficientnet_b0",
        backbone=efficientnet_b0_backbone,
        conventions=("pytorch", "keras"),
        image_size=160,
        minimum_size=32,
        normalisation="ImageNet mean and deviation",
        heads=("linear", "dense"),
        pretrained=EFFICIENTNET_B0,
        unfreeze=50,
    )
)
register_model(
    ModelSpec(
        name="efficientnet_lite0",
        backbone=efficientnet_lite0_backbone,
        image_size=160,
        minimum_size=32,
        normalisation="(x - 127) / 128",
        heads=("linear", "dense"),
        pretrained=EFFICIENTNET_LITE0,
        unfreeze=50,
    )
)
