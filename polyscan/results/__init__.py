"""What people hold when they open a run: its tables as pandas, its units, and both as cards in a notebook."""

from polyscan.results.results import Results, UnitView, open_run, stored_job

__all__ = ["Results", "UnitView", "open_run", "stored_job"]
