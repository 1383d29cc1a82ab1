"""Where units are read: behind the norm, before the ReLU, each call once, and nothing behind the deepest."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from polyscan.errors import ModelError
from polyscan.vision.readouts import Reader
from polyscan.vision.readouts.layouts import Layout


def values(reader, batch):
    """Each read point's maps by layer, copied while the pass stands there."""
    seen = {}
    reader.read(batch, lambda index, maps: seen.__setitem__(reader.points[index].layer, maps.clone()))
    return seen


def conv(weights, bias=None):
    """A 1x1 convolution with these weights [u][c]."""
    tensor = torch.tensor(weights, dtype=torch.float32)
    layer = nn.Conv2d(tensor.shape[1], tensor.shape[0], 1, bias=bias is not None)
    layer.weight.data = tensor[:, :, None, None]
    if bias is not None:
        layer.bias.data = torch.tensor(bias, dtype=torch.float32)
    return layer


def norm(scale, shift):
    """A batch norm that multiplies and adds, its statistics those of the identity."""
    layer = nn.BatchNorm2d(len(scale), eps=0.0)
    layer.weight.data, layer.bias.data = torch.tensor(scale), torch.tensor(shift)
    return layer


class Residual(nn.Module):
    """relu(x + norm(conv(x))), all in place."""

    def __init__(self, relu):
        super().__init__()
        self.conv = conv([[-2.0, 0.0], [0.0, 3.0]])
        self.norm = norm([1.0, -1.0], [0.0, 0.5])
        self.relu = relu

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += x
        return self.relu(out)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = conv([[2.0]], [1.0])
        self.head = nn.Linear(1, 1)

    def forward(self, x):
        return self.head(self.shared(self.shared(x)).mean(dim=(2, 3)))


def test_a_negative_norm_scale_flips_the_order(network_of):
    module = nn.Sequential(conv([[1.0]]), norm([-3.0], [0.25]), nn.ReLU(inplace=True))
    reader = Reader(network_of(module, side=4, channels=1), "all")
    batch = torch.arange(16.0).view(1, 1, 4, 4)
    torch.testing.assert_close(values(reader, batch)["0"], 0.25 - 3 * batch, rtol=0, atol=0)
    (point,) = reader.points
    assert (point.readout, point.relu_follows, point.n_channels) == ("after batch norm 1", True, 1)
    assert point.map_size == (4, 4)
    assert point.field[0].field == 1


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True)])
def test_in_place_relus_do_not_spoil_what_was_seen(network_of, noise, relu):
    module = nn.Sequential(conv([[5.0], [-5.0]]), relu, conv([[1.0, 1.0]]))
    reader = Reader(network_of(module, side=8, channels=1), "all")
    batch = 3 * noise(4, 1, 8, 8)
    seen = values(reader, batch)
    torch.testing.assert_close(seen["0"], torch.cat([5 * batch, -5 * batch], dim=1))
    assert seen["0"].min() < -6
    assert seen["0"].max() > 6
    torch.testing.assert_close(seen["2"], relu(torch.cat([5 * batch, -5 * batch], dim=1)).sum(dim=1, keepdim=True))


@pytest.mark.parametrize("relu", [nn.ReLU(inplace=True), nn.ReLU6(inplace=True)])
def test_a_block_is_read_behind_its_addition_before_its_last_relu(network_of, noise, relu):
    module = nn.Sequential(Residual(relu), Residual(nn.ReLU(inplace=True)))
    reader = Reader(network_of(module, side=4, channels=2), ["blocks", "all"])
    batch = 4 * noise(3, 2, 4, 4)
    seen = values(reader, batch)
    first_conv = torch.stack([-2 * batch[:, 0], 0.5 - 3 * batch[:, 1]], dim=1)
    first = first_conv + batch
    # The place behind the norm is overwritten by the addition, the addition by the ReLU; neither may show.
    torch.testing.assert_close(seen["0.conv"], first_conv)
    torch.testing.assert_close(seen["0"], first)
    clipped = relu(first.clone())
    torch.testing.assert_close(seen["1"], torch.stack([-clipped[:, 0], 0.5 - 2 * clipped[:, 1]], dim=1))
    assert [p.layer for p in reader.points] == ["0.conv", "0", "1.conv", "1"]
    assert [p.depth for p in reader.points] == [0, 1, 2, 3]
    blocks = {p.layer: p for p in reader.points}
    assert blocks["0"].readout == "block, before its last ReLU"
    assert blocks["0"].relu_follows
    assert blocks["0.conv"].relu_follows is False  # an addition follows


