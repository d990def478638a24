"""Read the agent's command line."""

import argparse
from typing import List

from innkeeper.agent.version import VERSION


def main(argv: List[str]) -> int:
    """Do what the command line asks and return the exit code."""
    parser = argparse.ArgumentParser(prog="innkeeper-agent")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.parse_args(argv)
    return 0
