"""Report the guest's health, as facts to be compared with those of another moment."""

import json
import os
from typing import Dict, Iterator, List, Optional, Tuple, Type

from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.backends.backend import Backend
from innkeeper.agent.backends.scripts import executables
from innkeeper.agent.boots import uptime_of
from innkeeper.agent.command import ask
from innkeeper.agent.floating import floating
from innkeeper.agent.inits import Inits
from innkeeper.agent.inits.unit import Unit
from innkeeper.agent.listeners import any_ports, is_passing, listeners
from innkeeper.agent.mounts import mounts, swaps
from innkeeper.agent.places import Places
from innkeeper.agent.report import Report
from innkeeper.agent.routes import routes
from innkeeper.agent.run import NoRun
from innkeeper.wire.session import Message

#: How long one check script may take, in seconds.
CHECK_S = 60
_MAX_ITEMS = 2000
#: Of more listeners than these, those of single questions are left out.
_MANY = 1000
_MAX_CHECK_TEXT = 1000
#: What fits into a message of the protocol, beside all else.
_MAX_DETAILS = 4000
_MAX_DETAILS_CHARS = 512 * 1024


def health(
    places: Places,
    history: bool = False,
    boots: Optional[List[Message]] = None,
    restarts: Optional[Dict[str, int]] = None,
) -> Message:
    """Return the report; ``history``: with what failed in the last week. A check script may take long.

    ``boots`` is how the boots before this one went; ``restarts``, how often units were started again whose
    init does not count that.
    """
    complaints = _complaints(places)
    inits = Inits(places)
    look = inits.look()
    listening, mounted = listeners(places, inits.owner()), mounts(places, look.mounts)
    reached = routes(places)
    any_range = any_ports(places)
    lasting = [one for one in listening if not is_passing(one, any_range)]
    places_of_listeners = sorted({f"{one.protocol}:{one.address}:{one.port}" for one in lasting})
    swapped = swaps(places, look.swaps)
    wanted = [one for one in mounted if one.origin or one.place == "/"]
    # Those that somebody wants first: they are in a list that is cut, too.
    places_of_mounts = [one.place for one in (*swapped, *mounted) if one.origin or one.place == "/"]
    places_of_mounts += [one.place for one in mounted if one not in wanted]
    return {
        "boot_id": places.boot_id,
        "kernel": os.uname().release,
        "system_state": look.state,
        "failed_units": look.failed[:_MAX_ITEMS],
        "listeners": places_of_listeners[:_MAX_ITEMS],
        "mounts": places_of_mounts[:_MAX_ITEMS],
        "package_database_ok": not complaints,
        "reboot_required": any(os.path.exists(mark) for mark in places.reboot_marks),
        "failed_checks": dict(_failed_checks(places)),
        "details": _whole(
            {
                "uptime": int(uptime_of(places)),
                "units": [list(_counted(unit, restarts or {})) for unit in look.units],
                "unit_files": look.files,
                "listeners": [list(one) for one in (listening if len(listening) <= _MANY else lasting)],
                "any_ports": list(any_range),
                "mounts": [list(one) for one in (*swapped, *wanted)],
                "routes": None if reached is None else [list(one) for one in reached],
                "floating": floating(places),
                "complaints": complaints,
                "failed_lately": inits.failed_lately() if history else [],
                "boots": boots or [],
            }
        ),
    }


def _whole(details: Message) -> Optional[Message]:
    """Return the details, or nothing where they are too many: of a part, the rest would look lost."""
    lists = [each for each in details.values() if isinstance(each, list)]
    if max(map(len, lists)) > _MAX_DETAILS or len(json.dumps(details)) > _MAX_DETAILS_CHARS:
        return None
    return details


def _counted(unit: Unit, restarts: Dict[str, int]) -> Unit:
    return unit._replace(restarts=max(unit.restarts, restarts.get(unit.name, 0)))


def _complaints(places: Places) -> List[str]:
    report = Report(NoRun())
    return _backend(places)(places, report).complaints()


def _backend(places: Places) -> Type[Backend]:
    return next(backend for backend in BACKENDS.values() if backend.is_present(places))


def _failed_checks(places: Places) -> Iterator[Tuple[str, str]]:
    """Run the check scripts; what only wants to be known of (``wanted.d``) is named as such."""
    for directory, prefix in ((places.required_checks, ""), (places.wanted_checks, "wanted: ")):
        for script in executables(directory):
            answer = ask([script], timeout=CHECK_S)
            if answer.code != 0:
                text = answer.output.strip()[-_MAX_CHECK_TEXT:] or f"exit code {answer.code}"
                yield prefix + os.path.basename(script), text
