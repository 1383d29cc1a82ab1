"""The command line: parses arguments, calls the package, prints results and sets the exit status.

Exit status: 0 all done; 2 the job or the command is wrong, or the run folder can't be written; 3 some shards failed,
or `status` found failures or damage; 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer

from polyscan.cli import circuits, disentangling, finding, scanning, studying
from polyscan.cli.console import app, tell
from polyscan.errors import PolyscanError, ShardError

__all__ = ["app", "main"]

WRONG, SHARDS_FAILED, INTERRUPTED = 2, 3, 130
COMMANDS = (scanning, studying, finding, circuits, disentangling)
"""The modules that hold the commands; each adds its commands to `app` when it is imported."""


def main() -> None:
    """Runs a command and ends the process with its exit status; this is the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    status = _exit_status()
    if status == INTERRUPTED:
        tell("interrupted; run the same command again to resume")
    sys.exit(status or 0)


def _exit_status() -> Any:
    """Runs the command in `sys.argv`, prints its errors and returns its exit status; None if all is done."""
    try:
        return app(standalone_mode=False)  # the status of a typer.Exit, or None
    except ShardError as error:
        tell(f"{error}\nThe other shards are done; fix the cause and run the same command again to resume.")
        return SHARDS_FAILED
    except PolyscanError as error:
        tell(str(error))
        return WRONG
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        usage: Any = error  # typer brings a copy of click or uses the installed one, so the class can't be imported
        if not hasattr(usage, "format_message"):
            raise
        usage.show()
        return usage.exit_code
