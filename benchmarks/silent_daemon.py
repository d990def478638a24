"""Stop and continue a libvirtd under load, again and again: nothing crashes, and it is soon back.

A libvirtd of this user's own, eight callers that list machines, read definitions and statistics without
end, and rounds of SIGSTOP and SIGCONT. By default the wire is cut after 2 s of silence, to get through many
rounds; ``--as-served`` leaves the 20 s of the service. ``--silences 24 3 42`` are the lengths in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.domain.template import domain_type
from innkeeper.hypervisor.libvirt import lanes, libvirt_host
from innkeeper.machines.ports.host import Host
from innkeeper.wire.events import Event, EventKind, Publish
from innkeeper.wire.states import Accelerator

#: The type of domains whose processor never runs.
EMULATED = domain_type(Accelerator.TCG)
_CALLERS = 8
_MACHINES = 4
_MACHINE = (
    f"<domain type='{EMULATED}'>"
    "<name>m{}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
)


def main() -> None:
    """Run the rounds, and print what became of the calls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--as-served", action="store_true", help="keep the service's own 20 s of patience")
    parser.add_argument("--silences", type=float, nargs="+", help="seconds of silence, in turn")
    options = parser.parse_args()
    if shutil.which("libvirtd") is None:
        print("libvirtd is not installed.")
        return
    if not options.as_served:
        lanes.KEEPALIVE = lanes.Keepalive(interval_seconds=1, tries=1)
    lengths = options.silences or [24.0 if options.as_served else 3.5]
    silences = list(itertools.islice(itertools.cycle(lengths), options.rounds))
    with _daemon() as (process, uri, home):
        asyncio.run(_rounds(process, uri, home, silences))


async def _rounds(daemon: subprocess.Popen[bytes], uri: str, home: Path, silences: Sequence[float]) -> None:
    events: list[str] = []
    answered, refused, back = [0], [0], []
    processor = time.process_time()

    is_connected = asyncio.Event()

    def hear(event: Event) -> None:
        events.append(event.kind)
        if event.kind == EventKind.HOST_CONNECTED:
            is_connected.set()

    async def call(host: Host, number: int) -> None:
        while True:
            try:
                await _call(host, number)
                answered[0] += 1
            except InnkeeperError:
                refused[0] += 1
            await asyncio.sleep(0.03)

    async with _host(uri, home, hear) as host:
        await asyncio.wait_for(is_connected.wait(), 60)
        events.clear()
        for number in range(_MACHINES):
            await host.definitions.define(_MACHINE.format(number))
        callers = [asyncio.create_task(call(host, number)) for number in range(_CALLERS)]
        for silence_seconds in silences:
            await asyncio.sleep(0.5)
            daemon.send_signal(signal.SIGSTOP)
            await asyncio.sleep(silence_seconds)
            daemon.send_signal(signal.SIGCONT)
            back.append(await _seconds_until_back(host))
        for each in callers:
            each.cancel()
        await asyncio.wait(callers)
    cut_after = lanes.KEEPALIVE.interval_seconds * (lanes.KEEPALIVE.tries + 1)
    print(
        f"{len(silences)} rounds of {min(silences):g} to {max(silences):g} s of silence, {_CALLERS} callers"
    )
    print(f"  rounds longer than {cut_after:>3} s          {sum(each > cut_after for each in silences):>8,}")
    print(f"  rounds longer than  40 s          {sum(each > 40 for each in silences):>8,}")
    print(f"  calls answered                 {answered[0]:>8,}")
    print(f"  calls told that it is away     {refused[0]:>8,}")
    print(f"  wires lost                     {events.count(EventKind.HOST_LOST):>8,}")
    print(f"  back after SIGCONT, s          {statistics.median(back):>8.2f} (at most {max(back):.2f})")
    print(f"  processor time of this process, s {time.process_time() - processor:>8.0f}")
    print("  crashes of this process               0: it would not have come here")


async def _call(host: Host, number: int) -> None:
    if number % 3 == 0:
        await host.usage.read()
    elif number % 2:
        await host.configurations.read(f"m{number % _MACHINES}")
    else:
        await host.inventory.list()


async def _seconds_until_back(host: Host) -> float:
    began = time.monotonic()
    while True:
        with contextlib.suppress(InnkeeperError):
            await host.inventory.list()
            return time.monotonic() - began
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _host(uri: str, home: Path, hear: Publish) -> AsyncIterator[Host]:
    host = libvirt_host(name="far", uri=uri, publish=hear, state_directory=home)
    await host.connection.open()
    try:
        yield host
    finally:
        await host.connection.close()


@contextlib.contextmanager
def _daemon() -> Iterator[tuple[subprocess.Popen[bytes], str, Path]]:
    with tempfile.TemporaryDirectory(prefix="ik-", dir="/tmp") as name:
        home = Path(name)
        (home / "run").mkdir(mode=0o700)
        places = (("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache"))
        environment = os.environ | {f"XDG_{each}": str(home / directory) for each, directory in places}
        process = subprocess.Popen(["libvirtd"], env=environment, stderr=subprocess.DEVNULL)
        try:
            yield process, f"qemu+unix:///session?socket={home}/run/libvirt/libvirt-sock", home
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
