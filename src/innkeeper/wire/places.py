"""Default places of the service's socket and state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Where the service that the system runs keeps its state.
SYSTEM_STATE_DIR = Path("/var/lib/innkeeper")


def default_socket(environ: Mapping[str, str], uid: int) -> Path:
    """The local door: ``INNKEEPER_SOCKET``, the system's, or the user's own.

    An ordinary user's client looks at both: see ``sockets_to_try``.
    """
    if named := environ.get("INNKEEPER_SOCKET"):
        return Path(named)
    return system_socket() if uid == 0 else user_socket(environ, uid)


def sockets_to_try(environ: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    """Where a client looks for the service, in order: the user's own, then the system's."""
    first = default_socket(environ, uid)
    if "INNKEEPER_SOCKET" in environ or uid == 0:
        return (first,)
    return (first, system_socket())


def system_socket() -> Path:
    """The door of the service that the system runs."""
    return Path("/run/innkeeper/innkeeper.sock")


def user_socket(environ: Mapping[str, str], uid: int) -> Path:
    """The door of a service that an ordinary user runs."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime) / "innkeeper" / "innkeeper.sock"
    return default_state_dir(environ, uid) / "innkeeper.sock"


def default_state_dir(environ: Mapping[str, str], uid: int) -> Path:
    """Where the service keeps its state: ``INNKEEPER_STATE_DIR``, or the usual place for this user."""
    if named := environ.get("INNKEEPER_STATE_DIR"):
        return Path(named)
    if uid == 0:
        return SYSTEM_STATE_DIR
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(environ.get("HOME", "/")) / ".local" / "state") / "innkeeper"
