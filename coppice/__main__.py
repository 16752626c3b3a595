"""`python -m coppice`: the command line, where the command itself is on no path."""

from coppice.cli import main

main()
