"""A modern LeNet-5: ReLU and max pooling, for 32 px images with one or three channels.

Source: LeCun, Bottou, Bengio & Haffner 1998, "Gradient-based learning applied to document recognition". Departures:
ReLU instead of the scaled tanh, max instead of learned average pooling, full connections between S2 and C3, a linear
output.
"""

from collections import OrderedDict

from torch import nn


class LeNet5(nn.Sequential):
    """Two convolutions, three linear layers; 6, 16, 120, 84 and `n_classes` units.

    Args:
        channels: 1 for grey, 3 for colour.
        n_classes: classes of the output.
    """

    def __init__(self, channels: int = 1, n_classes: int = 10) -> None:
        """Random weights, as torch draws them."""
        super().__init__(
            OrderedDict(
                conv1=nn.Conv2d(channels, 6, 5),
                relu1=nn.ReLU(inplace=True),
                pool1=nn.MaxPool2d(2),
                conv2=nn.Conv2d(6, 16, 5),
                relu2=nn.ReLU(inplace=True),
                pool2=nn.MaxPool2d(2),
                flatten=nn.Flatten(),
                fc1=nn.Linear(400, 120),
                relu3=nn.ReLU(inplace=True),
                fc2=nn.Linear(120, 84),
                relu4=nn.ReLU(inplace=True),
                fc3=nn.Linear(84, n_classes),
            )
        )


def digits() -> LeNet5:
    """For scikit-learn's handwritten digits: grey."""
    return LeNet5(channels=1)


def cifar10() -> LeNet5:
    """For CIFAR-10: colour."""
    return LeNet5(channels=3)
