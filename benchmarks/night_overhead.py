"""Measure the night's own cost: an update run less what its guest needed, beside the same steps by hand.

A machine of the demo, found running or off, is updated by Innkeeper and then, on a fresh copy of its disk,
with ``virsh`` and ``qemu-img`` as by a careful person: baseline, checksum, undo point, update, health, merge.
What the guest needs for boot, update and reboot is taken off both; the rest is the cost.
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import itertools
import json
import os
import shlex
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

import innkeeper
from demo.guest.image import GuestImage, build_image
from demo.machines import GUESTS, Guest, disk_of, how_they_run, set_up
from demo.place import Place, image_cache
from demo.service import Service, end_leftovers
from innkeeper.wire.messages import WindowRequest
from innkeeper.wire.states import MachineState

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "night_overhead.json"
_PATIENCE_SECONDS = 300.0
_FIND_FAULTS = "systemctl list-units --failed --plain --no-legend; dpkg --audit; ls /run/reboot-required"
_UPGRADE = "apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y upgrade"
#: Phases of a run that wait for the guest's own boot, update and reboot.
_GUEST_PHASES = frozenset({"wake", "agent", "update", "reboot", "rest"})


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Seconds of one update, part by part."""

    parts: dict[str, float]
    #: Of these, the guest's own.
    guest: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.parts.values())

    @property
    def own(self) -> float:
        """What the night cost beside the guest's own time."""
        return self.total - self.guest


class Virsh:
    """One virsh at whose prompt a person sits: each new one of the embedded driver has to settle first."""

    _PROMPT = "virsh # "

    def __init__(self, uri: str) -> None:
        self._process = subprocess.Popen(
            ["virsh", "--quiet", "--connect", uri], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def run(self, *arguments: str) -> str:
        """Type one command and read what it prints."""
        typed, printed = self._process.stdin, self._process.stdout
        assert typed is not None
        assert printed is not None
        # virsh repeats what it reads: once it repeats the second command, the first has ended.
        typed.write(f"{shlex.join(arguments)}\necho\n")
        lines = itertools.takewhile(lambda line: f"{self._PROMPT}echo" not in line, printed)
        return "".join(line for line in lines if self._PROMPT not in line).strip()

    def close(self) -> None:
        """Leave the prompt; machines go on."""
        self._process.communicate("quit\n", timeout=30)


class ByHand:
    """The steps of a careful person with virsh and qemu-img."""

    def __init__(self, guest: Guest, place: Place) -> None:
        self._guest = guest
        self._place = place
        self._shell = Virsh(place.uri)
        self._disk = disk_of(guest, place.machines)
        self._overlay = self._disk.with_suffix(".undo")
        self._parts: dict[str, float] = {}

    def running(self) -> Timing:
        """Update a machine that runs and goes on running."""
        self._virsh("start", self._guest.name)
        self._wait_for_guest()
        self._timed("baseline", lambda: self._in_guest(_FIND_FAULTS))
        self._timed("checksum", lambda: _run("sha256sum", self._disk))
        self._timed("undo point", self._snapshot)
        self._timed("update", lambda: self._in_guest(_UPGRADE))
        self._timed("health", lambda: self._in_guest(_FIND_FAULTS))
        self._timed("merge", self._merge_live)
        self._virsh("destroy", self._guest.name)
        self._shell.close()
        return Timing(parts=self._parts, guest=self._parts["update"])

    def off(self) -> Timing:
        """Update a machine that is off, and leave it off."""
        self._timed("checksum", lambda: _run("sha256sum", self._disk))
        self._timed("undo point", self._overlay_offline)
        self._timed("boot", self._boot)
        self._timed("baseline", lambda: self._in_guest(_FIND_FAULTS))
        self._timed("update", lambda: self._in_guest(_UPGRADE))
        self._timed("reboot", self._reboot)
        self._timed("health", lambda: self._in_guest(_FIND_FAULTS))
        self._timed("power off", self._power_off)
        self._timed("merge", self._merge_offline)
        self._shell.close()
        guest = sum(self._parts[part] for part in ("boot", "update", "reboot", "power off"))
        return Timing(parts=self._parts, guest=guest)

    def _timed(self, part: str, step: Callable[[], object]) -> None:
        began = time.monotonic()
        step()
        self._parts[part] = time.monotonic() - began

    def _snapshot(self) -> None:
        self._virsh("domfsfreeze", self._guest.name)
        self._virsh(
            "snapshot-create-as", self._guest.name, "--disk-only", "--atomic", "--no-metadata",
            "--diskspec", f"vda,file={self._overlay}",
        )  # fmt: skip
        self._virsh("domfsthaw", self._guest.name)

    def _merge_live(self) -> None:
        self._virsh("blockcommit", self._guest.name, "vda", "--active", "--pivot", "--wait")
        self._overlay.unlink()

    def _overlay_offline(self) -> None:
        _run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self._disk, self._overlay)
        self._name_disk(self._disk, self._overlay)

    def _merge_offline(self) -> None:
        _run("qemu-img", "commit", "-q", self._overlay)
        self._name_disk(self._overlay, self._disk)
        self._overlay.unlink()

    def _name_disk(self, old: Path, new: Path) -> None:
        definition = self._virsh("dumpxml", "--inactive", self._guest.name).replace(f"'{old}'", f"'{new}'")
        path = self._place.machines / "by-hand.xml"
        path.write_text(definition)
        self._virsh("define", str(path))

    def _boot(self) -> None:
        self._virsh("start", self._guest.name)
        self._wait_for_guest()

    def _reboot(self) -> None:
        before = self._in_guest("cat /proc/sys/kernel/random/boot_id")
        self._virsh("reboot", self._guest.name, "--mode", "agent")
        _wait(
            lambda: self._guest_answers() and self._in_guest("cat /proc/sys/kernel/random/boot_id") != before
        )

    def _power_off(self) -> None:
        self._virsh("shutdown", self._guest.name, "--mode", "agent")
        _wait(lambda: "shut off" in self._virsh("domstate", self._guest.name))

    def _wait_for_guest(self) -> None:
        _wait(lambda: self._guest_answers() and "running" in self._in_guest("systemctl is-system-running"))

    def _guest_answers(self) -> bool:
        return self._try_agent({"execute": "guest-ping"}) is not None

    def _in_guest(self, script: str) -> str:
        """Run a script in the guest and wait for its end; returns what it printed."""
        arguments = {"path": "/bin/sh", "arg": ["-c", script], "capture-output": True}
        started = self._try_agent({"execute": "guest-exec", "arguments": arguments})
        if started is None:
            return ""
        pid = json.loads(started)["return"]["pid"]
        ended = _wait(lambda: self._exit_of(pid))
        return base64.b64decode(json.loads(ended)["return"].get("out-data", "")).decode()

    def _exit_of(self, pid: int) -> str | None:
        told = self._try_agent({"execute": "guest-exec-status", "arguments": {"pid": pid}})
        return told if told is not None and json.loads(told)["return"]["exited"] else None

    def _try_agent(self, request: dict[str, object]) -> str | None:
        told = self._shell.run("qemu-agent-command", self._guest.name, json.dumps(request))
        return None if "error:" in told else told[told.index("{") :]

    def _virsh(self, *arguments: str) -> str:
        told = self._shell.run(*arguments)
        if "error:" in told:
            raise RuntimeError(f"virsh {arguments[0]}: {told}")
        return told


