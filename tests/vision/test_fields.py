"""Theoretical receptive fields against brute force: the input pixels that get a gradient from one position."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from polyscan.vision.fields import Axis, fields_of, merged
from polyscan.vision.tracing import recorded, shape_of, traced

SIDE = 41


def positive(module):
    """Random positive weights, so that no two paths cancel."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1
    return module.double().eval()


def field_and_boxes(module, side=SIDE, channels=2):
    """The output's field, and (position, first, last) along rows and columns as gradients show them."""
    module = positive(nn.Sequential(module))  # torch's own layers are entered where they are the root
    graph = traced(module)
    image = torch.rand(1, channels, side, side + 3, dtype=torch.float64, requires_grad=True)
    recorded(graph, image.detach())
    nodes = list(graph.graph.nodes)
    field = fields_of(graph, {node.name: shape_of(node) for node in nodes})[nodes[-2].name]
    maps = module(image)
    boxes = []
    height, width = maps.shape[2:]
    for y, x in [(height // 2, width // 2), (height // 3, width - 1), (min(1, height - 1), min(2, width - 1))]:
        (gradient,) = torch.autograd.grad(maps[0, :, y, x].sum(), image, retain_graph=True)
        touched = gradient[0].abs().sum(dim=0) > 0
        rows, columns = touched.any(dim=1).nonzero().flatten(), touched.any(dim=0).nonzero().flatten()
        boxes.append(((y, int(rows[0]), int(rows[-1]), side), (x, int(columns[0]), int(columns[-1]), side + 3)))
    return field, boxes


class Lambda(nn.Module):
    """Layers `a`, `b`, `c` and a function of them and the input."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def c(kernel=3, **settings):
    return nn.Conv2d(2, 2, kernel, **settings)


EXACT = {
    "one convolution": c(),
    "uneven kernel, stride, padding": c((3, 5), stride=(2, 1), padding=(1, 2)),
    "a stack with strides": nn.Sequential(c(7, stride=2, padding=3), nn.ReLU(), c(stride=2, padding=1), c(padding=1)),
    "dilation": nn.Sequential(c(dilation=2, padding=2), nn.BatchNorm2d(2), c(dilation=3)),
    "same padding": nn.Sequential(c(4, padding="same"), c(5, padding="same", dilation=2)),
    "max pooling module": nn.Sequential(c(padding=1), nn.AvgPool2d(3, stride=2, padding=1), c()),
    "pooling's own stride": nn.Sequential(c(), nn.AvgPool2d(2), nn.AvgPool2d(3)),
    "functional average pooling": Lambda(lambda m, x: m.a(F.avg_pool2d(x, 3, 2, 1)), a=c()),
    "functional average pooling by keyword": Lambda(lambda m, x: m.a(F.avg_pool2d(x, kernel_size=2)), a=c()),
    "residual": Lambda(lambda m, x: F.relu(m.b(F.relu(m.a(x))) + x), a=c(padding=1), b=c(padding=1)),
    "strided residual": Lambda(
        lambda m, x: m.b(m.a(x)) + m.c(x), a=c(stride=2, padding=1), b=c(5, padding=2), c=c(1, stride=2)
    ),
    "in place residual": Lambda(lambda m, x: m.a(x).add_(x), a=c(padding=1)),
    "concatenation": Lambda(lambda m, x: torch.cat([m.a(x), m.b(x)], dim=1), a=c(padding=1), b=c(7, padding=3)),
    "strided slice": Lambda(lambda m, x: m.a(x[:, :, ::2, ::2]), a=c()),
    "slice from an edge": Lambda(lambda m, x: m.a(x[:, :, 3:, -20:]), a=c()),
    "option-A shortcut": Lambda(
        lambda m, x: m.a(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1))[:, 1:3], a=c(stride=2, padding=1)
    ),
    "padding by function": Lambda(lambda m, x: m.a(F.pad(x, (2, 1, 3, 0))), a=c(stride=2)),
    "cropping by function": Lambda(lambda m, x: m.a(F.pad(x, (-2, 1, 0, -3))), a=c()),
    "convolution by function": Lambda(lambda m, x: F.conv2d(x, m.a.weight, None, 2, (1, 2), dilation=2), a=c((3, 5))),
    "shuffled channels by function": Lambda(lambda m, x: m.a(F.channel_shuffle(x, 2)), a=c(padding=1)),
    "padding by module": nn.Sequential(nn.ZeroPad2d((2, 1, 3, 0)), c(stride=2)),
    "split and shuffle": Lambda(
        lambda m, x: torch.cat([m.a(x.chunk(2, dim=1)[0]), x.chunk(2, dim=1)[1]], dim=1)
        .view(1, 2, 1, SIDE, SIDE + 3).transpose(1, 2).reshape(1, 2, SIDE, SIDE + 3),
        a=nn.Conv2d(1, 1, 3, padding=1),
    ),
    "channels last": Lambda(
        lambda m, x: m.b(m.n(m.a(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2) + x,
        a=c(7, padding=3), b=nn.Linear(2, 2), n=nn.LayerNorm(2),
    ),
    "dividing adaptive pooling": nn.Sequential(nn.ZeroPad2d((0, 1, 0, 4)), nn.AdaptiveAvgPool2d((9, 9))),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", EXACT)
def test_the_box_is_the_gradients(name):
    field, boxes = field_and_boxes(EXACT[name])
    assert field is not None
    for number, box in enumerate(boxes):
        for axis, (position, first, last, side) in zip(field, box, strict=True):
            low, high = position * axis.stride + axis.low, position * axis.stride + axis.high
            if number == 0 or (low >= 0 and high < side):  # the middle one is never cut
                assert (low, high) == (first, last), (name, axis)
            else:  # a dilated window need not touch the first pixel inside
                assert low <= first <= max(0, low) + 5, (name, axis)
                assert min(side - 1, high) - 5 <= last <= high, (name, axis)


@pytest.mark.parametrize(
    "pool",
    [
        Lambda(lambda m, x: F.max_pool2d(m.a(x), 3, 2, 1), a=c()),
        Lambda(lambda m, x: F.max_pool2d(m.a(x), kernel_size=3, stride=2, padding=1), a=c()),
        Lambda(lambda m, x: torch.max_pool2d(m.a(x), 3, 2, 1, 1), a=c()),
        nn.Sequential(c(), nn.MaxPool2d(3, 2, 1)),
    ],
    ids=["by place", "by keyword", "torch's", "module"],
)
def test_max_pooling_has_the_field_of_average_pooling(pool):
    # Its gradient shows the winner alone, so it can't be told by brute force.
    field, _ = field_and_boxes(pool)
    reference, _ = field_and_boxes(nn.Sequential(c(), nn.AvgPool2d(3, 2, 1)))
    assert field == reference == (Axis(2, -1, 3), Axis(2, -1, 3))


def squeeze_excite(m, x):
    return x * torch.sigmoid(m.a(x.mean(dim=(2, 3), keepdim=True)))


WHOLE = {
    "squeeze and excitation": Lambda(squeeze_excite, a=c(1)),
    "global pooling module": nn.Sequential(c(), nn.AdaptiveAvgPool2d(1)),
    "group norm": nn.GroupNorm(1, 2),
    "circular padding": c(padding=1, padding_mode="circular"),
    "circular padding by function": Lambda(lambda m, x: F.pad(x, (1, 1, 1, 1), mode="circular")),
    "a scale that the graph computes": Lambda(lambda m, x: F.interpolate(x, scale_factor=x.shape[2] / SIDE)),
    "a layer over lines": Lambda(lambda m, x: m.a(x.flatten(2)).unflatten(2, (SIDE, SIDE + 3)), a=nn.Conv1d(2, 2, 1)),
    "a layer over volumes": Lambda(lambda m, x: m.a(x[:, :, None])[:, :, 0], a=nn.Conv3d(2, 2, 1)),
    "concatenation in space": Lambda(lambda m, x: torch.cat([x, x], dim=2)),
    "transposed": Lambda(lambda m, x: x.transpose(2, 3)),
    "linear over columns": nn.Linear(SIDE + 3, 4),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_sees_all_or_is_not_known_sees_all(name):
    field, _ = field_and_boxes(WHOLE[name])
    assert field is None


def test_layers_behind_a_gate_see_all():
    field, boxes = field_and_boxes(nn.Sequential(c(), WHOLE["squeeze and excitation"], c()))
    assert field is None
    assert all((first, last) == (0, side - 1) for box in boxes for _, first, last, side in box)  # and truly so


@pytest.mark.parametrize("kind", ["conv", "max", "average"])
@pytest.mark.parametrize("side", [40, 41])
def test_timms_same_padding_is_told_from_the_sizes(kind, side):
    from timm.layers import Conv2dSame
    from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame

    layer = {"conv": Conv2dSame(2, 2, 3, stride=2), "max": MaxPool2dSame(3, 2), "average": AvgPool2dSame(3, 2)}[kind]
    field, boxes = field_and_boxes(nn.Sequential(layer, c(1)), side=side)
    padding = 1 if side % 2 else 0
    assert field[0] == Axis(2, -padding, 2 - padding)
    if kind != "max":
        for position, first, last, size in (box[0] for box in boxes):
            assert (max(0, 2 * position - padding), min(size - 1, 2 * position + 2 - padding)) == (first, last)


def test_merging():
    small, wide = (Axis(2, -1, 1),) * 2, (Axis(2, -3, 0),) * 2
    assert merged([small, wide]) == (Axis(2, -3, 1),) * 2
    assert merged([small, None]) is None
    assert merged([small, (Axis(4, -1, 1),) * 2]) is None  # how far they are apart depends on the size of the maps
    assert Axis(2, -3, 1).field == 5
