"""A job: one TOML file, one scan."""

from polyscan.job.reading import build, fill, load, parse, settings_of
from polyscan.job.settings import Job, Settings, VisualizeSettings

__all__ = ["Job", "Settings", "VisualizeSettings", "build", "fill", "load", "parse", "settings_of"]
