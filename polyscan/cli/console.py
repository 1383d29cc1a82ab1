"""What the commands share: where they print, and the arguments that several of them take."""

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
# Paths and names are printed as they are, also those with square brackets or colons.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

JobArgument = Annotated[
    str | None, typer.Argument(help="a job file, or the name of a job that comes with polyscan; default: digits")
]
NetworkOption = Annotated[str | None, typer.Option(help="the network: torchvision:NAME, timm:NAME or module:callable")]
ImagesOption = Annotated[
    str | None, typer.Option(help="the images: a class folder, Parquet, torchvision:NAME or sklearn:digits")
]
WorkersOption = Annotated[
    int | None, typer.Option(help="number of Ray workers; default: workers.n of the job, else as many as fit")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="override a job setting, as in --set collect.k=64; may be repeated")
]
DirectionsOption = Annotated[
    list[str] | None,
    typer.Option(
        help="directions of your own as units, as in --directions layer4=sae.safetensors: one direction a row; behind "
        "# the array that holds them; may be repeated"
    ),
]
OnOption = Annotated[
    str | None, typer.Option(help="where to run: local or ray; default: ray if RAY_ADDRESS is set, else local")
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="show no progress")]


def overrides(sets: list[str] | None) -> dict[str, Any]:
    """The keys and values of arguments such as `collect.k=64`; a value that is not TOML is taken as a string."""
    values: dict[str, Any] = {}
    for setting in sets or []:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise JobError(f'--set "{setting}" is not key=value; write it as in --set collect.k=64')
        try:
            content = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            content = {"value": text}
        if len(content) != 1:
            raise JobError(f'--set "{setting}" sets more than one key; write a --set for each')
        values[key.strip()] = content["value"]
    return values


def with_directions(values: dict[str, Any], directions: list[str] | None) -> dict[str, Any]:
    """Overrides, and arguments such as `layer4=sae.safetensors` as settings of [directions]."""
    for argument in directions or []:
        layer, equals, file = argument.partition("=")
        if not equals or not layer or not file:
            raise JobError(f'--directions "{argument}" is not layer=file; write it as in layer4=sae.safetensors')
        values[f"directions.{layer.strip()}"] = file
    return values


def tell(text: str) -> None:
    """Prints to standard error; if that fails, as on a full disk, the command goes on."""
    with suppress(OSError):
        err.print(text)