def test_a_shared_module_is_two_layers(network_of, noise):
    reader = Reader(network_of(Twice(), side=4, channels=1), "all")
    batch = noise(2, 1, 4, 4)
    seen = values(reader, batch)
    assert list(seen) == ["shared", "shared#2", "head"]
    torch.testing.assert_close(seen["shared"], 2 * batch + 1)
    torch.testing.assert_close(seen["shared#2"], 4 * batch + 3)


def test_linear_layers_have_one_position(network_of, noise):
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.BatchNorm1d(5), nn.ReLU(inplace=True), nn.Linear(5, 3))
    module[2].running_mean.fill_(0.3)
    reader = Reader(network_of(module, side=4), "all")
    batch = noise(6, 3, 4, 4)
    seen = values(reader, batch)
    with torch.inference_mode():
        torch.testing.assert_close(seen["1"], module[:3](batch)[:, :, None, None])
        torch.testing.assert_close(seen["4"], module(batch)[:, :, None, None])
    assert [(p.n_channels, p.map_size, p.field) for p in reader.points] == [(5, (1, 1), None), (3, (1, 1), None)]


def test_a_linear_layer_on_maps_has_channels_last(network_of, noise):
    class Permuted(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(3, 7)

        def forward(self, x):
            return self.mix(x.permute(0, 2, 3, 1))

    module = Permuted()
    reader = Reader(network_of(module, side=5), "all")
    batch = noise(2, 3, 5, 5)
    with torch.inference_mode():
        torch.testing.assert_close(values(reader, batch)["mix"], module(batch).permute(0, 3, 1, 2))
    (point,) = reader.points
    assert (point.n_channels, point.map_size, point.field[0].field) == (7, (5, 5), 1)


def test_units_that_never_exceed_zero_keep_their_values(network_of, noise):
    module = nn.Sequential(conv([[1.0]], [-100.0]), nn.ReLU(inplace=True), conv([[1.0]]))
    reader = Reader(network_of(module, side=4, channels=1), "all")
    batch = noise(5, 1, 4, 4)
    seen = values(reader, batch)
    torch.testing.assert_close(seen["0"], batch - 100)
    assert seen["0"].max() < 0
    assert not seen["2"].any()


def test_tokens_are_columns():
    tokens = torch.arange(24.0).view(2, 3, 4)  # [b, token, c]
    maps = Layout(channels=2).maps(tokens)
    assert maps.shape == (2, 4, 3, 1)
    assert maps[1, 2, 1, 0] == tokens[1, 1, 2]


def test_tokens_of_a_network(network_of, noise):
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, 6, 4, 4)
            self.mix = nn.Linear(6, 5)

        def forward(self, x):
            return self.mix(self.patch(x).flatten(2).transpose(1, 2))

    module = Tokens()
    reader = Reader(network_of(module, side=8), "all")
    batch = noise(2, 3, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(values(reader, batch)["mix"][..., 0], module(batch).transpose(1, 2))
    assert reader.points[1].map_size == (4, 1)
    assert reader.points[1].field is None


def test_the_pass_ends_at_the_deepest_read_layer(network_of, noise):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 2, 3))
    network = network_of(module, side=12)
    reader = Reader(network, ["0", "2"])

    def refuse(*_):
        raise AssertionError("the last convolution was called")

    module[3].register_forward_pre_hook(refuse)
    assert set(values(reader, noise(1, 3, 12, 12))) == {"0", "2"}
    assert reader.trunk(reader.points[1])(noise(1, 3, 12, 12)).shape == (1, 4, 8, 8)
    with pytest.raises(AssertionError, match="last convolution"):
        network.module(noise(1, 3, 12, 12))


def test_branches_beside_the_way_are_not_computed(network_of, noise):
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)

        def forward(self, x):
            return torch.cat([torch.relu_(self.left(x)), self.right(x)], dim=1)

    module = Branches()
    reader = Reader(network_of(module), "right")
    module.left.register_forward_pre_hook(lambda *_: pytest.fail("the left branch was computed"))
    assert list(values(reader, noise(1, 3, 16, 16))) == ["right"]
    reader.trunk(reader.points[0])(noise(1, 3, 16, 16))


