"""Tables as the commands print them: never a name or a number cut short."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from rich.table import Column, Table
from rich.text import Text

from polyscan.cli.console import out


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table.

    On a terminal it has borders, and cells that are too long for the terminal are continued on the next line. In a pipe
    or a file it is one line for the head and one for each row, with a tab between columns.

    Args:
        head: the titles of the columns.
        rows: one text per column.
    """
    if out.file.isatty():
        table = Table(*(Column(Text(title), overflow="fold") for title in head))
        for row in rows:
            table.add_row(*map(Text, row))
        out.print(table)
    else:
        _write_lines("\t".join(cells) for cells in (head, *rows))


def _write_lines(lines: Iterable[str]) -> None:
    try:
        out.file.writelines(f"{line}\n" for line in lines)
        out.file.flush()
    except BrokenPipeError:  # as with `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
