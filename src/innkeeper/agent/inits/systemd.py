"""systemd: units, with a journal."""

import os
from typing import List

from innkeeper.agent.command import ask
from innkeeper.agent.denials import denials
from innkeeper.agent.inits import systemd_units
from innkeeper.agent.inits.agent_files import LAUNCHER, SERVICE, put, take_away
from innkeeper.agent.inits.init import Init, Owner
from innkeeper.agent.inits.lingering import user_units
from innkeeper.agent.inits.systemd_evidence import last_words, state
from innkeeper.agent.inits.systemd_groups import unit_of
from innkeeper.agent.inits.unit import Look
from innkeeper.agent.places import Places, read_text
from innkeeper.agent.plugin import PluginError

_SYSTEM = "etc/systemd/system"
_UNIT = _SYSTEM + "/" + SERVICE + ".service"
_WANTS = _SYSTEM + "/multi-user.target.wants/" + SERVICE + ".service"
_ASK_S = 20.0

# Early, and bound to nothing: the host waits for the agent before it judges the boot. Not bound to
# the port's device unit either, for udev tags only qemu-guest-agent's port for systemd.
_UNIT_TEXT = """\
[Unit]
Description=Innkeeper task agent
DefaultDependencies=no
After=systemd-udev-trigger.service systemd-remount-fs.service local-fs.target
Wants=local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/{launcher} run
Restart=always
RestartSec=1
OOMScoreAdjust=-500
KillMode=process

[Install]
WantedBy=multi-user.target
"""


class Systemd(Init):
    """The system's manager, and those of users who linger."""

    name = "systemd"

    @classmethod
    def runs(cls, places: Places) -> bool:
        """Return whether it runs this guest."""
        return places.has_systemd

    @classmethod
    def is_installed(cls, places: Places) -> bool:
        """Return whether it has a folder for units."""
        return os.path.isdir(places.under(_SYSTEM))

    def look(self) -> Look:
        """Ask it for all units at once."""
        known = systemd_units.properties()
        of_users = user_units(self._places)
        managers = sorted({unit.name.partition("/")[0] for unit in of_users})
        again = systemd_units.restarts_of_users(managers)
        # Exit codes say the same again: any state but "running" is one.
        said = ask(["systemctl", "is-system-running"], timeout=_ASK_S).output
        return Look(
            units=[
                *systemd_units.units(known),
                *(unit._replace(restarts=again.get(unit.name, 0)) for unit in of_users),
            ],
            failed=systemd_units.failed(known),
            files=[*systemd_units.unit_files(self._places), *(unit.name for unit in of_users)],
            state=said.strip().split("\n")[-1],
            mounts=systemd_units.mounts(known),
            swaps=systemd_units.swaps(known),
        )

    def failed_lately(self) -> List[str]:
        """Return what its journal has seen fail."""
        return systemd_units.failed_lately()

    def owner(self) -> Owner:
        """Return what reads a process' control group."""
        return lambda pid: unit_of(read_text(self._places.under("proc/{}/cgroup".format(pid))))

    def evidence(self, unit: str) -> List[str]:
        """Return how a unit has ended, what it was denied, and its last lines in the journal."""
        return [*state(unit), *denials(unit), *last_words(unit)]

    def restart(self, units: List[str]) -> List[str]:
        """Ask for it, and do not wait."""
        chosen = [unit for unit in units if unit.endswith(".service")]
        if not chosen:
            return []
        answer = ask(["systemctl", "try-restart", "--no-block", "--", *chosen], timeout=60.0)
        return chosen if answer.code == 0 else []

    def install(self) -> str:
        """Write a unit, enable it, and start it where systemd runs."""
        put(self._places, _UNIT, _UNIT_TEXT.format(launcher=LAUNCHER).encode(), 0o644)
        if not self.runs(self._places):
            wants = self._places.under(_WANTS)
            os.makedirs(os.path.dirname(wants), exist_ok=True)
            if not os.path.lexists(wants):
                os.symlink("/" + _UNIT, wants)
            return "Installed; it starts with the next boot."
        self._ask(["daemon-reload"], ["enable", SERVICE + ".service"], ["restart", "--no-block", SERVICE])
        return "Installed and started."

    def remove(self) -> bool:
        """Disable the unit and take it away; what it runs is stopped last."""
        there = os.path.lexists(self._places.under(_UNIT))
        take_away(self._places, _WANTS, _UNIT)
        if there and self.runs(self._places):
            self._ask(["daemon-reload"], ["stop", "--no-block", SERVICE])
        return there

    def _ask(self, *commands: List[str]) -> None:
        for words in commands:
            answer = ask(["systemctl", *words])
            if answer.code != 0:
                said = answer.output.strip()[:300]
                raise PluginError("systemctl {} failed: {}".format(" ".join(words), said))
