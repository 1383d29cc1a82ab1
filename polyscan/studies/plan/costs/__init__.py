"""The estimated cost of each stage: one file per stage, found by the stage's name; `report` is the cost of the maps.

Each file has one function, `cost(outlook) -> PlanRow`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from polyscan.studies.plan.outlook import Outlook
from polyscan.studies.plan.row import PlanRow

Cost = Callable[[Outlook], PlanRow]


def cost_of(stage: str) -> Cost:
    """The cost function of the stage of that name.

    Raises:
        LookupError: if its file is missing, so that no plan silently leaves out a stage.
    """
    name = f"{__name__}.{stage}"
    try:
        return cast("Cost", importlib.import_module(name).cost)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise LookupError(
            f"stage `{stage}` has no cost, so it can't be planned; write polyscan/studies/plan/costs/{stage}.py with "
            "cost(outlook) -> PlanRow"
        ) from error
