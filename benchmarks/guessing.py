"""Guess passwords at a real service: none gets in, others are served, and memory returns.

Run ``make bench``, or ``python -m benchmarks.guessing`` for this one alone. One run guesses from one address,
which the service soon refuses to listen to; the other from many addresses and names, so that each guess costs
it the work of argon2.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

GUESSES = 10_000
#: Each of these takes the service the whole work of argon2.
SPREAD_GUESSES = 500
AT_ONCE = 32
ACCOUNT, PASSWORD = "ana", "the password that nobody guesses"
RESULTS = Path("build/bench/guessing.json")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one run has shown."""

    guesses: int
    seconds: float
    #: How the guesses were answered, by HTTP status; 201 would be a way in.
    answers: dict[int, int]
    #: What a caller who is within waited for an answer meanwhile, in milliseconds.
    others_median: float
    others_p99: float
    #: Resident memory in MiB: before, at most, and after.
    memory: tuple[float, float, float]


class Service:
    """A service with simulated machines and one account."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "s.sock"
        self._innkeeper = [sys.executable, "-m", "innkeeper.cli", "--socket", str(self._socket)]
        self._log = directory / "log"

    def start(self) -> None:
        """Run it until it listens."""
        command = [*self._innkeeper, "serve", "--fake", "--listen", "127.0.0.1:0"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--state-dir", str(self._directory / "state"), "--log-json"], stderr=log
            )
        deadline = time.monotonic() + 60
        while "service_ready" not in self._log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        add = ["user", "add", ACCOUNT, "--role", "viewer", "--password-file", "-"]
        subprocess.run(
            [*self._innkeeper, *add], input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    @property
    def url(self) -> str:
        """Where it listens."""
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{"))
        return str(next(line["addresses"].split()[0] for line in lines if line["event"] == "listening"))

    @property
    def memory(self) -> float:
        """What it holds in memory, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


async def guess(service: Service, *, spread: bool) -> Told:
    """All guesses, while somebody else works."""
    within = httpx.AsyncClient(base_url=service.url, timeout=60)
    entered = await within.post("/v1/login", json=_login(ACCOUNT, PASSWORD))
    within.headers["Authorization"] = f"Bearer {entered.json()['token']}"
    before, answers = service.memory, collections.Counter[int]()
    guesses = SPREAD_GUESSES if spread else GUESSES
    numbers = iter(range(guesses))
    begun = time.monotonic()
    watching = asyncio.create_task(_watch(service, within))
    await asyncio.gather(*(_guess(service.url, numbers, answers, spread, each) for each in range(AT_ONCE)))
    seconds = time.monotonic() - begun
    watching.cancel()
    most, waits = await watching
    await asyncio.sleep(2)
    await within.aclose()
    return Told(
        guesses=guesses,
        seconds=round(seconds, 1),
        answers=dict(answers),
        others_median=round(statistics.median(waits), 1),
        others_p99=round(statistics.quantiles(waits, n=100)[98], 1),
        memory=(round(before), round(most), round(service.memory)),
    )


async def _guess(
    url: str, numbers: Iterator[int], answers: collections.Counter[int], spread: bool, guesser: int
) -> None:
    """One of those who guess; each request from another address where they are spread."""
    transport = httpx.AsyncHTTPTransport()
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=120) as http:
        for number in numbers:
            name = f"user{number}" if spread else ACCOUNT
            if not spread:
                answer = await http.post("/v1/login", json=_login(name, f"guess number {number}"))
            else:
                answer = await _from_elsewhere(url, number, name)
            answers[answer.status_code] += 1


async def _from_elsewhere(url: str, number: int, name: str) -> httpx.Response:
    """From another of the loopback's addresses."""
    address = f"127.{1 + number % 200}.{number // 200 % 250}.1"
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=120) as http:
        return await http.post("/v1/login", json=_login(name, f"guess number {number}"))


async def _watch(service: Service, within: httpx.AsyncClient) -> tuple[float, list[float]]:
    """Read a machine again and again: how much memory the service had at most, and each wait."""
    most, waits = 0.0, []
    try:
        while True:
            asked = time.monotonic()
            (await within.get("/v1/machines/web-1")).raise_for_status()
            waits.append((time.monotonic() - asked) * 1000)
            most = max(most, service.memory)
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return most, waits


def _login(user: str, password: str) -> dict[str, str]:
    return {"user": user, "domain": "local", "password": password}


def main() -> None:
    """Guess both ways, and print what was seen."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["one address", "many addresses"], help="one of the two ways")
    only = parser.parse_args().only
    found = {}
    for way, spread in (("one address", False), ("many addresses", True)):
        if only not in (None, way):
            continue
        with tempfile.TemporaryDirectory() as directory:
            service = Service(Path(directory))
            service.start()
            try:
                told = asyncio.run(guess(service, spread=spread))
            finally:
                service.stop()
        found[way] = dataclasses.asdict(told)
        print(f"{way}: {json.dumps(found[way])}", flush=True)
        if 201 in told.answers:
            raise SystemExit("A guess got in.")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
