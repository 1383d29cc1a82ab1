"""When a unit has enough visualizations: the mean pairwise perceptual distance stops changing.

Published rule: make images one after another and stop at the first I >= 3 with |m_I - m_(I-1)| < 0.02, m_I the mean
pairwise LPIPS of I images (Alic et al. 2025). It may stop at 3 by chance, so the default needs it for two consecutive
images, and at least 6 images.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from polyscan.vision.perceptual import MeanPairwise


@dataclass(frozen=True)
class ElbowSettings:
    """The rule: threshold on |m_I - m_(I-1)|, number of consecutive times, and the bounds on I."""

    threshold: float = 0.02
    patience: int = 2
    min_images: int = 6
    max_images: int = 32


@dataclass
class Elbow:
    """The state of one unit until its elbow; images are added by index, and those after the stop are not counted."""

    settings: ElbowSettings
    means: list[float] = field(default_factory=list[float])
    stop: str = ""
    _pairs: MeanPairwise = field(default_factory=MeanPairwise)
    _n_small: int = 0

    @property
    def n_counted(self) -> int:
        """I, the number of images so far."""
        return len(self.means)

    def add(self, features: Float[Tensor, " d"]) -> None:
        """Counts the next image, unless the unit has stopped."""
        if self.stop:
            return
        self.means.append(self._pairs.add(features))
        if self.n_counted >= 3:
            is_small = abs(self.means[-1] - self.means[-2]) < self.settings.threshold
            self._n_small = self._n_small + 1 if is_small else 0
        if self._n_small >= self.settings.patience and self.n_counted >= self.settings.min_images:
            self.stop = "elbow"
        elif self.n_counted >= self.settings.max_images:
            self.stop = "max_images"
