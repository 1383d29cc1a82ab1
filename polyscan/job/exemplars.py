"""How many exemplars a unit has: k, as the job says or as a share of the images."""

from __future__ import annotations

from polyscan.job.settings import Job

SHARE = 0.01
"""Of the images, by default: planted pairs are found best at about 1 %."""
FEWEST, MOST = 20, 1000
SMALL_SHARE = 0.003
"""Below this share of the images planted pairs are lost."""
LARGEST = 4096
"""The largest k that a job may name."""


def default_k(n_images: int) -> int:
    """Exemplars per unit if the job names no number: 1 % of the images, at least 20 and at most 1,000.

    >>> [default_k(n) for n in (500, 10_000, 50_000, 1_281_167)]
    [20, 100, 500, 1000]
    """
    return min(max(FEWEST, round(SHARE * n_images)), MOST)


def settled(job: Job, n_images: int) -> Job:
    """The job with k as a number: its own, or the default for so many images.

    Args:
        job: any job.
        n_images: number of images in its source.

    >>> job = Job(network={"name": "torchvision:resnet18"}, images={"source": "photos"})
    >>> settled(job, 30_000).k
    300
    """
    if job.collect.k is not None:
        return job
    collect = job.collect.model_copy(update={"k": default_k(n_images)})
    return job.model_copy(update={"collect": collect})


def k_warning(k: int, n_images: int) -> str | None:
    """What a k below .3 % of the images costs; None for a larger share.

    Source: ours, MobileNetV2 on Tiny-ImageNet (docs/methods).

    >>> k_warning(100, 10_000) is None
    True
    """
    if k >= SMALL_SHARE * n_images:
        return None
    better = min(round(SHARE * n_images), LARGEST)
    return (
        f"k = {k} is only {k / n_images:.2%} of {n_images:,} images, and units of two concepts are found less often "
        f"below {SMALL_SHARE:.1%}: of planted pairs among 50,000 images .34 with k = 100, .76 with k = 400. Set "
        f"`collect.k` to about {better:,}, or scan fewer images"
    )
