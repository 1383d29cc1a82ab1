"""When a unit has enough visualizations: the mean pairwise perceptual distance stops moving.

Published rule: make images one after another and stop at the first I >= 3 with |m_I - m_(I-1)| < 0.02, m_I the mean
pairwise LPIPS of I images (Alic et al. 2025). It may stop at 3 by luck, so the default asks for it twice in a row and
for 6 images at least.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from polyscan.vision.perceptual import MeanPairwise


@dataclass(frozen=True)
class ElbowSettings:
    """The rule: threshold on |m_I - m_(I-1)|, how many times in a row, and the bounds on I."""

    threshold: float = 0.02
    patience: int = 2
    min_images: int = 6
    max_images: int = 32


@dataclass
class Elbow:
    """One unit's way to its elbow; images are handed in by index, and those beyond the stop are not counted."""

    settings: ElbowSettings
    means: list[float] = field(default_factory=list[float])
    stop: str = ""
    _pairs: MeanPairwise = field(default_factory=MeanPairwise)
    _calm: int = 0

    @property
    def n_counted(self) -> int:
        """I so far."""
        return len(self.means)

    def add(self, features: Float[Tensor, " d"]) -> None:
        """Counts the next image, unless the elbow is reached."""
        if self.stop:
            return
        self.means.append(self._pairs.add(features))
        if self.n_counted >= 3:
            calm = abs(self.means[-1] - self.means[-2]) < self.settings.threshold
            self._calm = self._calm + 1 if calm else 0
        if self._calm >= self.settings.patience and self.n_counted >= self.settings.min_images:
            self.stop = "elbow"
        elif self.n_counted >= self.settings.max_images:
            self.stop = "max_images"
