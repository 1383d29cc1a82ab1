"""Fixtures of the matrix, and the table of cells at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.cells import Commands, Reference, undisturbed


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What a scan makes where nothing goes wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("polyscan.maps.pages", lambda _: [])
        return undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(autouse=True)
def _no_pages(no_pages: None) -> Iterator[None]:
    return


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    """Runs polyscan's commands in this process."""
    return Commands(monkeypatch, capsys)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Where the cell's run lies."""
    return tmp_path / "run"


@pytest.fixture
def struck(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Notes what really happened in a cell, for the table; a cell in which nothing did says nothing, and fails."""
    record_property("cell", request.node.name.removeprefix("test_").replace("_", " "))
    return lambda what: record_property("struck", what)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name, what struck, seconds, verdict."""
    rows: list[tuple[str, ...]] = []
    for verdict in ("passed", "failed", "skipped", "error"):
        for report in terminalreporter.stats.get(verdict, []):
            told = getattr(report, "user_properties", [])
            names = [value for key, value in told if key == "cell"]
            if names and (report.when == "call" or verdict in ("error", "skipped")):
                what = "; ".join(str(value) for key, value in told if key == "struck")
                rows.append((names[0], what or "nothing", f"{report.duration:.1f}", verdict))
    if not rows:
        return
    terminalreporter.section("failures on purpose")
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for name, what, seconds, verdict in rows:
        terminalreporter.write_line(f"{name:<{widths[0]}}  {what:<{widths[1]}}  {seconds:>{widths[2]}} s  {verdict}")
