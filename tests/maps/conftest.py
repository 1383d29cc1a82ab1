"""A run of 30,000 units and its pages, drawn once a session, and a browser to see pages in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from maps.seeing import Seen, launched, looking

from benchmarks.synthetic.network import Plan, names
from benchmarks.synthetic.run import write
from polyscan import report
from polyscan.maps.urls import layer_addresses
from polyscan.run import Run
from polyscan.studies.showing import stored_job


@dataclass(frozen=True, eq=False)
class Drawn:
    """A synthetic run whose pages are drawn, and its map."""

    plan: Plan
    run: Run
    maps: Path
    frame: pd.DataFrame

    @classmethod
    def of(cls, plan: Plan, folder: Path) -> Drawn:
        run = write(folder, plan)
        report.draw(stored_job(run, {}), run)
        return cls(plan, run, folder / "maps", pd.read_parquet(folder / "map.parquet"))

    @property
    def layers(self) -> list[str]:
        return names(self.plan)

    def page_of(self, layer: str) -> Path:
        return self.maps / layer_addresses(self.layers)[self.layers.index(layer)]

    def row(self, unit: str) -> pd.Series:
        """A unit's numbers as map.parquet has them."""
        layer, _, channel = unit.rpartition(":")
        return self.frame[(self.frame["layer"] == layer) & (self.frame["channel"] == int(channel))].iloc[0]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """30,000 units in 50 layers; all of the layer of 2,000 have pictures, and a few of each other one."""
    return Drawn.of(Plan(sprites=4), tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="session")
def few(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """The same of 1,200 units in 12 layers."""
    return Drawn.of(Plan(units=1200, layers=12, sprites=3), tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as made:
        yield made


@pytest.fixture
def seen(browser: Any) -> Iterator[Callable[..., Seen]]:
    with looking(browser) as start:
        yield start
