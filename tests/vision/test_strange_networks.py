"""Three hundred networks of strange parts: an image has the peaks that it has alone, or the network is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from vision.strange_networks import SIDE, Built, build

from polyscan.errors import ModelError
from polyscan.vision.checking import check_reading
from polyscan.vision.peaks import LayerPeakTally
from polyscan.vision.readouts import Reader

K, N_IMAGES, BATCH = 4, 10, 4
REFUSED = {
    "random": "the forward pass of toy is random: it draws random numbers.*`dropout` in",
    "by batch": "gives an image other values when other images are in its batch .*a ByBatch without running statistics",
}
CPU = torch.device("cpu")


def truth(built: Built, layer: str, images: Tensor) -> Tensor:
    """Peak of each channel on each image, by hooks, the network given one image at a time."""
    place = built.ready[layer]
    outputs: list[Tensor] = []
    module = built.network.get_submodule(place.module)
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output.detach().clone()))
    peaks = []
    with torch.no_grad():
        for image in images:
            outputs.clear()
            built.network(image[None])
            (output,) = outputs
            peaks.append(output.movedim(place.channels, 0).flatten(1).amax(1))
    handle.remove()
    return torch.stack(peaks)


def tallied(reader: Reader, images: Tensor) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each layer's strongest images and their peaks, read in padded batches as a scan reads them."""
    tallies = [LayerPeakTally(point.n_channels, k=K, layer=point.layer, device=CPU) for point in reader.points]
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        ids = torch.arange(start, start + len(batch))
        padded = torch.cat([batch, torch.zeros(BATCH - len(batch), *batch.shape[1:])])
        reader.read_peaks(padded, lambda index, peaks, ids=ids: tallies[index].add(peaks.first(len(ids)), ids))
    results = [tally.result() for tally in tallies]
    return {point.layer: (one.image, one.activation) for point, one in zip(reader.points, results, strict=True)}


@pytest.mark.parametrize("block", range(10))
def test_the_strongest_images_are_those_of_a_network_that_reads_one_image_at_a_time(network_of, noise, block) -> None:
    for seed in range(30 * block, 30 * block + 30):
        built = build(seed)
        said = f"network {seed}: {built.parts}"
        network = network_of(built.network, side=SIDE)
        images = noise(N_IMAGES, 3, SIDE, SIDE, seed=seed)
        reader = Reader(network, "all")
        if built.refused_as:
            with pytest.raises(ModelError, match=REFUSED[built.refused_as]):
                check_reading(reader, images[:2])
            continue
        check_reading(reader, images[:2])
        found = tallied(reader, images)
        assert set(found) == set(built.ready), said
        for layer, (image, activation) in found.items():
            peaks = truth(built, layer, images)
            expected = peaks.T.sort(dim=1, descending=True).values[:, :K]
            tolerance = 1e-4 * float(peaks.abs().max()) + 1e-6
            np.testing.assert_allclose(activation, expected, rtol=0, atol=tolerance, err_msg=f"{said}, {layer}")
            own = peaks.T.gather(1, torch.from_numpy(image))
            np.testing.assert_allclose(own, activation, rtol=0, atol=tolerance, err_msg=f"{said}, {layer}")