def test_an_in_place_operation_whose_result_nobody_names_still_counts(network_of, noise):
    class Statement(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.relu, self.second = nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            x = self.first(x)
            self.relu(x)
            return self.second(x)

    module = Statement()
    reader = Reader(network_of(module), "all")
    batch = noise(2, 3, 16, 16)
    with torch.inference_mode():
        expected, raw = module(batch), module.first(batch)
    assert reader.is_traced
    seen = values(reader, batch)
    torch.testing.assert_close(seen["second"], expected)
    torch.testing.assert_close(seen["first"], raw)
    torch.testing.assert_close(reader.trunk(reader.points[1])(batch), expected)


def test_trunks_give_the_reader_values_and_pass_gradients(network_of, noise):
    module = nn.Sequential(Residual(nn.ReLU(inplace=True)), conv([[1.0, -1.0]]), nn.ReLU6(inplace=True))
    reader = Reader(network_of(module, side=6, channels=2), ["all", "blocks"])
    batch = noise(2, 2, 6, 6)
    seen = values(reader, batch)
    assert set(seen) == {"0", "0.conv", "1"}
    for point in reader.points:
        leaf = batch.clone().requires_grad_()
        maps = reader.trunk(point)(leaf)
        assert torch.equal(maps.detach(), seen[point.layer]), point.layer
        (gradient,) = torch.autograd.grad(maps.sum(), leaf)
        assert gradient.abs().sum() > 0


def test_a_dead_start_still_has_a_gradient(network_of):
    reader = Reader(network_of(nn.Sequential(conv([[1.0]], [-9.0]), nn.ReLU(inplace=True)), side=6, channels=1), "all")
    leaf = torch.zeros(1, 1, 6, 6, requires_grad=True)
    maps = reader.trunk(reader.points[0])(leaf)
    (gradient,) = torch.autograd.grad(maps.sum(), leaf)
    assert maps.max() == -9
    assert torch.equal(gradient, torch.ones(1, 1, 6, 6))


def test_nothing_is_left_on_the_network(network_of, noise):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    before = list(module.state_dict())
    reader = Reader(network_of(module), "all")

    def stop(*_):
        raise KeyError("the sink's own error")

    with pytest.raises(KeyError, match="own error"):
        reader.read(noise(1, 3, 16, 16), stop)
    assert list(module.state_dict()) == before
    assert all(tap.sink is None for tap in reader._taps)  # or what it caught would live on
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert values(reader, noise(1, 3, 16, 16))["0"].shape == (1, 4, 14, 14)  # and reads on


def test_a_wrong_name_is_answered_with_the_nearest(network_of):
    module = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 3), "stage": nn.Conv2d(4, 4, 3)})
    network = network_of(nn.Sequential(module["stem"], module["stage"]), name="small")
    with pytest.raises(ModelError, match=r'small has no layer "11"; nearest: 1\. `polyscan units --all`'):
        Reader(network, "11")
    with pytest.raises(ModelError, match=r'no layer "convolution"; there are: 0, 1\. '):
        Reader(network, ["0", "convolution"])
    with pytest.raises(ModelError, match="small has no blocks"):
        Reader(network, "blocks")
    with pytest.raises(ModelError, match="`layers` is empty; small has 2 layers"):
        Reader(network, [])


def test_globs_and_lists(network_of):
    module = nn.Sequential(Residual(nn.ReLU()), Residual(nn.ReLU()), conv([[1.0, 1.0]]))
    network = network_of(module, channels=2)
    assert [p.layer for p in Reader(network, "*.conv").points] == ["0.conv", "1.conv"]
    assert [p.layer for p in Reader(network, ["2", "0*"]).points] == ["0.conv", "0", "2"]
    assert [p.layer for p in Reader(network, "blocks").points] == ["0", "1"]


def test_a_place_with_two_names_is_one_layer(network_of):
    class Block(nn.Sequential):
        pass

    module = nn.Sequential(Block(conv([[1.0]]), norm([1.0], [0.0]), nn.ReLU6()), Block(conv([[1.0]]), nn.ReLU6()))
    network = network_of(module, channels=1)
    both = Reader(network, ["all", "blocks"])
    assert [p.layer for p in both.points] == ["0.0", "1.0"]
    assert [p.layer for p in Reader(network, "blocks").points] == ["0", "1"]


def test_a_network_that_does_not_take_its_input_says_so(network_of):
    with pytest.raises(ModelError, match=r"does not take images of shape \(3, 16, 16\).*`input_px`"):
        Reader(network_of(nn.Sequential(nn.Flatten(), nn.Linear(10, 2))), "all")


