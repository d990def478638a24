"""Measure channels beside QEMU's port forwarding, a raw virtio-serial port and qemu-guest-agent.

One tiny guest in software emulation, one run, the ways in turn: ``python -m benchmarks.channels``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.channel.guest import BenchGuest, booted
from benchmarks.channel.ways import (
    Connect,
    GuestAgent,
    RawPort,
    ServiceProcess,
    download,
    forwarded,
    percentile,
    processor_seconds,
    round_trips,
    upload,
)

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "channels.json"
_MB = 1 << 20
_STREAMS = 8

#: Results of one way: the name of a figure, and its value in each round.
Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print a table, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=32)
    parser.add_argument("--trips", type=int, default=2000)
    options = parser.parse_args()
    ways: dict[str, Figures] = {}
    with booted() as guest, tempfile.TemporaryDirectory(prefix="ch-", dir="/tmp") as pipes:
        service = ServiceProcess(guest.agent_port, Path(pipes))
        try:
            _wait_for_network()
            raw, agent = RawPort(guest), GuestAgent(guest)
            for _ in range(options.rounds):
                _measure_channel(ways, service, guest, options)
                _measure_tcp(ways, "hostfwd", forwarded, options)
                _measure_raw(ways, raw, options)
                _measure_guest_agent(ways, agent, options)
        finally:
            service.end()
    _report({way: {name: statistics.median(v) for name, v in each.items()} for way, each in ways.items()})


def _measure_channel(
    ways: dict[str, Figures], service: ServiceProcess, guest: BenchGuest, options: argparse.Namespace
) -> None:
    _measure_tcp(ways, "channel", service.connect, options)
    size = options.megabytes * _MB
    for direction, move in (("up", upload), ("down", download)):
        before = processor_seconds(service.pid), processor_seconds(guest.pid)
        move(service.connect, size)
        used = [now - then for now, then in zip(_seconds(service, guest), before, strict=True)]
        _note(ways, "channel", f"service CPU s/GB {direction}", used[0] / size * 1e9)
        _note(ways, "channel", f"QEMU CPU s/GB {direction}", used[1] / size * 1e9)


def _seconds(service: ServiceProcess, guest: BenchGuest) -> tuple[float, float]:
    return processor_seconds(service.pid), processor_seconds(guest.pid)


def _measure_tcp(ways: dict[str, Figures], way: str, connect: Connect, options: argparse.Namespace) -> None:
    size = options.megabytes * _MB
    _note_trips(ways, way, round_trips(connect, options.trips))
    _note(ways, way, "up 1", upload(connect, size))
    _note(ways, way, "down 1", download(connect, size))
    with contextlib.suppress(ConnectionError):  # many streams at once break the forwarding now and then
        _note(ways, way, f"up {_STREAMS}", upload(connect, size, _STREAMS))
        _note(ways, way, f"down {_STREAMS}", download(connect, size, _STREAMS))


def _measure_raw(ways: dict[str, Figures], raw: RawPort, options: argparse.Namespace) -> None:
    _note_trips(ways, "raw port", raw.round_trips(options.trips))
    _note(ways, "raw port", "up 1", raw.upload(options.megabytes * _MB))
    _note(ways, "raw port", "down 1", raw.download(options.megabytes * _MB))


def _measure_guest_agent(ways: dict[str, Figures], agent: GuestAgent, options: argparse.Namespace) -> None:
    size = min(options.megabytes, 4) * _MB
    _note_trips(ways, "guest agent", agent.round_trips(options.trips // 4))
    _note(ways, "guest agent", "up 1", agent.upload(size))
    _note(ways, "guest agent", "down 1", agent.download(size))


def _note_trips(ways: dict[str, Figures], way: str, trips: list[float]) -> None:
    _note(ways, way, "p50 ms", percentile(trips, 50))
    _note(ways, way, "p99 ms", percentile(trips, 99))


def _note(ways: dict[str, Figures], way: str, name: str, value: float) -> None:
    ways.setdefault(way, {}).setdefault(name, []).append(value)


def _wait_for_network() -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, RuntimeError):
            round_trips(forwarded, 2)
            return
        time.sleep(0.5)
    raise RuntimeError("the guest's network did not come up")


def _report(ways: dict[str, dict[str, float]]) -> None:
    names = list(dict.fromkeys(name for figures in ways.values() for name in figures))
    made = Table("", *ways, box=None)
    for name in names:
        made.add_row(name, *(_shown(figures.get(name)) for figures in ways.values()))
    console = Console()
    console.print(made)
    for name, value, aim, holds in _verdicts(ways):
        console.print(f"{name}: {value:.2f} ({aim}) {'' if holds else 'missed'}")
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    _OUT.write_text(json.dumps({"load": os.getloadavg(), "ways": ways}, indent=2))


def _verdicts(ways: dict[str, dict[str, float]]) -> list[tuple[str, float, str, bool]]:
    channel, forward, agent = ways["channel"], ways["hostfwd"], ways["guest agent"]
    many = f" {_STREAMS}"
    ratios: list[tuple[str, float, str, Callable[[float], bool]]] = [
        ("round trip p50, ms", channel["p50 ms"], "at most 1.0", lambda v: v <= 1.0),
        ("round trip p99, ms", channel["p99 ms"], "at most 2.5", lambda v: v <= 2.5),
        (
            "guest to host / hostfwd",
            channel["down 1"] / forward["down 1"],
            "at least 1.5",
            lambda v: v >= 1.5,
        ),
        ("host to guest / hostfwd", channel["up 1"] / forward["up 1"], "at least 0.6", lambda v: v >= 0.6),
        (
            "guest to host / guest agent",
            channel["down 1"] / agent["down 1"],
            "at least 10",
            lambda v: v >= 10,
        ),
        ("host to guest / guest agent", channel["up 1"] / agent["up 1"], "at least 10", lambda v: v >= 10),
        (
            "8 streams / 1, host to guest",
            channel["up" + many] / channel["up 1"],
            "at least 1",
            lambda v: v >= 1,
        ),
        (
            "8 streams / 1, guest to host",
            channel["down" + many] / channel["down 1"],
            "at least 1",
            lambda v: v >= 1,
        ),
    ]
    return [(name, value, aim, holds(value)) for name, value, aim, holds in ratios]


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()
