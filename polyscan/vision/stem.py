"""A faster form of a network's first convolution, which leaves most vector lanes empty if it has few input channels."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

MOST_COLOURS = 4


class DenseStem(nn.Module):
    """A convolution of stride s over few channels, as one of stride 1 over s x s times as many.

    Each s x s square of the image becomes the channels of one position, and the kernel is divided in the same way; the
    function is the same up to rounding. CPU and GPU kernels pad channels to 8 or 16, so that three colours take the
    time of sixteen.

    Args:
        convolution: the convolution to replace; see `fits`.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        s, (height, width) = convolution.stride[0], convolution.kernel_size
        self.stride = s
        self.padding = cast("tuple[int, int]", convolution.padding)
        self.kernel = (height, width)
        self.dense = (-(-height // s), -(-width // s))  # rows and columns of squares that the kernel touches
        weight = nn.functional.pad(
            convolution.weight.detach(), (0, self.dense[1] * s - width, 0, self.dense[0] * s - height)
        )
        weight = weight.unflatten(3, (-1, s)).unflatten(2, (-1, s))  # [u, c, rows, s, columns, s]
        weight = weight.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)  # a square's rows, their pixels, their colours
        self.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
        bias = convolution.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)

    @staticmethod
    def fits(module: nn.Module) -> bool:
        """Whether a module is a plain convolution of few colours with the same stride above 1 along both axes."""
        return (
            type(module) is nn.Conv2d
            and module.in_channels <= MOST_COLOURS
            and module.stride[0] == module.stride[1] > 1
            and module.stride[0] <= min(module.kernel_size)
            and module.groups == 1
            and module.dilation == (1, 1)
            and module.padding_mode == "zeros"
            and not isinstance(module.padding, str)
        )

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b u v w"]:
        """The output of the convolution."""
        pads = [
            pad
            for size, kernel, dense, padding in zip(
                images.shape[2:], self.kernel, self.dense, self.padding, strict=True
            )
            for pad in [self._pads(size, kernel, dense, padding)]
        ]
        # The sides of the last axis come first; negative padding cuts off pixels that no kernel reaches.
        padded = nn.functional.pad(images, (*pads[1], *pads[0]))
        # One copy into the order that the convolution reads, and one back; `pixel_unshuffle` takes two each way.
        pixels = padded.permute(0, 2, 3, 1).contiguous()
        squares = pixels.unflatten(2, (-1, self.stride)).unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(3)
        return nn.functional.conv2d(squares.permute(0, 3, 1, 2), self.weight, self.bias)

    def _pads(self, size: int, kernel: int, dense: int, padding: int) -> tuple[int, int]:
        n_positions = (size + 2 * padding - kernel) // self.stride + 1
        return padding, self.stride * (n_positions - 1 + dense) - size - padding
