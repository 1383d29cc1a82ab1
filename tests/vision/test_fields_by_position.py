"""Fields that differ from position to position, against brute force: the inputs that get a gradient from a position.

Two claims for every network. The field of each position holds all that the position depends on. And no smaller field of
the same stride does: it is touched from inside at both ends, up to the padding of maps that are padded twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from polyscan.vision.fields import Axis, fields_of
from polyscan.vision.tracing import recorded, shape_of, traced

SIDE = 29
WIDTH = SIDE + 3
ROUNDING = 3e-6
"""Px: what a field with a stride that no binary fraction equals is wider on each side."""


class Lambda(nn.Module):
    """Layers `a` and `b`, and a function of them and the input."""

    def __init__(self, function, **layers):
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def positive(module):
    """Random positive weights, so that no two paths cancel."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1
    return module.eval()


def field_of(module, image):
    """The field of the output."""
    graph = traced(nn.Sequential(module))  # torch's own layers are entered where they are the root
    recorded(graph, image.detach())
    nodes = list(graph.graph.nodes)
    return fields_of(graph, {node.name: shape_of(node) for node in nodes})[nodes[-2].name]


def touched(maps, image, dim) -> Iterator[tuple[int, int, int]]:
    """Each row (0) or column (1) of the maps with the first and the last row or column of the image it depends on."""
    for position in range(maps.shape[2 + dim]):
        line = maps.select(2 + dim, position).sum()
        (gradient,) = torch.autograd.grad(line, image, retain_graph=True)
        sums = gradient[0].abs().sum(dim=0).sum(dim=1 - dim)
        inputs = sums.nonzero().flatten().tolist()
        if inputs:  # otherwise it is in the padding
            yield position, inputs[0], inputs[-1]


def axes_and_offsets(module):
    """Rows and columns: the computed geometry, and for each position what it depends on, relative to its place."""
    positive(module)
    image = torch.rand(1, 2, SIDE, WIDTH, requires_grad=True)
    field, maps = field_of(module, image), module(image)
    assert field is not None
    for dim, axis in enumerate(field):
        yield (
            axis,
            [(q, first - q * axis.stride, last - q * axis.stride) for q, first, last in touched(maps, image, dim)],
        )


def c(kernel=3, **settings):
    return nn.Conv2d(2, 2, kernel, **settings)


def up(kernel=3, **settings):
    return nn.ConvTranspose2d(2, 2, kernel, **settings)


def resized(**settings):
    return Lambda(lambda m, x: F.interpolate(x, **settings))


def unet(small, **settings):
    """Its deeper half is resized to the size of the other and joined to it."""
    return Lambda(
        lambda m, x: m.b(torch.cat([x, F.interpolate(m.a(x), size=x.shape[2:], **settings)], dim=1)),
        a=small, b=nn.Conv2d(4, 2, 3, padding=1),
    )  # fmt: skip


