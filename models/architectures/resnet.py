"""ResNets (He et al. 2015, arXiv 1512.03385): torchvision's ResNet-18 and ResNet-50, and Keras Applications' ResNet-50.

The two ResNet-50 are different networks. Keras has the paper's: a block that halves the map does so in its first, 1×1
convolution, and convolutions have biases. PyTorch has version 1.5: the 3×3 convolution halves the map, there are no biases,
and ImageNet accuracy is half a point higher. Weights of one do not work in the other, so each has its own name.

Layers are named as in Keras Applications: `conv3_block1_2_conv` is the second convolution of stage 3's first block, and
`conv3_block1_0_conv` the one on its shortcut.
"""

import functools

import keras

from models.preprocessing import caffe_scaling, imagenet_scaling
from models.pretrained.downloads import APPLICATIONS, HubFile, KerasDownload
from models.pretrained.mapping import Pairs, PytorchMapping
from models.pretrained.sources import Pretrained
from models.registry import register_model

BLOCKS_18, BLOCKS_50 = (2, 2, 2, 2), (3, 4, 6, 3)  # in each of the four stages


def torchvision_resnet(image_size: int, convention: str, *, blocks: tuple[int, ...], bottleneck: bool) -> keras.Model:
    """Build a ResNet of torchvision's: (S, S, 3) → (S/32, S/32, 512), or 2048 channels with bottlenecks.

    `blocks` has the number of blocks in each of the four stages. A bottleneck block is 1×1, 3×3, 1×1 convolutions, the last
    four times as wide; otherwise a block is two 3×3 convolutions. `convention` is not used, because there is only one.
    """
    image = keras.Input((image_size, image_size, 3), name="image")
    x = _convolved(imagenet_scaling(image), 64, 7, 2, "conv1_{}")
    x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = keras.layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            stride = 2 if stage > 2 and block == 1 else 1
            x = _block(x, 64 * 2 ** (stage - 2), stride, bottleneck, f"conv{stage}_block{block}")
    return keras.Model(image, x)


def _block(x: keras.KerasTensor, filters: int, stride: int, bottleneck: bool, name: str) -> keras.KerasTensor:
    outputs = 4 * filters if bottleneck else filters
    changed = stride > 1 or x.shape[-1] != outputs
    shortcut = _convolved(x, outputs, 1, stride, f"{name}_0_{{}}", relu=False) if changed else x
    if bottleneck:
        x = _convolved(x, filters, 1, 1, f"{name}_1_{{}}")
        x = _convolved(x, filters, 3, stride, f"{name}_2_{{}}")
        x = _convolved(x, outputs, 1, 1, f"{name}_3_{{}}", relu=False)
    else:
        x = _convolved(x, filters, 3, stride, f"{name}_1_{{}}")
        x = _convolved(x, filters, 3, 1, f"{name}_2_{{}}", relu=False)
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _convolved(x: keras.KerasTensor, filters: int, kernel: int, stride: int, name: str, relu: bool = True):
    """Append equal padding on all sides, convolution, BN and ReLU; `name.format(kind)` names each layer."""
    if kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=name.format("pad"))(x)
    x = keras.layers.Conv2D(filters, kernel, stride, use_bias=False, name=name.format("conv"))(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name=name.format("bn"))(x)
    return keras.layers.ReLU(name=name.format("relu"))(x) if relu else x


def resnet50_backbone(image_size: int, convention: str) -> keras.Model:
    """Build Keras Applications' ResNet-50 in its one convention: (S, S, 3) → (S/32, S/32, 2048)."""
    image = keras.Input((image_size, image_size, 3), name="image")
    return keras.applications.ResNet50(include_top=False, weights=None, input_tensor=caffe_scaling(image))


def pytorch_names(blocks: tuple[int, ...], convolutions: int) -> Pairs:
    """Return the (PyTorch module, Keras layer) pairs in torchvision's names, for 2 or 3 convolutions in a block."""
    pairs = [("conv1", "conv1_conv"), ("bn1", "conv1_bn")]
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            module, layer = f"layer{stage}.{block}", f"conv{stage + 1}_block{block + 1}"
            for number in range(1, convolutions + 1):
                pairs += [(f"{module}.{kind}{number}", f"{layer}_{number}_{kind}") for kind in ("conv", "bn")]
            if block == 0 and (stage > 1 or convolutions == 3):
                pairs += [(f"{module}.downsample.0", f"{layer}_0_conv"), (f"{module}.downsample.1", f"{layer}_0_bn")]
    return tuple(pairs)


def _from_timm(repository: str, names: Pairs) -> Pretrained:
    mapping = PytorchMapping("torchvision", names, classifier=(("fc", "head_probabilities"),))
    return Pretrained(imagenet=HubFile(repository), mappings=(mapping,))


register_model(
    name="resnet18",
    backbone=functools.partial(torchvision_resnet, blocks=BLOCKS_18, bottleneck=False),
    pretrained=_from_timm("timm/resnet18.a1_in1k", pytorch_names(BLOCKS_18, convolutions=2)),
    unfreeze=20,
)
register_model(
    name="resnet50",
    backbone=resnet50_backbone,
    conventions=("keras",),
    heads=("dense_256", "linear"),
    pretrained=Pretrained(
        keras=KerasDownload(
            f"{APPLICATIONS}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            md5="4d473c1dd8becc155b73f8504c6f6626",
        ),
        no_pytorch="PyTorch's ResNet-50 is another network (version 1.5): use --model resnet50_v1_5.",
    ),
    unfreeze=32,
)
register_model(
    name="resnet50_v1_5",
    backbone=functools.partial(torchvision_resnet, blocks=BLOCKS_50, bottleneck=True),
    heads=("dense_256", "linear"),
    pretrained=_from_timm("timm/resnet50.a1_in1k", pytorch_names(BLOCKS_50, convolutions=3)),
    unfreeze=35,
)
