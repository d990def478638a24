"""Run the command line as ``python -m innkeeper.cli``."""

from innkeeper.cli.app import main

main()
