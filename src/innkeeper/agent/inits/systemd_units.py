"""Read what systemd says of its units."""

import json
import os
import time
from typing import Dict, List

from innkeeper.agent.command import ask
from innkeeper.agent.inits.unit import Unit
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError

#: The kinds whose being active says that the guest works; mounts are told with their own facts.
_KINDS = ("service", "socket", "timer", "path")
_MOUNTS = "mount"
_SWAPS = "swap"
#: What can fail beside these.
_OTHERS = (_SWAPS, "automount", "scope")
_PROPERTIES = (
    "Id",
    "Names",
    "Job",
    "ActiveState",
    "SubState",
    "Type",
    "NRestarts",
    "RemainAfterExit",
    "UnitFileState",
    "FragmentPath",
    "SourcePath",
    "Where",
    "What",
    "WantedBy",
    "RequiredBy",
    "TriggeredBy",
    "Triggers",
    "StateChangeTimestampMonotonic",
)
#: Where systemd looks for units.
_DIRECTORIES = ("etc/systemd/system", "run/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
#: What systemd says in the journal of a unit that failed, and of one that did not start.
_FAILURES = ("d9b373ed55a64feb8242e02dbe79a49c", "be02cf6855d2428ba40df7e9d022f03d")
#: … and of one that it starts again by itself.
_STARTED_AGAIN = "5eb03494b6584870a536b337290809b3"
_ASK_S = 60.0
_HISTORY = "-7d"
_MAX_FAILURES = 2000
_MAX_RESTARTS = 2000

#: What systemd says of a unit, by property.
Properties = Dict[str, str]


def properties() -> List[Properties]:
    """Return what systemd says of each unit that it knows.

    Raises ``PluginError`` where it does not say: a guest that nothing is known of is not one without units.
    """
    patterns = ["*." + kind for kind in (*_KINDS, _MOUNTS, *_OTHERS)]
    answer = ask(["systemctl", "show", "-p", ",".join(_PROPERTIES), "--", *patterns], timeout=_ASK_S)
    if answer.code != 0:
        said = answer.output.strip().rpartition("\n")[2]
        raise PluginError("systemctl show failed (exit code {}): {}".format(answer.code, said))
    return parse(answer.output)


def parse(text: str) -> List[Properties]:
    """Read blocks of ``Name=value``, one a unit."""
    found = []
    for block in text.split("\n\n"):
        pairs = (line.partition("=") for line in block.splitlines())
        read = {name: value for name, sign, value in pairs if sign}
        if read.get("Id"):
            found.append(read)
    return found


def units(known: List[Properties]) -> List[Unit]:
    """Return the units that run, are to run or have failed, by name."""
    now = time.monotonic()
    found = {_unit(one, now) for one in known if _kind(one) in _KINDS}
    return sorted(unit for unit in found if unit.active != "inactive" or unit.has_job or _is_kept(unit))


def failed(known: List[Properties]) -> List[str]:
    """Return the units that have failed."""
    return sorted({one["Id"] for one in known if one.get("ActiveState") == "failed"})


def mounts(known: List[Properties]) -> Dict[str, str]:
    """Return whose wish each mount unit is, by place: systemd makes one for everything that is mounted."""
    return {one["Where"]: _origin(one) for one in known if one.get("Where") and _kind(one) == _MOUNTS}


def swaps(known: List[Properties]) -> Dict[str, str]:
    """Return whose wish each swap unit of the boot's is, by its file or device."""
    wanted = (one for one in known if one.get("WantedBy") or one.get("RequiredBy"))
    found = {one["What"]: _origin(one) for one in wanted if one.get("What") and _kind(one) == _SWAPS}
    return {what: origin for what, origin in found.items() if origin}


def _origin(one: Properties) -> str:
    path = one.get("FragmentPath", "")
    if one.get("SourcePath") == "/etc/fstab":
        return "fstab"
    if path.startswith("/run/"):
        return "generated"
    return "unit" if path else ""


def _is_kept(unit: Unit) -> bool:
    """Return whether a unit that is not there would be missed; what is started for a moment would not."""
    is_moment = unit.type == "oneshot" and not unit.remains
    return not is_moment and (unit.wanted or unit.enablement.startswith("enabled"))


def unit_files(places: Places) -> List[str]:
    """Return the names of the units that are installed."""
    found = set()
    for directory in _DIRECTORIES:
        try:
            found.update(os.listdir(places.under(directory)))
        except OSError:
            continue
    return sorted(name for name in found if name.rpartition(".")[2] in _KINDS)


def failed_lately() -> List[str]:
    """Return the units that the journal has seen fail in the last week, in any boot."""
    matches = ["MESSAGE_ID=" + number for number in _FAILURES]
    answer = ask(
        ["journalctl", "-q", "--no-pager", "-o", "json", "--since", _HISTORY, *matches], timeout=_ASK_S
    )
    if answer.code != 0:
        return []
    return sorted({name for name in map(_failed_unit, answer.output.splitlines()) if name})[:_MAX_FAILURES]


def restarts_of_users(managers: List[str]) -> Dict[str, int]:
    """Return how often users' managers say in this boot's journal that they started a unit again."""
    if not managers:
        return {}
    matches = ["MESSAGE_ID=" + _STARTED_AGAIN, *("_SYSTEMD_UNIT=" + manager for manager in managers)]
    journal = ["journalctl", "-q", "--no-pager", "-b", "-o", "json", "-n", str(_MAX_RESTARTS)]
    answer = ask([*journal, *matches], timeout=_ASK_S)
    entries = map(_entry, answer.output.splitlines() if answer.code == 0 else [])
    # The last one counts: each tells how many there were.
    return {_unit_of(entry): _number(str(entry.get("N_RESTARTS", ""))) for entry in entries}


def _failed_unit(line: str) -> str:
    return _unit_of(_entry(line))


def _entry(line: str) -> Dict[str, object]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _unit_of(entry: Dict[str, object]) -> str:
    """Return which unit an entry of the journal is about; empty for none."""
    name, of_user, uid = entry.get("UNIT"), entry.get("USER_UNIT"), entry.get("_UID")
    if isinstance(name, str):
        return name
    return (
        "user@{}.service/{}".format(uid, of_user) if isinstance(of_user, str) and isinstance(uid, str) else ""
    )


def _kind(one: Properties) -> str:
    return one["Id"].rpartition(".")[2]


def _unit(one: Properties, now: float) -> Unit:
    since = _number(one.get("StateChangeTimestampMonotonic", "")) / 1e6
    return Unit(
        name=one["Id"],
        aliases=tuple(sorted(set(one.get("Names", "").split()) - {one["Id"]})),
        active=one.get("ActiveState", ""),
        sub=one.get("SubState", ""),
        type=one.get("Type", ""),
        restarts=_number(one.get("NRestarts", "")),
        remains=one.get("RemainAfterExit") == "yes",
        enablement=one.get("UnitFileState", ""),
        wanted=bool(one.get("WantedBy") or one.get("RequiredBy")),
        triggered=bool(one.get("TriggeredBy")),
        triggers=tuple(one.get("Triggers", "").split()),
        has_job=_number(one.get("Job", "")) > 0,
        age=int(max(0.0, now - since)) if since else 0,
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
