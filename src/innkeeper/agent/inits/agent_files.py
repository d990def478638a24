"""The files of the agent's own service, whatever init runs it."""

import os

from innkeeper.agent.places import Places, write_durably

SERVICE = "innkeeper-agent"
BUNDLE = "usr/local/lib/innkeeper/innkeeper-agent.pyz"
LAUNCHER = "usr/local/bin/innkeeper-agent"


def put(places: Places, path: str, data: bytes, mode: int) -> None:
    """Write a file, or write it anew."""
    whole = places.under(path)
    os.makedirs(os.path.dirname(whole), mode=0o755, exist_ok=True)
    write_durably(whole, data)
    os.chmod(whole, mode)


def take_away(places: Places, *paths: str) -> None:
    """Remove files and links that are there."""
    for path in paths:
        try:
            os.unlink(places.under(path))
        except FileNotFoundError:
            continue
