"""What the outputs of trained networks answer to, and how strongly, measured on the scanned images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from polyscan.studies.validate.trained.design import Output


@dataclass(frozen=True)
class OutputTruth:
    """One output of a trained network on the scanned images.

    Args:
        network: place of its network.
        channel: its place among the outputs of its network.
        kind: a strength of the merge, or `one class`.
        major: label of its class, or of the class that is seen at least as often.
        minor: label of the other class; -1 for an output of one class.
        n_major: images of the major class among the top k.
        n_minor: images of the minor class among the top k.
        k: size of the top k.
        major_best: mean activation of the best k images of the major class, in sd of the output above its mean.
        minor_best: the same for the minor class; NaN for an output of one class.
        own_auroc: chance that an image of its classes activates it more than an image of the others.
    """

    network: int
    channel: int
    kind: str
    major: int
    minor: int
    n_major: int
    n_minor: int
    k: int
    major_best: float
    minor_best: float
    own_auroc: float

    @property
    def strength(self) -> float:
        """The weaker class's best activations over the stronger one's; NaN for an output of one class."""
        weaker, stronger = sorted((self.major_best, self.minor_best))
        return weaker / stronger if stronger > 0 else float("nan")

    @property
    def second_share(self) -> float:
        """Share of the top k that the class with fewer images in it holds; NaN for an output of one class."""
        return min(self.n_major, self.n_minor) / self.k if self.minor >= 0 else float("nan")


def output_truths(
    network: int,
    activations: Float32[np.ndarray, "n o"],
    labels: Int64[np.ndarray, " n"],
    outputs: Sequence[Output],
    *,
    k: int,
) -> Iterator[OutputTruth]:
    """The truth of each output of one network.

    Args:
        network: its place.
        activations: of each output on each scanned image.
        labels: of the scanned images; -1 for an image without a label.
        outputs: what the network was trained for.
        k: exemplars per unit.
    """
    for channel, output in enumerate(outputs):
        values = activations[:, channel].astype(np.float64)
        sd = float(values.std())
        top = labels[np.argsort(-values, kind="stable")[:k]]
        minor = -1 if output.minor is None else output.minor
        best = [
            float((np.sort(values[labels == label])[-k:].mean() - values.mean()) / sd)
            if sd > 0 and label >= 0 and (labels == label).any()
            else float("nan")
            for label in (output.major, minor)
        ]
        is_own = np.isin(labels, [label for label in (output.major, minor) if label >= 0])
        yield OutputTruth(
            network=network,
            channel=channel,
            kind=output.kind,
            major=output.major,
            minor=minor,
            n_major=int((top == output.major).sum()),
            n_minor=int((top == minor).sum()) if minor >= 0 else 0,
            k=len(top),
            major_best=best[0],
            minor_best=best[1],
            own_auroc=_auroc(values, is_own),
        )


def _auroc(values: Float64[np.ndarray, " n"], is_own: Bool[np.ndarray, " n"]) -> float:
    """Area under the curve of own images against others, by Mann and Whitney's ranks; NaN if either are none."""
    from scipy.stats import rankdata  # noqa: PLC0415  # the import takes .7 s

    n = int(is_own.sum())
    if n in (0, len(values)):
        return float("nan")
    return float((rankdata(values)[is_own].sum() - n * (n + 1) / 2) / (n * (len(values) - n)))
