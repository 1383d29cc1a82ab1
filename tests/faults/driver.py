"""The command line as a process with a saboteur in its workers: `driver.py PLAN WORDS...`.

PLAN is JSON: what `sabotage.sabotaged` takes; `{}` sabotages nothing.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sabotage
from sabotage import sabotaged

from polyscan import cli, maps
from polyscan.shards import Runner
from polyscan.studies import scanning


def main(plan: dict[str, Any]) -> None:
    if "RAY_ADDRESS" in os.environ:
        from ray import cloudpickle  # noqa: TID251

        cloudpickle.register_pickle_by_value(sabotage)  # the cluster's workers have no tests
    real = scanning.runner_for

    @contextmanager
    def runner_for(*words: Any) -> Iterator[Runner]:
        with real(*words) as runner:
            yield sabotaged(runner, Path(plan.pop("folder")), **plan) if plan else runner

    scanning.runner_for = runner_for
    maps.pages = lambda _: []  # they take longer than all stages of a toy
    logging.getLogger("polyscan").setLevel(logging.INFO)
    cli.main()


if __name__ == "__main__":
    asked = json.loads(sys.argv.pop(1))
    main(asked)
