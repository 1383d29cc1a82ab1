"""Runs the command line: `python -m polyscan` is the same as `polyscan`."""

from polyscan.cli import main

main()
