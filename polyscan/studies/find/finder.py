"""A run opened for searching."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Float32

from polyscan.errors import JobError, TableError, suggestion
from polyscan.results import Results
from polyscan.studies.find.by_name import named
from polyscan.studies.find.facts import ClusterFacts
from polyscan.studies.find.queries import NamingSpace
from polyscan.studies.find.searched import SearchedClusters, read_centres, read_clusters
from polyscan.units import Unit, UnitOrder

TOP = 20
BY_VECTORS = "cosine of the mean of a cluster's crops and what was looked for, in the space of {model}"
BY_NAMES = (
    "words in common with the text, then the name's own similarity, which is shown: no model with words named this "
    "run, so only names can be looked for"
)
BY_CENTRES = (
    "cosine of the means of two units' exemplars in the space {space}, among the layers that are compared in it: "
    "labels named this run, so its clusters have no common space"
)


class Finder:
    """Finds the units of a run that answer to something; loads what it needs once.

    Args:
        results: a run.

    Raises:
        TableError: if its tables are damaged.
    """

    def __init__(self, results: Results) -> None:
        self.results = results
        self.facts = ClusterFacts(results)
        self.clusters = read_clusters(results)
        self.space = None if self.clusters is None else NamingSpace(results)

    def __call__(
        self, text: str = "", *, image: str = "", like: str = "", top: int = TOP, clusters: bool = False
    ) -> pd.DataFrame:
        """The units that answer to a text, an image or the same as another unit; see `find`."""
        check_asked(text, image, like, top)
        if like:
            return self._like(unit_named(self._order, like, self.results.run.address), top, clusters)
        if image:
            return self._nearest(self._space_of_images.image(image), top, clusters)
        if self.space is not None and self.space.has_text:
            return self._nearest(self.space.text(text.strip()), top, clusters)
        return self._named(text, top, clusters)

    @cached_property
    def _order(self) -> UnitOrder:
        return self.results.run.unit_order()

    @property
    def _space_of_images(self) -> NamingSpace:
        if self.space is None:
            raise TableError(
                f"{self.results.run.address} has no vectors of clusters, since its labels were counted; an image can "
                "only be looked for where a model has named. Scan with name.model (as open_clip:MODEL/WEIGHTS), or "
                "look for a text"
            )
        return self.space

    def _nearest(self, queries: Float32[np.ndarray, "q d"], top: int, each_cluster: bool) -> pd.DataFrame:
        """The clusters nearest to vectors of the model that named the run."""
        assert self.clusters is not None, "only a run with vectors has a naming space"
        assert self.space is not None, "a run with vectors has a naming space"
        rows = self.clusters.best(queries, top, each_cluster=each_cluster)
        return self.facts.of(rows, BY_VECTORS.format(model=self.space.model))

    def _named(self, text: str, top: int, each_cluster: bool) -> pd.DataFrame:
        """The clusters with names like a text."""
        job, names = self.results.job, self.facts.names
        if names.empty:
            raise TableError(
                f"{self.results.run.address} has no names: its images have no labels, no label is above chance, or it "
                "is not finished. Scan with a model that names (name.model and name.vocabulary)"
            )
        rows = named(names, text).drop_duplicates("cluster_key" if each_cluster else "unit_key").head(top)
        sizes = rows["evidence"].map({"exemplars": job.n_scored, "deflated": 2 * job.n_half})
        return self.facts.of(rows.assign(share=rows["n"] / sizes), BY_NAMES)

    # ---- units like another ----------------------------------------------------------------------------------------

    def _like(self, unit: Unit, top: int, each_cluster: bool) -> pd.DataFrame:
        number = self._order.number(unit)
        searched, how = self._space_of(unit)
        vectors = searched.of_unit(number)
        if not len(vectors):
            raise JobError(self._without_clusters(unit))
        return self.facts.of(searched.best(vectors, top, each_cluster=each_cluster, but=number), how)

    def _space_of(self, unit: Unit) -> tuple[SearchedClusters, str]:
        """What a unit can be compared with, and how: clusters, else units by all their exemplars."""
        if self.clusters is not None and self.space is not None:
            return self.clusters, BY_VECTORS.format(model=self.space.model)
        units = self.results.run.read("centres", ["layer", "channel", "space"])
        its = units[(units["layer"] == unit.layer) & (units["channel"] == unit.channel)]["space"]
        if its.empty:
            raise JobError(self._without_clusters(unit))
        space = str(its.iloc[0])
        # Only an embedder's vectors are of one kind in all layers: a layer's own features are whitened layer by layer.
        is_shared = space == self.results.job.embed.model
        layers = units.loc[units["space"] == space, "layer"].unique().tolist() if is_shared else [unit.layer]
        return read_centres(self.results, space, layers), BY_CENTRES.format(space=space)

    def _without_clusters(self, unit: Unit) -> str:
        return (
            f"{unit} has no clusters in {self.results.run.address}: it is dead, has too few exemplars, or is not "
            "scored yet. Name another unit"
        )


def check_asked(text: str, image: str, like: str, top: int) -> None:
    """Refuses a search for nothing, for more than one thing, or for no hit.

    Raises:
        JobError: says what to give.
    """
    asked = [name for name, value in (("a text", text.strip()), ("--image", image), ("--like", like)) if value]
    if len(asked) != 1:
        got = " and ".join(asked) or ("an empty text" if text else "none")
        raise JobError(f'`find` needs one of a text, --image and --like, got {got}; as in `polyscan find RUN "fruit"`')
    if top < 1:
        raise JobError(f"--top must be at least 1, got {top}")


def unit_named(order: UnitOrder, name: str, address: str) -> Unit:
    """The unit written as LAYER:CHANNEL, of a layer whose units have verdicts.

    Raises:
        JobError: if there is none; with the nearest.
    """
    try:
        unit = Unit.parse(name)
    except ValueError as error:
        raise JobError(str(error)) from error
    judged = {layer.name: layer.n_units for layer in order.layers if layer.is_judged}
    if unit.layer not in judged:
        raise JobError(f'{address} has no layer "{unit.layer}"; {suggestion(unit.layer, judged)}')
    if unit.channel >= (n := judged[unit.layer]):
        raise JobError(f"{unit.layer} has units 0 to {n - 1}, got {unit.channel}; nearest: {unit.layer}:{n - 1}")
    return unit
