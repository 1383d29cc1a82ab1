"""Jobs: one TOML file describes one scan."""

from polyscan.job.exemplars import k_warning, settled
from polyscan.job.reading import build, fill, load, parse, settings_of
from polyscan.job.settings import Job, Settings, VisualizeSettings, WorkersSettings

__all__ = [
    "Job",
    "Settings",
    "VisualizeSettings",
    "WorkersSettings",
    "build",
    "fill",
    "k_warning",
    "load",
    "parse",
    "settings_of",
    "settled",
]
