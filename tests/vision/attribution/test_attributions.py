"""Attribution against finite differences, against zennit used directly, and against the sum that must come out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from vision.attribution.small_networks import Branching, Gates, Odd, Overwriting, Residual, seeded
from zennit.composites import EpsilonPlus, LayerMapComposite
from zennit.layer import Sum
from zennit.rules import Epsilon, Gamma, Norm, Pass, ZPlus
from zennit.torchvision import ResNetCanonizer
from zennit.types import Activation, BatchNorm, Convolution

from polyscan.errors import ModelError
from polyscan.vision.attribution import COMPOSITES, Attributions, Attributor, attributions, rules
from polyscan.vision.attribution.rules import stabilised
from polyscan.vision.networks import Network, NetworkRequest, load_network
from polyscan.vision.readouts import Directions, Largest, Reader

NetworkOf = Callable[..., Network]
N = 6


@pytest.fixture
def images() -> Tensor:
    return torch.randn(N, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def double() -> Iterator[None]:
    """Everything in float64, so that rounding hides nothing."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def at(n_units: int, size: int = 16) -> tuple[Tensor, Tensor]:
    """Units and places for each image, no two alike."""
    units = torch.arange(N) % n_units
    return units, torch.stack([torch.arange(N) * 2 % size, torch.arange(N) * 3 % size], dim=1)


def of_reader(reader: Reader, images: Tensor, of: str, to: str, how: str = "lrp", **options: str) -> Attributions:
    point = next(point for point in reader.points if point.layer == of)
    return Attributor(reader, of, to, how=how, **options)(images, *at(point.n_channels, point.map_size[0]))  # type: ignore[arg-type]


def relative(attributed: Attributions) -> float:
    return float((attributed.error.abs() / attributed.value.abs()).max())


@pytest.mark.parametrize("kind", [Residual, Gates, Overwriting])
def test_the_value_is_what_the_reader_reads(network_of: NetworkOf, images: Tensor, kind: type[nn.Module]) -> None:
    reader = Reader(network_of(seeded(kind)), "all")
    maps: dict[str, Tensor] = {}
    reader.read(images, lambda index, read: maps.__setitem__(reader.points[index].layer, read.clone()))
    of = reader.points[-1].layer
    units, places = at(reader.points[-1].n_channels, reader.points[-1].map_size[0])
    found = of_reader(reader, images, of, "stem")
    wanted = maps[of][torch.arange(N), units, places[:, 0], places[:, 1]]
    assert torch.allclose(found.value, wanted, atol=1e-5)


@pytest.mark.parametrize("kind", [Residual, Gates, Overwriting])
def test_gradients_are_finite_differences(network_of: NetworkOf, images: Tensor, kind: type[nn.Module]) -> None:
    """The derivative of the value where all of one channel is scaled is the sum of gradient x activation."""
    network = network_of(seeded(kind).double())
    reader = Reader(Network(network.name, network.module.float(), network.preprocessing, network.device), "all")
    last = reader.points[-1]
    attributor = Attributor(reader, last.layer, "stem", how="gradient")
    attributor.passage.graph_module.double()
    units, places = at(last.n_channels, last.map_size[0])
    found = attributor(images.double(), units, places)
    step = 1e-6
    for channel in range(attributor.n_channels):
        ends = []
        for scale in (1 + step, 1 - step):
            factor = torch.ones(1, attributor.n_channels, 1, 1, dtype=torch.double)
            factor[:, channel] = scale
            top = attributor.passage.changed(images.double(), lambda value, factor=factor: value * factor)
            ends.append(last.maps(top)[torch.arange(N), units, places[:, 0], places[:, 1]])
        slope = (ends[0] - ends[1]) / (2 * step)
        assert torch.allclose(found.relevance[:, channel], slope, rtol=1e-4, atol=1e-7), channel


