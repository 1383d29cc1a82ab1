"""Draws the maps of a finished run again, or serves them on this machine."""

from __future__ import annotations

import mimetypes
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from polyscan import report
from polyscan.errors import JobError
from polyscan.maps import Site
from polyscan.pipeline import STAGES
from polyscan.results import Results, stored_job
from polyscan.run import Run
from polyscan.run.integrity import writing
from polyscan.run.reuse import require_finished

HERE, LAST_PORT = "127.0.0.1", 65535


def redraw(address: str, overrides: Mapping[str, Any]) -> str:
    """Draws the maps of a run again, with other drawing settings if some are given.

    Raises:
        TableError: if there is no run, or a stage of it is not done.
        JobError: if an override is not a drawing setting, or the run's folder can't be written.
    """
    run = finished(address, overrides)
    with writing(run.address):
        report.draw(stored_job(run, overrides), run)
    return run.address


def finished(address: str, overrides: Mapping[str, Any]) -> Run:
    """The run, once it is known to be finished.

    Raises:
        TableError: if there is no run, or a stage of it is not done.
        JobError: if an override is not a drawing setting.
    """
    run = Results(address).run
    foreign = [key for key in overrides if not key.startswith("show.")]
    if foreign:
        raise JobError(
            f"`show` only draws: {', '.join(foreign)} would need a new scan; allowed are settings of [show]: show.*"
        )
    require_finished(run, [stage.name for stage in STAGES])
    return run


@contextmanager
def served(address: str, port: int, overrides: Mapping[str, Any]) -> Generator[str]:
    """Serves the maps on 127.0.0.1 while the context is open; yields the address of the front page.

    Only `map.parquet` is written. Each page, block and sprite is made on request, with the same bytes that `redraw`
    would write.

    Raises:
        TableError: if there is no run, or a stage of it is not done.
        JobError: if an override is not a drawing setting, or the port can't be used.
    """
    if not 0 <= port <= LAST_PORT:
        raise JobError(f"--port {port} is no port; allowed are 1 to {LAST_PORT}, or 0 for any free one")
    run = finished(address, overrides)
    with writing(run.address):
        site = Site(report.drawn_atlas(stored_job(run, overrides), run))
    server = _server(port, site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
    finally:
        server.shutdown()
        server.server_close()


def _server(port: int, site: Site) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((HERE, port), partial(_Pages, site, threading.Lock()))
    except OSError as error:
        raise JobError(
            f"--port {port} can't be used ({error.strerror or error}); choose another, or 0 for any free one"
        ) from error


class _Pages(BaseHTTPRequestHandler):
    """Answers requests for the files of a site, from this machine only."""

    def __init__(self, site: Site, lock: threading.Lock, *args: Any) -> None:
        self.site = site
        self.lock = lock  # so that requests at the same time read a layer's units once
        super().__init__(*args)

    def do_GET(self) -> None:  # the name is that of the base class
        """Sends one file, or 404 if there is no such file."""
        # Against DNS rebinding: a foreign page whose host name points to 127.0.0.1 may not read a run.
        if self.headers.get("Host", "").partition(":")[0] not in ("127.0.0.1", "localhost"):
            return self.send_error(403)
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        try:
            with self.lock:
                content = self.site.content(name)
        except KeyError:
            return self.send_error(404)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # the name is that of the base class
        """Logs nothing."""


def wait() -> None:
    """Blocks until the process is interrupted."""
    threading.Event().wait()