@pytest.mark.parametrize("name", ["a@b", "c#2"])
def test_a_modules_name_that_would_read_as_another_one_is_refused(network_of, name):
    """`c#2` is the second call of `c`, `a@b` other units of `a`."""
    module = nn.Sequential()
    module.add_module(name, conv([[1.0]]))
    with pytest.raises(ModelError, match=f'has a module named "{name}".*Give it a name without them'):
        Reader(network_of(module, channels=1), "all")


# ---- layers of other kinds, and other modules ------------------------------------------------------------------------


class Kernels(nn.Module):
    """Convolutions whose kernels are its own, one of them made of a parameter, and one that is a fixed buffer."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.raw = nn.Parameter(torch.randn(5, 4, 1, 1))
        self.register_buffer("blur", torch.ones(5, 1, 3, 3) / 9)
        self.mix = nn.Parameter(torch.randn(2, 5))

    def forward(self, x):
        x = nn.functional.conv2d(x, self.kernel)
        x = nn.functional.conv2d(x, self.raw / self.raw.norm())
        x = nn.functional.conv2d(x, self.blur, groups=5)
        return nn.functional.linear(x.mean((2, 3)), self.mix)


def test_parameters_used_as_kernels_are_layers(network_of, noise):
    module = Kernels()
    reader = Reader(network_of(module), "all")
    assert [(p.layer, p.n_channels, p.map_size) for p in reader.points] == [
        ("kernel", 4, (14, 14)),
        ("raw", 5, (14, 14)),
        ("mix", 2, (1, 1)),
    ]
    batch = noise(2, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(values(reader, batch)["kernel"], nn.functional.conv2d(batch, module.kernel))
        torch.testing.assert_close(values(reader, batch)["mix"][:, :, 0, 0], module(batch))


class Sequences(nn.Module):
    """Convolutions along one axis, and in three."""

    def __init__(self):
        super().__init__()
        self.line = nn.Conv1d(3, 4, 3)
        self.solid = nn.Conv3d(1, 5, 2)

    def forward(self, x):
        return self.line(x.flatten(2)).mean(2), self.solid(x[:, None])


def test_convolutions_of_one_and_three_axes(network_of, noise):
    module = Sequences()
    reader = Reader(network_of(module, side=6), "all")
    assert [(p.layer, p.n_channels, p.map_size) for p in reader.points] == [("line", 4, (34, 1)), ("solid", 5, (10, 5))]
    batch = noise(3, 3, 6, 6)
    seen = values(reader, batch)
    with torch.inference_mode():
        torch.testing.assert_close(seen["line"][..., 0], module.line(batch.flatten(2)))
        torch.testing.assert_close(seen["solid"].flatten(2), module.solid(batch[:, None]).flatten(2))


def test_any_module_can_be_read_by_its_name(network_of, noise):
    module = nn.Sequential(conv([[1.0], [-1.0]]), nn.ReLU(), nn.Sequential(nn.Softmax(dim=1), nn.Dropout()))
    network = network_of(module, side=4, channels=1)
    reader = Reader(network, ["1", "2", "2.0"])
    assert [(p.layer, p.readout) for p in reader.points] == [(name, "module output") for name in ("1", "2.0", "2")]
    batch = noise(2, 1, 4, 4)
    torch.testing.assert_close(values(reader, batch)["1"], module[:2](batch))
    torch.testing.assert_close(values(reader, batch)["2"], module(batch))
    assert [p.layer for p in Reader(network, "2.0").points] == ["2.0"]
    assert [p.layer for p in Reader(network, "all").points] == ["0"]


def test_a_block_with_channels_last_is_read_along_them(network_of, noise):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm, self.mix = nn.Conv2d(3, 3, 1), nn.LayerNorm(3), nn.Linear(3, 7)

        def forward(self, x):
            return self.mix(self.norm(self.conv(x).permute(0, 2, 3, 1)))

    module = nn.Sequential(Block())
    reader = Reader(network_of(module, side=5), ["blocks", "all"])
    points = {p.layer: (p.n_channels, p.readout) for p in reader.points}
    assert points == {"0.conv": (3, "after layer norm 0.norm"), "0.mix": (7, "own output")}
    (block,) = Reader(network_of(module, side=5), "blocks").points
    assert (block.n_channels, block.map_size) == (7, (5, 5))
    batch = noise(2, 3, 5, 5)
    with torch.inference_mode():
        torch.testing.assert_close(values(reader, batch)["0.mix"], module(batch).permute(0, 3, 1, 2))


def test_a_layer_without_a_row_per_image_is_left_out_with_its_reason(network_of):
    class Weights(nn.Module):
        """Makes its kernel from a code that is no image."""

        def __init__(self):
            super().__init__()
            self.code, self.make = nn.Parameter(torch.randn(4, 2)), nn.Linear(2, 3)
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x):
            return nn.functional.conv2d(self.conv(x), self.make(self.code).T[:, :, None, None])

    network = network_of(Weights())
    reader = Reader(network, "all")
    assert "make" in reader.left_out
    assert "conv" in {p.layer for p in reader.points}
    with pytest.raises(
        ModelError, match='layer "make" of toy can\'t be read: its output is not divided among the images'
    ):
        Reader(network, "make")


def test_further_arguments_have_their_defaults(network_of):
    class Optional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x, mask=None, *, features_only=False):
            x = self.conv(x)
            if mask is not None:
                x = x * mask
            return x if features_only else x.mean((2, 3))

    reader = Reader(network_of(Optional()), "all")
    assert reader.is_traced, reader.untraced_because


def test_a_network_that_needs_more_than_images_says_what(network_of):
    class Two(nn.Module):
        def forward(self, x, meta, *, scale):
            return x * meta * scale

    with pytest.raises(ModelError, match=r"its forward needs 3 arguments \(x, meta, scale\): wrap it"):
        Reader(network_of(Two()), "all")


# ---- scales and signs ------------------------------------------------------------------------------------------------


class Scaled(nn.Module):
    """A convolution, something linear for each channel, a ReLU and another convolution."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.last, self.norm, self.function = (
            nn.Conv2d(3, 8, 3),
            nn.Conv2d(8, 2, 1),
            nn.LayerNorm(8),
            function,
        )
        self.gamma = nn.Parameter(torch.randn(1, 8, 1, 1))
        self.register_buffer("one", torch.tensor(1.0))
        nn.init.normal_(self.norm.weight)

    def forward(self, x):
        return self.last(torch.relu(self.function(self, self.conv(x))))


