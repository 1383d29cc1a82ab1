"""A run: the results folder of one job, and the view that people read it by."""

from polyscan.run.folder import Run
from polyscan.run.records import Done
from polyscan.run.results import Results, open_run

__all__ = ["Done", "Results", "Run", "open_run"]
