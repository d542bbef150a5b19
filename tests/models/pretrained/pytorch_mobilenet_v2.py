"""MobileNetV2 in plain PyTorch (Sandler et al. 2018, arXiv 1801.04381): the original that the port is held against.

Module names are those of the two namings that checkpoints have: "flat", of the first PyTorch ports, and "torchvision".
"""

import torch
from torch import nn

# expansion, channels, blocks, stride of the first block (table 2 of the paper)
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int, naming: str):
        super().__init__()
        hidden = inputs * expansion
        steps = [conv_bn_relu(inputs, hidden)] if expansion != 1 else []
        steps.append(conv_bn_relu(hidden, hidden, kernel=3, stride=stride, groups=hidden))
        project = [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        if naming == "flat":
            steps = [layer for step in steps for layer in step]
        self.conv = nn.Sequential(*steps, *project)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, naming: str, classes: int = 0):
        super().__init__()
        layers = [conv_bn_relu(3, 32, kernel=3, stride=2)]
        channels = 32
        for expansion, outputs, blocks, first_stride in STAGES:
            for block in range(blocks):
                stride = first_stride if block == 0 else 1
                layers.append(InvertedResidual(channels, outputs, stride, expansion, naming))
                channels = outputs
        layers.append(conv_bn_relu(channels, 1280))
        self.features = nn.Sequential(*layers)
        if classes:
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))
