"""Whole services, killed at any instant of a night: on real guests, and on simulated machines."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import GuestDisk
from tests.hypervisor.service import Service
from tests.night.kills.trial import Outcome, digest
from tests.updates import mortal_service

_ROOT = Path(__file__).parents[3]
_LIFE_SECONDS = 200.0
_MOST_KILLS = 4
#: About as long as a night lasts, and as long as a simulated one: kills come within it.
_NIGHT_S = 25.0
_SIMULATED_NIGHT_S = 8.0
#: An inn with two machines, made once for all nights; one in which a night failed is kept as it is.
_INN = Path(f"/tmp/ik-nights-{os.getuid()}")


# Real guests


def trial(chance: random.Random, directory: Path) -> Outcome:
    """A good update of a machine that runs, and a bad one of a machine that is off."""
    outcome = Outcome(storage="raw, real guests")
    if not (_INN / "ready").exists():
        shutil.rmtree(_INN, ignore_errors=True)
        _INN.mkdir()
        _night(random.Random(), directory, "first", 0, outcome)
        (_INN / "ready").touch()
    if not outcome.faults:
        kills = chance.randint(1, _MOST_KILLS)
        _night(chance, directory, f"night-{time.time_ns()}", kills, outcome)
    Service(_INN).kill_qemu()  # the next night begins with a start
    if outcome.faults:
        _INN.rename(directory / "inn")
    return outcome


def _night(chance: random.Random, directory: Path, identifier: str, kills: int, outcome: Outcome) -> None:
    """Let the service live through one night, killing it and the machines' QEMU."""
    before = digest(_INN / "bad.raw") if (_INN / "bad.raw").exists() else ""
    night = {
        "identifier": identifier, "updates": {"good": "fill", "bad": "fill break"}, "running": ["good"],
        "step": "none", "machine": "good", "how": "before",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.night.program", str(_INN), json.dumps(night)]
    ended = None
    for _ in range(kills):
        victim = chance.choice(("service", "service", "QEMU"))
        ended = _live(command, directory, victim, chance.uniform(0.5, _NIGHT_S), outcome)
        if ended is not None:
            break
    if ended is None:
        ended = _live(command, directory, "", 0, outcome)
    if ended is not None and ended != "":
        _judge(json.loads(ended), identifier, before, outcome)


def _live(command: Sequence[str], directory: Path, victim: str, wait: float, outcome: Outcome) -> str | None:
    """One life of the service; returns its last line, or ``None`` where it was killed before that."""
    environment = os.environ | {"PYTHONPATH": f"{_ROOT}/src:{_ROOT}", "INNKEEPER_TEST_CACHE": str(_cache())}
    with (directory / "log").open("a") as log, subprocess.Popen(
        command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        try:
            said, _ = process.communicate(timeout=wait if victim else _LIFE_SECONDS)
        except subprocess.TimeoutExpired:
            outcome.kills.append(victim or "stuck")
            if victim == "QEMU":
                Service(_INN).kill_qemu()
                said, _ = process.communicate(timeout=_LIFE_SECONDS)
            else:
                process.kill()
                said, _ = process.communicate()
                return None
    if process.returncode:
        log_end = (directory / "log").read_text()[-2000:]
        outcome.faults.append(f"the service ended with {process.returncode}: {log_end}")
        return ""
    return said.splitlines()[-1]


def _judge(message: Mapping[str, Any], identifier: str, before: str, outcome: Outcome) -> None:
    good, bad = message["good"], message["bad"]
    outcome.ended = f"{good['verdict']}, {bad['verdict']}".replace("_", " ")
    allowed = {"kept"} if "QEMU" not in outcome.kills else {"kept", "rolled_back", "not_started"}
    if good["verdict"] not in allowed or bad["verdict"] not in {"rolled_back", *(allowed - {"kept"})}:
        outcome.faults.append(f"verdicts: {message}")
    if (identifier.encode() in (_INN / "good.raw").read_bytes()) is not (good["verdict"] == "kept"):
        outcome.faults.append(f"{good['verdict']}, and the disk says otherwise")
    if before and digest(_INN / "bad.raw") != before:
        outcome.faults.append("the base of the bad update was written to")
    outcome.faults += [
        f"{name} stands on {each['disks']}"
        for name, each in message.items()
        if each["disks"] != [str(_INN / f"{name}.raw")]
    ]
    if bad["runs"] or (good["verdict"] != "not_started" and not good["runs"]):
        outcome.faults.append(f"the machines are not in their former state: {message}")
    if left := [path.name for path in _INN.rglob("*.innkeeper-*")]:
        outcome.faults.append(f"left over: {left}")


def _cache() -> Path:
    configured = os.environ.get("INNKEEPER_TEST_CACHE")
    return Path(configured) if configured else Path.home() / ".cache/innkeeper-tests"


# Simulated machines


def simulated(chance: random.Random, directory: Path) -> Outcome:
    """A service with its real journal and a simulated machine, good or bad."""
    outcome = Outcome(storage="simulated, real journal")
    context, version = chance.choice((("good", "1.0-2"), ("bad", "1.0-1")))
    state = directory / "inn"
    command = [sys.executable, mortal_service.__file__, str(state), context, ""]
    state.mkdir()
    said = None
    for _ in range(chance.randint(1, _MOST_KILLS)):
        said = _live(command, directory, "service", chance.uniform(0.5, _SIMULATED_NIGHT_S), outcome)
        if said is not None:
            break
    if said is None:
        said = _live(command, directory, "", 0, outcome)
    if said is None or outcome.faults:
        return outcome
    outcome.ended, state_name = said.split()
    if (outcome.ended == "kept") is not (context == "good") or state_name != "RUNNING":
        outcome.faults.append(said)
    outcome.ended = outcome.ended.replace("_", " ")
    if left := list(state.rglob("*.innkeeper-*")):
        outcome.faults.append(f"left over: {left}")
    disk = GuestDisk.from_bytes(fake_disks.read(str(state / "fake/disks/web-1.img")))
    if disk.packages["base"] != version:
        outcome.faults.append(f"{said}, and the guest has {disk.packages['base']}")
    return outcome
