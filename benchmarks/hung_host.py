"""What a host that hangs costs the others: their calls before, while it is silent, and after.

Three libvirtds of this user's own behind one service. Eight callers read machines of the two healthy hosts
and list all machines; then the third daemon is stopped (SIGSTOP) for ``--seconds``, and goes on again. The
figure is the ratio of the 99th percentiles, hung to whole: as it was before and is afterwards, as long each,
since what else the computer does changes meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.domain.template import domain_type
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.wire.states import Accelerator
from tests.hypervisor.daemons import Daemon, a_home

#: The type of domains whose processor never runs.
EMULATED = domain_type(Accelerator.TCG)
_CALLERS = 8
_MACHINES = 20
_PAUSE_S = 0.02
_HOSTS = ("attic", "cellar", "hung")
_MACHINE = (
    f"<domain type='{EMULATED}'>"
    "<name>{}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the daemon hangs")
    options = parser.parse_args()
    if shutil.which("libvirtd") is None:
        print("libvirtd is not installed.")
        return
    with contextlib.ExitStack() as stack:
        daemons = [stack.enter_context(_daemon()) for _ in _HOSTS]
        home = stack.enter_context(a_home())
        asyncio.run(_measure(daemons, home, options.seconds))


@contextlib.contextmanager
def _daemon() -> Iterator[Daemon]:
    with a_home() as home:
        daemon = Daemon(home)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.kill()


async def _measure(daemons: list[Daemon], home: Path, seconds: float) -> None:
    uris = tuple(f"{name}={daemon.uri}" for name, daemon in zip(_HOSTS, daemons, strict=True))
    async with open_house(Settings(state_dir=home, socket=home / "s", hypervisors=uris)) as house:
        await _furnish(house)
        whole = await _calls(house, seconds)
        daemons[-1].stop()
        hung = await _calls(house, seconds)
        daemons[-1].go_on()
        await _until_back(house)
        after = await _calls(house, seconds)
    print(f"one of {len(_HOSTS)} daemons hangs for {seconds:g} s, {_CALLERS} callers; milliseconds")
    print(f"{'':<34}{'p50':>8}{'p99':>8}{'most':>9}{'calls':>9}")
    for kind in whole:
        for when, taken in (("whole", whole), ("hung", hung), ("back", after)):
            print(_line(f"{kind}, {when}", taken[kind]))
        ratio = _p99(hung[kind]) / _p99(whole[kind] + after[kind])
        print(f"{'':<34}{'hung to whole, p99':>25} {ratio:.2f}")


async def _furnish(house: House) -> None:
    for name in _HOSTS:
        host = house.machines.hosts[name]
        for number in range(_MACHINES):
            while True:
                try:
                    await host.definitions.define(_MACHINE.format(f"{name}-{number}"))
                    break
                except InnkeeperError:  # it is not connected yet
                    await asyncio.sleep(0.1)


async def _calls(house: House, seconds: float) -> dict[str, list[float]]:
    """The milliseconds of each call, by its kind."""
    taken: dict[str, list[float]] = {"a healthy host's machine": [], "all machines": []}
    until = time.monotonic() + seconds

    async def timed(kind: str, call: Callable[[], Awaitable[object]]) -> None:
        began = time.monotonic()
        await call()
        taken[kind].append((time.monotonic() - began) * 1000)

    async def caller(number: int) -> None:
        machine = f"{_HOSTS[number % 2]}-{number}"
        while time.monotonic() < until:
            await timed("a healthy host's machine", lambda: house.machines.get(machine))
            if number == 0:
                await timed("all machines", house.machines.list)
            await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(caller(number) for number in range(_CALLERS)))
    return taken


async def _until_back(house: House) -> None:
    while True:
        with contextlib.suppress(InnkeeperError):
            await house.machines.hosts[_HOSTS[-1]].inventory.list()
            return
        await asyncio.sleep(0.1)


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else values[0]


def _line(name: str, values: list[float]) -> str:
    return (
        f"{name:<34}{statistics.median(values):>8.1f}{_p99(values):>8.1f}{max(values):>9.1f}{len(values):>9,}"
    )


if __name__ == "__main__":
    main()
