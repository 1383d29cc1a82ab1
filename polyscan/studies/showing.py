"""Drawing a finished run again, and serving its maps to this machine."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from polyscan import job as jobs
from polyscan.errors import JobError
from polyscan.job import Job
from polyscan.pipeline import STAGES
from polyscan.run import Results, Run
from polyscan.run.adoption import require_finished
from polyscan.stages import show


def redraw(address: str, overrides: Mapping[str, Any]) -> str:
    """Draws the maps of a run again, with other drawing settings if some are given.

    Raises:
        TableError: if there is no run, or a stage of it is not done.
        JobError: if an override is no drawing setting.
    """
    run = Results(address).run
    foreign = [key for key in overrides if not key.startswith("show.")]
    if foreign:
        raise JobError(f"`show` only draws: {', '.join(foreign)} would need a new scan; allowed: show.*")
    require_finished(run, [stage.name for stage in STAGES])
    show.draw(_stored_job(run, overrides), run)
    return run.address


def _stored_job(run: Run, overrides: Mapping[str, Any]) -> Job:
    return jobs.parse(run.storage.read("job.toml"), f"{run.address}/job.toml", overrides)


@contextmanager
def served(address: str, port: int) -> Generator[str]:
    """Serves `maps/` on 127.0.0.1 while it is open; gives the address of the front page.

    Raises:
        JobError: if the run does not lie on this machine's disk.
    """
    run = Results(address).run
    if not run.storage.is_local:
        raise JobError(f"{address} is no local folder; copy its maps/ here to serve them")
    handler = partial(_Quiet, directory=str(Path(run.storage.path("maps"))))
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # the base class names it so
        """Says nothing."""


def wait() -> None:
    """Until interrupted."""
    threading.Event().wait()
