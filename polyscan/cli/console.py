"""What all commands share: where they print, and the arguments that several of them take."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.console import Console

from polyscan.errors import JobError

app = typer.Typer(
    help="Tells, for every unit of a convolutional network, whether it answers to one thing or to several.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

JobArgument = Annotated[str | None, typer.Argument(help="a job file; default: the digits that come with polyscan")]
NetworkOption = Annotated[str | None, typer.Option(help="torchvision:NAME, timm:NAME or module:callable")]
ImagesOption = Annotated[str | None, typer.Option(help="class folder, Parquet, torchvision:NAME or sklearn:digits")]
WorkersOption = Annotated[
    int | None, typer.Option(help="Ray workers to ask for; default: the job's workers.n, else as many as fit")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="a setting of the job, as collect.k=64; may be repeated")
]
OnOption = Annotated[str | None, typer.Option(help="local or ray; default: ray where RAY_ADDRESS is set")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="no progress")]


def overrides(sets: list[str] | None) -> dict[str, Any]:
    """`collect.k=64` as a key and a TOML value; what is no TOML is a string."""
    values: dict[str, Any] = {}
    for word in sets or []:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise JobError(f'--set "{word}" sets nothing; write key=value, as in --set collect.k=64')
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip()] = text
    return values


def tell(text: str) -> None:
    """Prints to standard error; a log on a full disk ends no scan."""
    with suppress(OSError):
        err.print(text, markup=False)