def as_statement(net, y):
    y.mul_(net.gamma)
    return y


READ_AFTER = {
    "a product": lambda net, y: y * net.gamma,
    "multiply": lambda net, y: torch.multiply(y, net.gamma),
    "in place": lambda net, y: y.mul_(net.gamma),
    "a statement": as_statement,
    "a copy": lambda net, y: y.clone() * net.gamma,
    "a quotient": lambda net, y: y / net.gamma,
    "a frozen norm": lambda net, y: (y - net.gamma) * net.gamma,
    "one minus": lambda net, y: 1 - y,
    "a buffer minus": lambda net, y: net.one - y,
    "sub": lambda net, y: net.one.sub(y),
    "rsub": lambda net, y: torch.rsub(y, 1),
    "alpha": lambda net, y: torch.add(net.one, y, alpha=-1),
    "minus": lambda net, y: -y,
    "negative": lambda net, y: torch.negative(y),
    "times minus two": lambda net, y: y * -2,
    "permute": lambda net, y: net.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "movedim": lambda net, y: net.norm(y.movedim(1, -1)).movedim(-1, 1),
}
READ_BEFORE = {
    "a summand": lambda net, y: y + 1,
    "a positive factor": lambda net, y: y * 2,
    "rows and columns exchanged": lambda net, y: net.norm(y.transpose(1, 3)).transpose(1, 3),
    "two readers": lambda net, y: y * net.gamma + y,
    "places": lambda net, y: y * torch.ones(1, 1, 14, 14),
}


@pytest.mark.parametrize(("form", "is_after"), [*((f, True) for f in READ_AFTER), *((f, False) for f in READ_BEFORE)])
def test_what_can_turn_a_unit_upside_down_is_part_of_its_signal(network_of, noise, form, is_after):
    torch.manual_seed(0)
    function = {**READ_AFTER, **READ_BEFORE}[form]
    module = Scaled(function)
    reader = Reader(network_of(module), "conv")
    batch = noise(3, 3, 16, 16)
    with torch.no_grad():
        own = module.conv(batch)
        expected = function(module, own.clone()) if is_after else own
    assert reader.is_traced, reader.untraced_because
    torch.testing.assert_close(values(reader, batch)["conv"], expected)