@pytest.mark.parametrize("composite", ["gamma", "epsilon"])
def test_without_biases_all_relevance_arrives(
    network_of: NetworkOf, images: Tensor, composite: str, double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exact but for the stabilisers, which are made small; `epsilon_plus` loses what has no positive term."""
    monkeypatch.setattr(rules, "EPSILON", 1e-13)
    reader = Reader(network_of(seeded(Residual, bias=False)), "all")
    found = of_reader(reader, images.double(), "head", "stem", composite=composite)
    assert found.beside.abs().max() == 0
    assert found.biases.abs().max() < 1e-12
    assert torch.allclose(found.relevance.sum(dim=1), found.value, rtol=1e-8)


@pytest.mark.parametrize("composite", list(COMPOSITES))
@pytest.mark.parametrize("to", ["stem", "first"])
def test_what_biases_take_and_what_passes_by_is_counted(
    network_of: NetworkOf, images: Tensor, composite: str, to: str
) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    found = of_reader(reader, images, "head", to, composite=composite)
    assert found.biases.abs().max() > 0.01
    assert (found.beside.abs().max() > 0.01) == (to == "first")
    assert relative(found) < 1e-3


def test_epsilon_is_gradient_times_activation_in_a_network_of_relus(network_of: NetworkOf, images: Tensor) -> None:
    """Source: Ancona et al. 2018, "Towards better understanding of gradient-based attribution methods", prop. 2."""
    reader = Reader(network_of(seeded(Residual)), "all")
    both = [of_reader(reader, images, "head", "stem", how, composite="epsilon") for how in ("gradient", "lrp")]
    assert torch.allclose(both[0].relevance, both[1].relevance, rtol=1e-3, atol=1e-4)


def test_gates_take_no_relevance(network_of: NetworkOf, images: Tensor) -> None:
    reader = Reader(network_of(seeded(Gates)), "all")
    assert of_reader(reader, images, "head", "squeeze").relevance.abs().max() == 0
    assert of_reader(reader, images, "head", "squeeze", "gradient").relevance.abs().max() > 1e-6
    assert relative(of_reader(reader, images, "last", "stem")) < 1e-3


ZENNITS = {
    "epsilon": Epsilon(epsilon=stabilised),
    "epsilon_plus": ZPlus(stabilizer=stabilised),
    "gamma": Gamma(stabilizer=stabilised),
}


@pytest.mark.parametrize("composite", list(COMPOSITES))
def test_lrp_is_that_of_zennit_used_directly(torch_home: Path, composite: str, double: None) -> None:
    """ResNet-18's layer4.1 down to layer4.0, by zennit's own canonizer and hooks on the network itself."""
    network = load_network(
        NetworkRequest("torchvision:resnet18", "IMAGENET1K_V1", input_px=64, resize_px=64), torch.device("cpu")
    )
    images = torch.randn(N, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    network.module.double()
    reader = Reader(network, ["layer4.1.conv2", "layer4.0.conv1", "layer4.0"])
    units, places = at(512, 2)
    attributor = Attributor(reader, "layer4.1.conv2", "layer4.0", composite=composite)
    found = attributor(images, units, places)
    module = copy.deepcopy(network.module)
    table = [(Activation, Pass()), (BatchNorm, Pass()), (Convolution, ZENNITS[composite]), (Sum, Norm(stabilised))]
    hung = LayerMapComposite([*table, *EpsilonPlus().layer_map], canonizers=[ResNetCanonizer()])
    seen: dict[str, Tensor] = {}
    with hung.context(module):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.eps = 0.0  # zennit 0.5.1 leaves it in merged norms, which then scale by 1 - 5e-6
        module.layer4[0].relu.register_forward_hook(lambda _, __, output: seen.__setitem__("lower", output))
        module.layer4[1].bn2.register_forward_hook(lambda _, __, output: seen.__setitem__("upper", output))
        module(images.clone().requires_grad_())
        upper = seen["upper"]
        start = torch.zeros_like(upper)
        here = torch.arange(N), units, places[:, 0], places[:, 1]
        start[here] = upper.detach()[here]
        (wanted,) = torch.autograd.grad(upper, seen["lower"], start)
    assert torch.allclose(found.value, upper.detach()[here], rtol=1e-9)
    total = wanted.sum(dim=(2, 3))
    assert torch.allclose(found.relevance, total, rtol=1e-6, atol=1e-9 * float(total.abs().max()))


def test_a_residual_addition_divides_in_proportion_to_its_terms(network_of: NetworkOf, images: Tensor) -> None:
    reader = Reader(network_of(seeded(Residual)), ["stem", "second", "head"])
    found = of_reader(reader, images, "head", "second", composite="epsilon")
    module = reader.network.module
    with torch.no_grad():
        x = torch.relu(module.stem(images))  # type: ignore[operator]
        second = module.second(torch.relu(module.norm(module.first(x))))  # type: ignore[operator]
        units, places = at(4)
        here = torch.arange(N), slice(None), places[:, 0], places[:, 1]
        total = (second + x)[here]
        relevance = module.head.weight[units, :, 0, 0] * torch.relu(total)  # type: ignore[union-attr,index,operator]
        wanted = relevance * second[here] / total
    assert torch.allclose(found.relevance, wanted, rtol=1e-3, atol=1e-5)
    assert torch.allclose(found.beside, (relevance - wanted).sum(dim=1), rtol=1e-3, atol=1e-4)


def test_batches_change_nothing_but_rounding(network_of: NetworkOf, images: Tensor) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    attributor = Attributor(reader, "head", "stem")
    whole, parts = (attributions(attributor, images, *at(4), batch=size).relevance for size in (N, 2))
    assert torch.allclose(whole, parts, rtol=1e-5, atol=1e-6)
    again = attributions(attributor, images, *at(4), batch=N).relevance
    assert torch.equal(whole, again)


def test_directions_and_their_maxima_are_divided_by_weight_times_activation(
    network_of: NetworkOf, images: Tensor
) -> None:
    weights = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    directions = Directions(weights, torch.tensor([0.0, 0.5, -0.5, 1.0]))
    own = {"second": {"planted": Largest(directions, 2), "axis": directions}}
    reader = Reader(network_of(seeded(Residual)), ["stem", "second"], own)
    for layer in ("second@planted", "second@axis"):
        found = of_reader(reader, images, layer, "stem")
        assert relative(found) < 1e-3
        assert found.biases.abs().max() > 0.01


def test_the_network_is_left_as_it_was(network_of: NetworkOf, images: Tensor) -> None:
    network = network_of(seeded(Residual))
    before, digest = network.module(images.clone()), network.digest
    reader = Reader(network, "all")
    of_reader(reader, images, "head", "stem")
    assert network.digest == digest
    assert torch.equal(network.module(images.clone()), before)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.module.modules())


def test_relevance_is_conserved_whatever_the_size_of_the_values(network_of: NetworkOf, images: Tensor) -> None:
    """A network without biases, on images a million times darker; and black ones, on which everything is 0."""
    reader = Reader(network_of(seeded(Residual, bias=False)), "all")
    whole, dark, black = (of_reader(reader, scale * images, "head", "stem") for scale in (1.0, 1e-6, 0.0))
    assert relative(dark) < 1e-3
    assert torch.allclose(1e6 * dark.relevance, whole.relevance, rtol=1e-3, atol=1e-5)
    assert black.relevance.abs().max() == black.value.abs().max() == 0


def test_a_unit_of_zero_has_no_relevance(network_of: NetworkOf, images: Tensor) -> None:
    network = network_of(seeded(Residual))
    network.module.head.weight.data[0] = 0  # type: ignore[union-attr,operator,index]
    network.module.head.bias.data[0] = 0  # type: ignore[union-attr,operator,index]
    reader = Reader(network, "all")
    found = Attributor(reader, "head", "stem")(images, torch.zeros(N, dtype=torch.int64), at(4)[1])
    assert found.value.abs().max() == found.relevance.abs().max() == 0


def test_what_is_not_below_is_refused(network_of: NetworkOf) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    with pytest.raises(ModelError, match=r"layer head is not below stem.*no layer is below it"):
        Attributor(reader, "stem", "head")
    with pytest.raises(ModelError, match=r"layer head is read at the same place as head.*second"):
        Attributor(reader, "head", "head")
    with pytest.raises(ModelError, match=r'no layer "frist" here; nearest: first'):
        Attributor(reader, "head", "frist")
    beside = Reader(network_of(seeded(Odd)), "all")
    with pytest.raises(ModelError, match=r"side is not below last"):
        Attributor(beside, "last", "side")


def test_what_can_not_be_followed_is_refused(network_of: NetworkOf) -> None:
    with pytest.raises(ModelError, match=r"can't be traced.*`network.trace` = true"):
        Attributor(Reader(network_of(Branching()), "all"), "last", "stem")


def test_an_operation_without_a_rule_is_named(network_of: NetworkOf, images: Tensor) -> None:
    class After(Odd):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.softmax(self.stem(x), dim=1))

    reader = Reader(network_of(After()), "all")
    with pytest.raises(ModelError, match=r'`softmax`.*how = "gradient"'):
        Attributor(reader, "last", "stem")
    assert of_reader(reader, images, "last", "stem", "gradient").relevance.abs().max() > 0


@pytest.mark.parametrize("wrong", [{"how": "shap"}, {"composite": "zplus"}])
def test_unknown_ways_are_told(network_of: NetworkOf, wrong: dict[str, str]) -> None:
    reader = Reader(network_of(seeded(Residual)), "all")
    with pytest.raises(ValueError, match=r"must be one of .*, got '(shap|zplus)'"):
        Attributor(reader, "head", "stem", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "of", "to"),
    [
        ("resnet18", "layer4.1", "layer3.1"),
        ("resnet50", "layer4.2", "layer4.0"),
        ("mobilenet_v2", "features.17", "features.14"),
    ],
)
@pytest.mark.parametrize("composite", list(COMPOSITES))
def test_relevance_is_conserved_in_real_networks(torch_home: Path, name: str, of: str, to: str, composite: str) -> None:
    """Stated tolerance: 1e-3 of the value; measured 2e-4 at most, which the stabilisers take."""
    request = NetworkRequest(f"torchvision:{name}", "IMAGENET1K_V1", input_px=64, resize_px=64)
    network = load_network(request, torch.device("cpu"))
    reader = Reader(network, [of, to])
    images = torch.randn(N, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = of_reader(reader, images, of, to, composite=composite)
    assert relative(found) < 1e-3 * max(1.0, float(1 / found.value.abs().min()))