KINDS = {
    "transposed": up(stride=2),
    "transposed, padded": nn.Sequential(c(padding=1), up(4, stride=2, padding=1), c(padding=1)),
    "transposed, with output padding": nn.Sequential(c(stride=2), up(stride=2, padding=1, output_padding=1)),
    "transposed, uneven": up((3, 5), stride=(2, 3), padding=(0, 2), dilation=(2, 1)),
    "transposed with holes": nn.Sequential(up(2, stride=4), c()),
    "transposed, dilated across its stride": up(2, stride=2, dilation=3),
    "transposed by function": Lambda(lambda m, x: F.conv_transpose2d(x, m.a.weight, None, 2, 1, dilation=2), a=up()),
    "nearest": nn.Sequential(c(stride=2), nn.Upsample(scale_factor=2), c()),
    "nearest by function": resized(scale_factor=2),
    "nearest to a size": resized(size=(43, 61)),
    "nearest exact": resized(scale_factor=1.5, mode="nearest-exact"),
    "nearest with one factor an axis": resized(scale_factor=(2.5, 1.3)),
    "nearest with its factor recomputed": resized(scale_factor=1.7, recompute_scale_factor=True),
    "nearest and smaller": resized(scale_factor=0.6),
    "bilinear": nn.Sequential(c(stride=2), nn.Upsample(scale_factor=2, mode="bilinear"), c(padding=1)),
    "bilinear between corners": nn.UpsamplingBilinear2d(scale_factor=2),
    "bilinear between corners by function": resized(size=(40, 77), mode="bilinear", align_corners=True),
    "bicubic": resized(scale_factor=1.5, mode="bicubic"),
    "bicubic and smaller, smoothed": resized(size=(11, 13), mode="bicubic", antialias=True),
    "areas": resized(size=(11, 40), mode="area"),
    "pixel shuffle": nn.Sequential(nn.Conv2d(2, 18, 3, stride=2), nn.PixelShuffle(3), c(padding=1)),
    "pixel shuffle by function": Lambda(lambda m, x: F.pixel_shuffle(m.a(x), 2), a=nn.Conv2d(2, 8, 1)),
    "pixel unshuffle": nn.Sequential(nn.ZeroPad2d((0, 0, 1, 0)), nn.PixelUnshuffle(2), nn.Conv2d(8, 2, 3)),
    "pixel unshuffle by function": Lambda(lambda m, x: m.a(F.pixel_unshuffle(x[:, :, 1:], 4)), a=nn.Conv2d(32, 2, 1)),
    "adaptive pooling that does not divide": nn.AdaptiveAvgPool2d((9, 5)),
    "adaptive pooling to more": nn.Sequential(nn.AdaptiveAvgPool2d((40, 33)), c(padding=1)),
    "adaptive pooling by function": Lambda(lambda m, x: F.adaptive_avg_pool2d(m.a(x), (9, 11)), a=c()),
    "reflected": Lambda(lambda m, x: m.a(F.pad(x, (1, 2, 0, 3), mode="reflect")), a=c()),
    "reflected by module": nn.Sequential(nn.ReflectionPad2d((2, 0, 1, 3)), c(stride=2)),
    "reflected by the convolution": c(5, padding=2, padding_mode="reflect"),
    "repeated": Lambda(lambda m, x: m.a(F.pad(x, (1, 2, 0, 3), mode="replicate")), a=c()),
    "repeated by module": nn.Sequential(nn.ReplicationPad2d(2), c(2, stride=2)),
    "repeated by the convolution": c(5, padding="same", padding_mode="replicate", dilation=2),
    "more repeated than seen": c(2, padding=4, padding_mode="replicate"),
    "cropped afterwards": Lambda(lambda m, x: m.a(F.pad(F.interpolate(x, scale_factor=2), (-3, 0, 0, -4))), a=c()),
    "sliced after upsampling": Lambda(lambda m, x: m.a(F.interpolate(x, scale_factor=3)[:, :, 5::2, :-4]), a=c()),
    "skip at half the size": unet(c(stride=2, padding=1)),
    "skip at a size that does not divide": unet(c(5, stride=3), mode="bilinear", align_corners=False),
    "skip with corners aligned": unet(c(stride=2, padding=1), mode="bilinear", align_corners=True),
    "two sizes deep": unet(nn.Sequential(nn.AvgPool2d(2), unet(c(2, stride=2)), c(padding=1))),
    "channels last after upsampling": Lambda(
        lambda m, x: m.a(F.interpolate(x, scale_factor=2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), a=nn.Linear(2, 2)
    ),
    "shuffled channels after upsampling": nn.Sequential(nn.Upsample(scale_factor=2), nn.ChannelShuffle(2), c()),
    "strides that differ, joined": Lambda(
        lambda m, x: m.a(x)[:, :, :12, :12] + m.b(x)[:, :, 1:13, 1:13], a=c(stride=2), b=c(padding=1)
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")
@pytest.mark.parametrize("name", KINDS)
def test_the_field_is_the_tightest_that_holds_every_position(name):
    for axis, offsets in axes_and_offsets(KINDS[name]):
        low, high = min(first for _, first, _ in offsets), max(last for *_, last in offsets)
        assert low - ROUNDING <= axis.low <= low + 1e-9, name
        assert high - 1e-9 <= axis.high <= high + ROUNDING, name


def random_layer(draw: random.Random):
    """One layer of a random network."""
    kernel, stride = draw.choice([1, 2, 3, 5]), draw.choice([1, 2, 3])
    aligned, scale = draw.choice([True, False]), draw.choice([0.7, 1.5, 2, 3])
    kinds = [
        lambda: c(kernel, stride=draw.choice([1, 2]), padding=(kernel - 1) // 2),
        lambda: c(padding=1, padding_mode=draw.choice(["reflect", "replicate"])),
        lambda: nn.AvgPool2d(draw.choice([2, 3]), 2),
        lambda: up(stride + draw.choice([0, 1, 2]), stride=stride, padding=draw.choice([0, 1])),
        lambda: nn.Upsample(scale_factor=scale, mode=draw.choice(["nearest", "nearest-exact", "bicubic", "area"])),
        lambda: nn.Upsample(scale_factor=scale, mode="bilinear", align_corners=aligned),
        lambda: resized(size=(17, 19), mode="bilinear", antialias=True),
        lambda: nn.Sequential(nn.Conv2d(2, 8, 1), nn.PixelShuffle(2)),
        lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(8, 2, 1)),
        lambda: nn.AdaptiveAvgPool2d((draw.choice([5, 9, 12]), draw.choice([5, 11]))),
        lambda: nn.ReflectionPad2d((1, 2, 0, 1)),
        lambda: nn.ReplicationPad2d(1),
        lambda: Lambda(lambda m, x: x[:, :, 1::2, :-1]),
        lambda: unet(c(stride=2, padding=1), mode=draw.choice(["nearest", "bicubic"])),
    ]
    return draw.choice(kinds)()


def random_network(seed):
    """Up to five layers that fit on each other, with maps of at most 100 rows and columns."""
    draw, image = random.Random(seed), torch.rand(1, 2, SIDE, WIDTH)
    layers: list[nn.Module] = []
    for _ in range(draw.randrange(2, 6)):
        layer = random_layer(draw)
        try:
            maps = layer(image)
        except RuntimeError:  # the map is too small for it
            continue
        if min(maps.shape[2:]) > 1 and max(maps.shape[2:]) <= 100:
            layers, image = [*layers, layer], maps.detach()
    return nn.Sequential(*layers)


@pytest.mark.parametrize("seed", range(60))
def test_the_field_holds_every_position_of_a_random_network_and_little_more(seed):
    for axis, offsets in axes_and_offsets(random_network(seed)):
        assert all(axis.low <= first + 1e-9 and last - 1e-9 <= axis.high for _, first, last in offsets)
        inside = [q for q, first, last in offsets if first + q * axis.stride > 0]
        slack = max(1.0, axis.stride)
        if inside:
            low, high = min(first for _, first, _ in offsets), max(last for *_, last in offsets)
            assert axis.low >= low - slack
            assert axis.high <= high + slack


def test_boxes_lose_no_pixel_to_rounding():
    # 29 -> 50 rows: a stride of 0.58, which no binary fraction equals
    ((rows, offsets), _) = axes_and_offsets(resized(size=(50, 50)))
    for position, first, last in offsets:
        start = position * rows.stride
        assert math.floor(start + rows.low) <= round(first + start)
        assert math.floor(start + rows.low + rows.field) - 1 >= round(last + start)


def test_a_map_of_padding_alone_has_a_field():
    module = Lambda(lambda m, x: F.pad(F.interpolate(x, scale_factor=2), (0, 0, 70, 0))[:, :, :60])
    rows, _ = field_of(module, torch.rand(1, 2, SIDE, WIDTH))
    assert rows == Axis(0.5, varies=True)


def test_a_rule_that_does_not_understand_its_arguments_gives_the_whole_image(monkeypatch):
    def confused(*_):
        raise TypeError("unknown arguments")

    monkeypatch.setattr("polyscan.vision.fields.walk.slid", confused)
    assert field_of(c(), torch.rand(1, 2, SIDE, WIDTH)) is None
