"""Split channels: A + B - R is the channel, in any network, and the file of splits brings the same network back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import toy
from torch import Tensor, nn

from polyscan.errors import ModelError
from polyscan.vision.split_layers import SplitLayer, load_splits, save_splits, split_network, with_splits


def sharing(n: int, seed: int = 0) -> Tensor:
    return torch.randint(1, 4, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(6, 4, 1), (3, 6, 5, 5)),
        (nn.Conv2d(6, 4, 1, stride=2, bias=False), (3, 6, 5, 5)),
        (nn.Linear(6, 4), (3, 6)),
        (nn.Linear(6, 4, bias=False), (3, 6)),
    ],
)
def test_a_split_layer_is_the_layer(layer: nn.Module, shape: tuple[int, ...]) -> None:
    split = SplitLayer(layer, {1: sharing(6), 3: sharing(6, 1)})
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(split(inputs), layer(inputs), atol=1e-6)
        parts = split.parts(inputs)
    assert parts.shape[1] == 4 + 2 * 2
    # A holds the first part's inputs and those of both, B the second's, R those of both.
    rows = split.parts.get_parameter("weight").flatten(1)
    kept = [rows[place] != 0 for place in (1, 4, 5)]
    assert [
        (one == torch.isin(sharing(6), torch.tensor(which))).all().item()
        for one, which in zip(kept, ([1, 3], [2, 3], [3]), strict=True)
    ] == [True] * 3


def test_a_split_network_keeps_its_outputs_saved_and_loaded(tmp_path: Path) -> None:
    splits = {"paint": {1: sharing(3)}, "head": {0: sharing(4), 2: sharing(4, 1)}}
    save_splits(tmp_path / "splits.safetensors", splits)
    original = toy.network().eval()
    loaded = split_network(
        "toy:network", str(tmp_path / "splits.safetensors"), folder=str(Path(toy.__file__).parent), input_px=toy.SIDE
    )
    inputs = torch.rand(4, 3, toy.SIDE, toy.SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(loaded(inputs), original(inputs), atol=1e-5)
    assert {name for name, _ in loaded.named_modules()} >= {"paint.parts", "paint.merge", "head.parts"}
    for layer, channels in splits.items():
        for channel, which in channels.items():
            assert torch.equal(load_splits(str(tmp_path / "splits.safetensors"))[layer][channel].long(), which)


def test_what_cannot_be_split_is_said(tmp_path: Path) -> None:
    network = toy.network()
    with pytest.raises(ModelError, match="a Conv2d can't be split; allowed: linear layers, 1 x 1 convolutions"):
        with_splits(copy.deepcopy(network), {"mix": {0: sharing(5)}})
    with pytest.raises(ModelError, match=r'no layer "piant" to split; nearest: paint'):
        with_splits(copy.deepcopy(network), {"piant": {0: sharing(3)}})
    with pytest.raises(ModelError, match=r"channel 9 with 3 inputs; the layer has 5 channels of 3 inputs"):
        with_splits(copy.deepcopy(network), {"paint": {9: sharing(3)}})
    with pytest.raises(ModelError, match=r"channel 1 with 4 inputs"):
        with_splits(copy.deepcopy(network), {"paint": {1: sharing(4)}})
    (tmp_path / "text.safetensors").write_text("no splits")
    with pytest.raises(ModelError, match="the splits can't be read from"):
        load_splits(str(tmp_path / "text.safetensors"))
    save_splits(tmp_path / "bad.safetensors", {"paint": {1: torch.tensor([1, 2, 7])}})
    with pytest.raises(ModelError, match="`paint:1` that is no split"):
        load_splits(str(tmp_path / "bad.safetensors"))
