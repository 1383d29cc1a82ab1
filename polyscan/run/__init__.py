"""A run's folder: its files, the ledger of done shards, and its tables, read with typed filters."""

from polyscan.run.folder import Run
from polyscan.run.records import Done

__all__ = ["Done", "Run"]
