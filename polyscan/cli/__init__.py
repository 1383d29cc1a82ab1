"""The command line: words to calls; parses, prints, exits.

Exit status: 0 all done; 2 the job or the command is wrong, or the run folder can't be written; 3 some shards failed,
or `status` found failures or damage; 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import typer

from polyscan.cli import scanning, studying
from polyscan.cli.console import app, tell
from polyscan.errors import PolyscanError, ShardError

__all__ = ["app", "main"]

INTERRUPTED = 130
COMMANDS = (scanning, studying)
"""Where the commands are; each adds its own to `app` when it is loaded."""


def main() -> None:
    """The console script: runs a command and turns errors into exit codes."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        status: Any = app(standalone_mode=False)  # gives back the status of a typer.Exit, or None
    except ShardError as error:
        tell(f"{error}\nIts siblings are done; fix the cause and run the same command again to resume.")
        sys.exit(3)
    except PolyscanError as error:
        tell(str(error))
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except Exception as error:
        usage: Any = error  # typer brings its own copy of click or uses the real one, so the class has no one address
        if not hasattr(usage, "format_message"):
            raise
        usage.show()
        status = usage.exit_code
    if status == INTERRUPTED:
        tell("interrupted; run the same command again to resume")
    sys.exit(status or 0)
