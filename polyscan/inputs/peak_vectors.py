"""The network's features where units peak: in a layer's own maps, or in those of a later layer."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from polyscan.vision.readouts import smoothed

Vectors = Float32[np.ndarray, "n d"]


def vectors_at(
    maps: Float[Tensor, "b c y x"],
    rows: pd.DataFrame,
    number: dict[int, int],
    unit_size: tuple[int, int],
    map_size: tuple[int, int],
) -> Vectors:
    """Vectors at positions of units' own maps of size `unit_size`, looked up in maps of size `map_size`.

    Positions next to each other in the unit's own map count as one. If both maps have the same size, the vector is the
    mean over the 3 x 3 neighbourhood; if the other map is coarser, it is the vector of the position that contains it.

    Args:
        maps: of the layer that vectors are taken from.
        rows: `image`, and `y` and `x` in the units' own map.
        number: row in `maps` of each image.
        unit_size: height and width of the units' own map.
        map_size: height and width of `maps`.
    """
    maps = smoothed(maps) if unit_size == map_size != (1, 1) else maps
    image = torch.tensor([number[int(image)] for image in rows["image"]], dtype=torch.int64, device=maps.device)
    y = torch.from_numpy(((rows["y"].to_numpy() + 0.5) * map_size[0] / unit_size[0]).astype(np.int64)).to(maps.device)
    x = torch.from_numpy(((rows["x"].to_numpy() + 0.5) * map_size[1] / unit_size[1]).astype(np.int64)).to(maps.device)
    return maps[image, :, y, x].float().cpu().numpy()
