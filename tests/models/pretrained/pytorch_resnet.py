"""ResNet v1.5 (He et al. 2015, arXiv 1512.03385; the stride in the 3×3 convolution) in plain PyTorch, torchvision's names."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, entering: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        leaving = 4 * width if bottleneck else width
        shapes = (
            [(1, 1, width), (3, stride, width), (1, 1, leaving)] if bottleneck else [(3, stride, width), (3, 1, width)]
        )
        self.count, channels = len(shapes), entering
        for number, (kernel, step, filters) in enumerate(shapes, start=1):
            setattr(self, f"conv{number}", nn.Conv2d(channels, filters, kernel, step, kernel // 2, bias=False))
            setattr(self, f"bn{number}", nn.BatchNorm2d(filters))
            channels = filters
        self.downsample = None
        if stride > 1 or entering != leaving:
            convolution = nn.Conv2d(entering, leaving, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(leaving))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.count + 1):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x))
            x = torch.relu(x) if number < self.count else x
        return torch.relu(x + shortcut)


class ResNet(nn.Module):
    def __init__(self, blocks: tuple[int, ...], bottleneck: bool, classes: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for stage, count in enumerate(blocks, start=1):
            width, layers = 64 * 2 ** (stage - 1), []
            for block in range(count):
                layers.append(Block(channels, width, 2 if stage > 1 and block == 0 else 1, bottleneck))
                channels = 4 * width if bottleneck else width
            setattr(self, f"layer{stage}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        # A max-pool of PyTorch pads with minus infinity, which after a ReLU is the same as zeros.
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.features(x).mean((2, 3)))
