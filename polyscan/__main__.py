"""`python -m polyscan` is the command line."""

from polyscan.cli import main

main()
