"""A run's folder: its files, the ledger of what is done, and its tables, read by typed filters."""

from polyscan.run.folder import Run
from polyscan.run.records import Done

__all__ = ["Done", "Run"]
