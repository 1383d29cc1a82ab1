"""Opened runs, for users: tables as pandas, single units, and both as cards in a notebook."""

from polyscan.results.results import Results, UnitView, open_run, stored_job

__all__ = ["Results", "UnitView", "open_run", "stored_job"]
