"""`python -m sweeper.cli`: the command line without an installed script."""

from sweeper.cli import main

main()
