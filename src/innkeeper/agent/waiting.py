"""Updates that wait for this guest; none is installed."""

from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError
from innkeeper.agent.report import Failure, Report
from innkeeper.agent.run import NoRun
from innkeeper.wire.session import Message

_MAX_UPDATES = 2000
_MAX_TEXT = 200
#: The host waits for the answer.
_LOCK_WAIT_S = 60.0


def waiting(places: Places) -> Message:
    """The updates that an update would install, after a look at the sources.

    Raises ``PluginError`` where none can be asked.
    """
    kind = next(backend for backend in BACKENDS.values() if backend.is_present(places))
    backend = kind(places, Report(NoRun()))
    backend.lock_wait_s = _LOCK_WAIT_S
    try:
        found = backend.look([])
    except Failure as exc:
        raise PluginError(str(exc)) from exc
    updates = [
        {
            "name": name[:_MAX_TEXT],
            "installed": old[:_MAX_TEXT],
            "available": new[:_MAX_TEXT],
            "security": None if backend.security is None else name in backend.security,
        }
        for name, old, new in found[:_MAX_UPDATES]
    ]
    return {"updates": updates, "count": len(found)}
