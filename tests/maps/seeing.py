"""A real browser's view of pages on disk: what they show, ask for and complain about."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync", "--no-first-run"]
LOCAL = ("file:", "data:", "blob:")
NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
    # playwright leaves the loop and its pipes to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
# Notes when the map was painted, and every task of 50 ms and more that blocked the page, in ms since navigation.
TIMED = """
  window.tasks = [];
  const note = (one) => window.tasks.push([one.startTime, one.duration]);
  new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type: "longtask", buffered: true });
  let ready;
  Object.defineProperty(window, "READY", {
    get: () => ready,
    set: (value) => { ready = value; window.readyAt = window.readyAt || performance.now(); },
  });
"""
# A point of the page over a unit of the map, in CSS pixels; scrolls it into view.
POINT_OF = """(name) => {
  const { map, view } = polyscan.network;
  const colon = name.lastIndexOf(":");
  const place = map.layers.findIndex((layer) => layer.name === name.slice(0, colon));
  const box = map.box(map.unit(place, Number(name.slice(colon + 1))));
  const canvas = document.getElementById("map");
  const { ratio } = view();
  window.scrollTo(0, canvas.getBoundingClientRect().top + scrollY + box.top / ratio - 300);
  const at = canvas.getBoundingClientRect();
  return [at.left + (box.left + box.width / 2) / ratio, at.top + (box.top + box.height / 2) / ratio];
}"""


@contextmanager
def launched() -> Iterator[Any]:
    """A headless Chromium."""
    with playwright_api.sync_playwright() as player:
        made = player.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


def until(page: Any, expression: str, timeout_s: float = 20) -> None:
    """Waits for a claim to hold. Playwright's own waiting evaluates strings, which the pages' policy refuses."""
    end = time.perf_counter() + timeout_s
    while time.perf_counter() < end:
        try:
            if page.evaluate(expression):
                return
        except playwright_api.Error as error:
            if "Execution context" not in str(error) and "navigat" not in str(error):
                raise
        time.sleep(0.005)
    raise AssertionError(f"{expression} did not hold within {timeout_s} s")


class Seen:
    """A page and everything it complained about or asked for."""

    def __init__(self, browser: Any, **settings: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | settings))
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.may_lack = False  # whether a missing file is part of the test
        self.page.on("console", self.note)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", self.dismiss)
        self.page.on("request", lambda request: self.requests.append(request.url))

    def note(self, message: Any) -> None:
        if message.type in ("error", "warning") and not (self.may_lack and "ERR_FILE_NOT_FOUND" in message.text):
            self.faults.append(message.text)

    def dismiss(self, dialog: Any) -> None:
        """No page asks anything: whoever does is a name that ran as a script."""
        self.faults.append(dialog.message)
        dialog.dismiss()

    def open(self, path: Path, hash_: str = "") -> Any:
        """The page of a fresh document, ready to be looked at."""
        self.page.goto("about:blank")
        self.requests = [url for url in self.requests if url != "about:blank"]
        self.page.goto(path.as_uri() + hash_)
        if path.name == "unit.html":
            until(self.page, "document.getElementById('unit').getAttribute('aria-busy') === 'false'")
        else:
            until(self.page, "window.READY === true")
        return self.page

    def pictures(self) -> set[str]:
        """Sprites that were asked for."""
        return {url for url in self.requests if "/img/" in url}

    def is_at_peace(self) -> None:
        """Nothing was complained of, and nothing asked for but what lies in the folder."""
        assert not self.faults
        assert all(url.startswith(LOCAL) for url in self.requests)


@contextmanager
def looking(browser: Any, kind: type[Seen] = Seen) -> Iterator[Callable[..., Any]]:
    """Makes pages to look at; in the end nothing may have been complained of or asked for from elsewhere."""
    made: list[Seen] = []

    def start(**settings: Any) -> Seen:
        made.append(kind(browser, **settings))
        return made[-1]

    yield start
    for one in made:
        one.context.close()
        one.is_at_peace()
