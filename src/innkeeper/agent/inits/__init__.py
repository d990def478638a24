"""Look after the guest's services by whatever init it has; each module knows one."""

from typing import Dict, List, Tuple, Type

from innkeeper.agent.inits.init import Init, Main, Owner
from innkeeper.agent.inits.inittab import Inittab
from innkeeper.agent.inits.openrc import OpenRc
from innkeeper.agent.inits.runit import Runit
from innkeeper.agent.inits.systemd import Systemd
from innkeeper.agent.inits.sysvinit import SysVinit
from innkeeper.agent.inits.unit import Look, Unit
from innkeeper.agent.places import Places

#: Several may run services in one guest; of two that know the same name, or process, the first is believed.
KINDS: Tuple[Type[Init], ...] = (Systemd, OpenRc, Runit, SysVinit, Inittab)
_MAX_CHARS = 400


class Inits:
    """All that run services in this guest, at this moment."""

    def __init__(self, places: Places) -> None:
        self._running = [kind(places) for kind in KINDS if kind.runs(places)]

    def look(self) -> Look:
        """Return what they run. Raises ``PluginError`` where one does not say."""
        looks = [init.look() for init in self._running]
        units: Dict[str, Unit] = {}
        for unit in (unit for look in looks for unit in look.units):
            units.setdefault(unit.name, unit)
        return Look(
            units=sorted(units.values()),
            failed=sorted({name for look in looks for name in look.failed}),
            files=sorted({name for look in looks for name in look.files}),
            state=next((look.state for look in looks if look.state), ""),
            mounts={place: origin for look in looks for place, origin in look.mounts.items()},
            swaps={what: origin for look in looks for what, origin in look.swaps.items()},
        )

    def owner(self) -> Owner:
        """Return what says which unit a process is of; empty where none knows it."""
        owners = [init.owner() for init in self._running]
        return lambda pid: next(filter(None, (owner(pid) for owner in owners)), "")

    def evidence(self, units: List[str]) -> Dict[str, List[str]]:
        """Return lines for each unit, the state first; nothing for those of which nothing is known."""
        told = {unit: self._evidence(unit) for unit in units}
        return {unit: [line[:_MAX_CHARS] for line in lines] for unit, lines in told.items() if lines}

    def restart(self, units: List[str]) -> List[str]:
        """Begin to restart units; returns which."""
        chosen: List[str] = []
        for init in self._running:
            chosen += init.restart([unit for unit in units if unit not in chosen])
        return chosen

    def failed_lately(self) -> List[str]:
        """Return the units that failed in the last week, as far as anybody remembers."""
        return sorted({name for init in self._running for name in init.failed_lately()})

    def mains(self) -> Dict[str, Main]:
        """Return the processes that are kept running by those who do not count their starts."""
        return {name: main for init in reversed(self._running) for name, main in init.mains().items()}

    def _evidence(self, unit: str) -> List[str]:
        return next(filter(None, (init.evidence(unit) for init in self._running)), [])


def home_of_services(places: Places) -> List[Init]:
    """Return whom a service can be given to: those that run the guest, else those that would."""
    able = [kind for kind in KINDS if kind.takes_services]
    running = [kind(places) for kind in able if kind.runs(places)]
    return running or [kind(places) for kind in able if kind.is_installed(places)]
