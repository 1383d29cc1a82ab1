"""Statistics of batch norms: equal to those of their inputs, and nothing else is changed."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from polyscan.vision.norms import set_norm_statistics


def test_each_norm_gets_the_mean_over_batches_of_what_it_reads() -> None:
    torch.manual_seed(0)
    first, second = nn.BatchNorm2d(4), nn.BatchNorm1d(5)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), first, nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.Dropout(0.5), second
    )
    module.eval()
    weights = {name: value.clone() for name, value in module.state_dict().items() if "running" not in name}
    batches = [torch.randn(16, 3, 6, 6) * scale for scale in (1.0, 3.0)]
    assert set_norm_statistics(module, iter(batches)) == 2
    with torch.no_grad():
        maps = [module[0](batch) for batch in batches]
        mean = torch.stack([one.mean(dim=(0, 2, 3)) for one in maps]).mean(0)
        variance = torch.stack([one.var(dim=(0, 2, 3)) for one in maps]).mean(0)
        torch.testing.assert_close(first.running_mean, mean)
        torch.testing.assert_close(first.running_var, variance)
        # The second norm reads what the first gives with the statistics of the batch; dropout drops nothing.
        normed = [
            (one - one.mean((0, 2, 3), keepdim=True)) / (one.var((0, 2, 3), unbiased=False, keepdim=True) + 1e-5).sqrt()
            for one in maps
        ]
        read = [module[4](one.relu().flatten(1)) for one in normed]
        torch.testing.assert_close(second.running_mean, torch.stack([one.mean(0) for one in read]).mean(0))
    assert not any(part.training for part in module.modules())
    assert (first.momentum, second.momentum) == (0.1, 0.1)
    counted = ("num_batches_tracked",)
    for name, value in weights.items():
        assert name.endswith(counted) or torch.equal(module.state_dict()[name], value)


def test_a_network_without_norms_reads_no_image() -> None:
    def refuse() -> Iterator[torch.Tensor]:
        raise AssertionError("an image was read")
        yield

    norm = nn.BatchNorm2d(3, track_running_stats=False)
    assert set_norm_statistics(nn.Sequential(nn.Conv2d(3, 3, 1), norm), refuse()) == 0
