"""The CIFAR ResNet-20: three stages of three blocks, 16, 32 and 64 channels, parameter-free shortcuts.

Source: He, Zhang, Ren & Sun 2015, "Deep residual learning for image recognition", section 4.2, option A.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions; if the size halves, the shortcut takes every second pixel and adds zero channels."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        """Random weights, as torch draws them."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.padding = (channels - channels_in) // 2

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, after its last ReLU."""
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(out + x)


class ResNet20(nn.Module):
    """Twenty layers for 32 px images and ten classes."""

    def __init__(self) -> None:
        """Random weights, as torch draws them."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(BasicBlock(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(*(BasicBlock(16 if i == 0 else 32, 32, 2 if i == 0 else 1) for i in range(3)))
        self.layer3 = nn.Sequential(*(BasicBlock(32 if i == 0 else 64, 64, 2 if i == 0 else 1) for i in range(3)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Ten logits per image."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.avg_pool2d(x, x.size(3)).flatten(1))


def cifar10() -> ResNet20:
    """The network for CIFAR-10."""
    return ResNet20()
