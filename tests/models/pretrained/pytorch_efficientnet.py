"""EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946) in torchvision's names, Lite0 in those of EfficientNet-PyTorch.

Both in plain PyTorch. Lite0 pads as TensorFlow does: by what the input's size leaves over, more on the bottom and right.
"""

import math

import torch
from torch import nn

# kernel, blocks, filters, expansion, stride of the first block (table 1 of the paper)
STAGES = [
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
]


def plans():
    """Yield (stage, entering channels, kernel, filters, expansion, stride) of each block."""
    entering = 32
    for stage, (kernel, blocks, filters, expansion, stride) in enumerate(STAGES, start=1):
        for block in range(blocks):
            yield stage, entering, kernel, filters, expansion, stride if block == 0 else 1
            entering = filters


def conv_bn_swish(entering: int, leaving: int, kernel: int = 1, stride: int = 1, groups: int = 1, swish: bool = True):
    convolution = nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(leaving), *([nn.SiLU()] if swish else []))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = nn.functional.silu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(gate))


class MBConv(nn.Module):
    def __init__(self, entering: int, kernel: int, filters: int, expansion: int, stride: int):
        super().__init__()
        hidden = entering * expansion
        steps = [conv_bn_swish(entering, hidden)] if expansion != 1 else []
        steps.append(conv_bn_swish(hidden, hidden, kernel, stride, groups=hidden))
        steps += [SqueezeExcitation(hidden, max(1, entering // 4)), conv_bn_swish(hidden, filters, swish=False)]
        self.block = nn.Sequential(*steps)
        self.residual = stride == 1 and entering == filters

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x) if self.residual else self.block(x)


class EfficientNetB0(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        stages: dict[int, list[nn.Module]] = {}
        for stage, *plan in plans():
            stages.setdefault(stage, []).append(MBConv(*plan))
        blocks = [nn.Sequential(*stage) for stage in stages.values()]
        self.features = nn.Sequential(conv_bn_swish(3, 32, 3, 2), *blocks, conv_bn_swish(320, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class SameConv2d(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = [max((math.ceil(side / stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
        before = [each // 2 for each in total]
        x = nn.functional.pad(x, (before[1], total[1] - before[1], before[0], total[0] - before[0]))
        return super().forward(x)


class LiteBlock(nn.Module):
    def __init__(self, entering: int, kernel: int, filters: int, expansion: int, stride: int):
        super().__init__()
        hidden = entering * expansion
        if expansion != 1:
            self._expand_conv = SameConv2d(entering, hidden, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(hidden, eps=1e-3)
        self.expands = expansion != 1
        self._depthwise_conv = SameConv2d(hidden, hidden, kernel, stride, groups=hidden, bias=False)
        self._bn1 = nn.BatchNorm2d(hidden, eps=1e-3)
        self._project_conv = SameConv2d(hidden, filters, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(filters, eps=1e-3)
        self.residual = stride == 1 and entering == filters

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self._bn0(self._expand_conv(inputs))) if self.expands else inputs
        x = nn.functional.relu6(self._bn1(self._depthwise_conv(x)))
        x = self._bn2(self._project_conv(x))
        return x + inputs if self.residual else x


class EfficientNetLite0(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self._conv_stem, self._bn0 = SameConv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(LiteBlock(*plan) for _, *plan in plans())
        self._conv_head, self._bn1 = SameConv2d(320, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return nn.functional.relu6(self._bn1(self._conv_head(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fc(self.features(x).mean((2, 3)))
