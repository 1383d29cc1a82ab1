"""What was found, as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd


def _csv(found: pd.DataFrame) -> bytes:
    return found.to_csv(index=False, lineterminator="\n").encode()


def _json(found: pd.DataFrame) -> bytes:
    return found.to_json(orient="records", indent=1, force_ascii=False).encode()


CONTENTS: Mapping[str, Callable[[pd.DataFrame], bytes]] = {".csv": _csv, ".json": _json}
ENDINGS = tuple(CONTENTS)


def content_of(found: pd.DataFrame, ending: str) -> bytes:
    """The content of a file with one of `ENDINGS`."""
    return CONTENTS[ending](found)
