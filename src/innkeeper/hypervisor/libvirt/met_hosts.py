"""Remember the ids of hosts by their URIs, for those that are away at the service's next start."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import structlog

_log = structlog.get_logger()


def id_of(state_directory: Path, uri: str) -> str:
    """Return the id that the host at a URI had when it answered last; empty for one never met. Blocks."""
    try:
        known = json.loads(_file(state_directory, uri).read_text())
    except (OSError, ValueError):
        return ""
    return str(known["id"]) if isinstance(known, dict) and known.get("uri") == uri and "id" in known else ""


def note(state_directory: Path, uri: str, identity: str) -> None:
    """Remember a host that has answered. Blocks; one that cannot be written down is met anew."""
    file = _file(state_directory, uri)
    try:
        file.parent.mkdir(mode=0o750, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(json.dumps({"uri": uri, "id": identity}))
        fresh.replace(file)
    except OSError as error:
        _log.warning("host_not_remembered", uri=uri, error=str(error))


def _file(state_directory: Path, uri: str) -> Path:
    return state_directory / "hosts" / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json"