def by_innkeeper(guest: Guest, place: Place) -> Timing:
    """Let Innkeeper do it, with no soak: a soak is a wait that somebody chose."""
    service = Service(place, soak_seconds=0)
    inn = service.start()
    try:
        machine = inn.machines[guest.name]
        if guest.state is MachineState.RUNNING:
            machine.startup().wait(_PATIENCE_SECONDS)
            _wait(lambda: machine.read().agent_connected)
        inn.windows.add(_open_window())
        update = machine.updates.book(label="Benchmark", identifier="benchmark")
        _wait(lambda: update.verdict is not None)
        return _timing(update)
    finally:
        service.stop()


def _timing(update: innkeeper.Update) -> Timing:
    report = update.report
    if report is None or report.verdict is not innkeeper.Verdict.KEPT:
        raise RuntimeError(f"the update was not kept: {update.reason}")
    parts = {phase.name: phase.seconds for phase in report.phases}
    return Timing(parts=parts, guest=sum(parts[name] for name in parts.keys() & _GUEST_PHASES))


def _open_window() -> WindowRequest:
    now = time.gmtime(time.time() - 60)
    return WindowRequest.model_validate(
        {"name": "bench", "dates": [time.strftime("%Y-%m-%d", now)],
         "opens_at": time.strftime("%H:%M", now), "duration_seconds": 3 * 3600}
    )  # fmt: skip


def _wait(ready: Callable[[], bool | str | None]) -> str:
    """Ask until there is an answer; returns it."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := ready():
            return str(answer)
        time.sleep(0.2)
    raise TimeoutError(f"no answer in {_PATIENCE_SECONDS:.0f} s")


def _run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def measure(guest: Guest, image: GuestImage, place: Place) -> dict[str, Timing]:
    """Update one machine both ways, each from a fresh copy of its disk."""
    timings: dict[str, Timing] = {}
    for name in ("innkeeper", "by hand"):
        end_leftovers(place)
        place.clear()
        set_up([guest], image, place, how_they_run(image))
        try:
            if name == "innkeeper":
                timings[name] = by_innkeeper(guest, place)
            else:
                hand = ByHand(guest, place)
                timings[name] = hand.running() if guest.state is MachineState.RUNNING else hand.off()
        finally:
            end_leftovers(place)
    return timings


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    rounds = parser.parse_args().rounds
    place = Place(root=Path.home() / ".inn-bench")
    image = build_image(image_cache(), lambda line: None)
    web, _, old = GUESTS
    scenes = {"running": web, "off, with a reboot": dataclasses.replace(old, state=MachineState.TURNED_OFF)}
    results = {
        scene: [measure(guest, image, place) for _ in range(rounds)] for scene, guest in scenes.items()
    }
    _print(results)
    _write(results)


def _print(results: dict[str, list[dict[str, Timing]]]) -> None:
    table = Table("found", "how", "run s", "guest's own s", "cost s", "cost % of run", "parts", box=None)
    for scene, rounds in results.items():
        for how in rounds[0]:
            timings = [each[how] for each in rounds]
            total, own = (
                statistics.median(values) for values in zip(*((t.total, t.own) for t in timings), strict=True)
            )
            parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in timings[0].parts.items())
            share = f"{100 * own / total:.1f}"
            table.add_row(scene, how, f"{total:.1f}", f"{total - own:.1f}", f"{own:.2f}", share, parts)
    Console(width=160).print(table)


def _write(results: dict[str, list[dict[str, Timing]]]) -> None:
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "cores": os.cpu_count(),
        "results": {
            scene: [{how: dataclasses.asdict(timing) for how, timing in each.items()} for each in rounds]
            for scene, rounds in results.items()
        },
    }
    _OUT.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
