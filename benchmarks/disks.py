"""Measure the disks room side by side with qemu-img and qemu-nbd, in one run.

Run ``make bench``, or ``python benchmarks/disks.py`` for this one alone. The files lie in the temporary
directory: set TMPDIR to measure another disk; about 12 GiB are needed. Everything is in the page cache.
Rounds are interleaved, so that a noisy moment hits all alike, and the shortest time of each is compared:
noise only ever adds.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from innkeeper import disks
from innkeeper.disks.compact import compact
from innkeeper.disks.file import ImageFile
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge

MIB, GIB = 1 << 20, 1 << 30
PIECE = 2 * MIB
RESULTS = Path("build/bench/disks.json")

Work = Callable[[], object]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """One way to do something."""

    name: str
    work: Work
    #: Puts everything back before each round; not measured.
    prepare: Work = bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """How two contenders should compare."""

    row: str
    ours: str
    theirs: str
    #: Ours takes at most this many times as long.
    most: float


def main() -> None:
    """Run all comparisons, print the tables and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="run the rows whose name holds this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as folder:
        bench = Bench(Path(folder), arguments.rounds, arguments.only)
        bench.run()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {"shortest": bench.results, "medians": bench.medians, "processor": bench.processor}, indent=1
        )
    )
    print(f"Load at the end: {os.getloadavg()[0]:.1f}")
    missed = bench.judge()
    if missed:
        print(f"{missed} goals missed on this run.")


class Bench:
    """One run."""

    def __init__(self, folder: Path, rounds: int, only: str) -> None:
        self.folder = folder
        self.rounds = rounds
        self.only = only
        #: The shortest time in seconds by row and contender, and the one in the middle.
        self.results: dict[str, dict[str, float]] = {}
        self.medians: dict[str, dict[str, float]] = {}
        #: The least processor time, which other work on the computer disturbs less.
        self.processor: dict[str, dict[str, float]] = {}
        self.goals: list[Goal] = []

    def run(self) -> None:
        """Measure every row."""
        for name, size in (("2 GiB", 2 * GIB), ("20 GiB sparse", 20 * GIB)):
            raw = self._raw(name, size)
            self._conversions(name, raw)
            self._compaction(name, raw)
            raw.unlink()
        self._merge()
        self._create()
        self._export()

    def judge(self) -> int:
        """Print each goal with what was measured; returns how many were missed."""
        missed = 0
        for goal in self.goals:
            ratio = self.results[goal.row][goal.ours] / self.results[goal.row][goal.theirs]
            middle = self.medians[goal.row][goal.ours] / self.medians[goal.row][goal.theirs]
            verdict = "met" if ratio <= goal.most else "MISSED"
            missed += verdict != "met"
            work = self.processor[goal.row][goal.ours] / max(self.processor[goal.row][goal.theirs], 1e-6)
            print(
                f"{goal.row}: {goal.ours} / {goal.theirs} = {ratio:.2f} (at most {goal.most}): {verdict}; "
                f"of medians {middle:.2f}, of processor time {work:.2f}"
            )
        return missed

    # Rows

    def _conversions(self, name: str, raw: Path) -> None:
        vhd, out = self.folder / "source.vhd", self.folder / "out"
        disks.convert(raw, vhd, Kind.DYNAMIC, source_kind=Kind.RAW)
        clear = partial(out.unlink, missing_ok=True)
        for suffix, durable in (("", False), (", synced", True)):
            row = f"{name}: raw to VHD{suffix}"
            self._compare(
                row,
                Contender(name="copy", prepare=clear, work=partial(copy_data, raw, out, durable)),
                Contender(
                    name="qemu-img",
                    prepare=clear,
                    work=partial(qemu_convert, raw, "raw", out, "vpc", durable),
                ),
                Contender(
                    name="innkeeper",
                    prepare=clear,
                    work=partial(
                        disks.convert, raw, out, Kind.DYNAMIC, source_kind=Kind.RAW, durable=durable
                    ),
                ),
                most={"qemu-img": 0.9, "copy": 1.15},
            )
            row = f"{name}: VHD to raw{suffix}"
            self._compare(
                row,
                Contender(name="copy", prepare=clear, work=partial(copy_data, raw, out, durable)),
                Contender(
                    name="qemu-img",
                    prepare=clear,
                    work=partial(qemu_convert, vhd, "vpc", out, "raw", durable),
                ),
                Contender(
                    name="innkeeper",
                    prepare=clear,
                    work=partial(disks.convert, vhd, out, Kind.RAW, durable=durable),
                ),
                most={"qemu-img": 0.9, "copy": 1.15},
            )
        clear()
        vhd.unlink()

    def _compaction(self, name: str, raw: Path) -> None:
        """Compact a disk of which three blocks in four are zeros that are really stored."""
        if "20" in name:
            # The zeros of a sparse disk are not stored: there is nothing to compact away.
            return
        full, victim, out = self.folder / "full.vhd", self.folder / "victim.vhd", self.folder / "out"
        fill(full, raw)

        def restore() -> None:
            out.unlink(missing_ok=True)
            victim.unlink(missing_ok=True)
            shutil.copyfile(full, victim)
            sync(victim)
            warm(victim)

        for suffix, durable in (("", False), (", synced", True)):
            self._compare(
                f"{name}: compact a full VHD{suffix}",
                Contender(name="copy", prepare=restore, work=partial(copy_data, raw, out, durable)),
                Contender(
                    name="qemu-img",
                    prepare=restore,
                    work=partial(qemu_convert, victim, "vpc", out, "vpc", durable),
                ),
                Contender(
                    name="innkeeper", prepare=restore, work=partial(compact_as, victim, durable=durable)
                ),
                most={"qemu-img": 0.9, "copy": 1.15},
            )
        for path in (full, victim, out):
            path.unlink(missing_ok=True)

    def _merge(self) -> None:
        """Merge 512 MiB: a qcow2 overlay by qemu-img, a child VHD by Innkeeper."""
        folder, data = self.folder, pieces(2 * GIB, 4)
        base, overlay = folder / "base.raw", folder / "overlay.qcow2"
        parent, child = folder / "parent.vhd", folder / "child.vhd"

        def restore_qemu() -> None:
            base.unlink(missing_ok=True)
            with base.open("wb") as stream:
                stream.truncate(2 * GIB)
            overlay.unlink(missing_ok=True)
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay)
            script = "".join(f"write -q -P 7 {at} {PIECE}\n" for at in data)
            subprocess.run(
                ["qemu-io", "-f", "qcow2", overlay],
                input=script.encode(),
                check=True,
                stdout=subprocess.DEVNULL,
            )
            sync(overlay)

        def restore_ours() -> None:
            for path in (child, parent):
                path.unlink(missing_ok=True)
            disks.create_dynamic(parent, 2 * GIB)
            disks.create_differencing(child, parent)
            with disks.open(child, writable=True) as disk:
                for at in data:
                    disk.pwrite(b"\7" * PIECE, at)

        self._compare(
            "merge 512 MiB",
            Contender(
                name="qemu-img",
                prepare=restore_qemu,
                work=partial(qemu_commit, overlay, base),
            ),
            Contender(name="innkeeper", prepare=restore_ours, work=lambda: merge(child)),
            most={"qemu-img": 1.0},
        )
        for path in (base, overlay, parent, child):
            path.unlink(missing_ok=True)

    def _create(self) -> None:
        """Make an empty disk of 20 GiB."""
        new = self.folder / "new"
        clear = partial(new.unlink, missing_ok=True)
        self._compare(
            "create 20 GiB",
            Contender(
                name="qemu-img",
                prepare=clear,
                work=lambda: run("qemu-img", "create", "-q", "-f", "vpc", new, "20G"),
            ),
            Contender(name="5 ms", work=lambda: time.sleep(0.005)),
            Contender(name="innkeeper", prepare=clear, work=lambda: disks.create_dynamic(new, 20 * GIB)),
            most={"5 ms": 1.0},
        )
        clear()

    def _export(self) -> None:
        """Read 2 GiB with a quarter of data, front to back and here and there."""
        raw, vhd = self._raw("nbd", 2 * GIB), self.folder / "n.vhd"
        disks.convert(raw, vhd, Kind.DYNAMIC, source_kind=Kind.RAW)
        warm(vhd)
        with qemu_nbd(vhd, self.folder / "q") as theirs, our_nbd(vhd, self.folder / "o") as ours:
            for row, work, least in (
                ("NBD: sequential read", read_all, 0.8),
                ("NBD: random 4 KiB reads", read_randomly, 0.5),
                ("NBD: random 4 KiB reads, 16 at once", partial(read_randomly, depth=16), 0.5),
            ):
                self._compare(
                    row,
                    Contender(name="qemu-nbd", work=partial(work, theirs)),
                    Contender(name="innkeeper", work=partial(work, ours)),
                    most={"qemu-nbd": round(1 / least, 2)},
                )

    # Machinery

    def _raw(self, name: str, size: int) -> Path:
        """Make a raw disk with 512 MiB of data, spread over it in pieces of two mebibytes."""
        path = self.folder / f"{name}.raw".replace(" ", "-")
        chance = random.Random(1)  # noqa: S311 - data to copy, no secret
        with path.open("wb") as stream:
            stream.truncate(size)
            for at in pieces(size, size // (512 * MIB)):
                stream.seek(at)
                stream.write(chance.randbytes(PIECE))
        sync(path)
        return path

    def _compare(self, row: str, *contenders: Contender, most: dict[str, float]) -> None:
        if self.only not in row:
            return
        times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        works: dict[str, list[float]] = {contender.name: [] for contender in contenders}
        for number in range(self.rounds):
            # Rotated, so that none always comes after the same other.
            for contender in contenders[number % len(contenders) :] + contenders[: number % len(contenders)]:
                contender.prepare()
                # What earlier rounds have written must not be on its way to the disk now.
                os.sync()
                begun, busy = time.perf_counter(), processor_time()
                contender.work()
                times[contender.name].append(time.perf_counter() - begun)
                works[contender.name].append(processor_time() - busy)
        best = {name: min(taken) for name, taken in times.items()}
        self.results[row] = best
        self.processor[row] = {name: min(taken) for name, taken in works.items()}
        self.medians[row] = {name: statistics.median(taken) for name, taken in times.items()}
        self.goals += [
            Goal(row=row, ours="innkeeper", theirs=name, most=ratio) for name, ratio in most.items()
        ]
        print(
            f"{row:40}" + "".join(f"  {name} {taken * 1000:8.1f} ms" for name, taken in best.items()),
            flush=True,
        )


def processor_time() -> float:
    """What this program and those that it has run have taken so far."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def pieces(size: int, every: int) -> list[int]:
    """Choose where the data lies: one piece in ``every``."""
    return list(range(0, size, PIECE * every))


def copy_data(source: Path, target: Path, durable: bool) -> None:
    """Copy the data extents of a file: the least that any conversion has to do."""
    with ImageFile.open(source) as read, target.open("w+b") as stream:
        stream.truncate(read.size)
        for at, length in read.data_extents(0, read.size):
            done = 0
            while done < length:
                done += os.copy_file_range(
                    read.descriptor, stream.fileno(), length - done, at + done, at + done
                )
        if durable:
            os.fdatasync(stream.fileno())


def qemu_convert(source: Path, source_format: str, target: Path, target_format: str, durable: bool) -> None:
    """Convert with qemu-img, which never syncs what it wrote."""
    options = ["-o", "force_size=on"] if target_format == "vpc" else []
    run("qemu-img", "convert", "-f", source_format, "-O", target_format, *options, source, target)
    if durable:
        sync(target)


def qemu_commit(overlay: Path, base: Path) -> None:
    """Commit an overlay, and make the base durable before anyone removes the overlay."""
    run("qemu-img", "commit", "-q", "-f", "qcow2", overlay)
    sync(base)


def compact_as(path: Path, *, durable: bool) -> None:
    """Compact; not durable means with the syncs left out, for the comparison alone."""
    real = ImageFile.sync
    if not durable:
        ImageFile.sync = lambda self: None  # type: ignore[method-assign]
    try:
        compact(path)
    finally:
        ImageFile.sync = real  # type: ignore[method-assign]


def fill(path: Path, raw: Path) -> None:
    """Make a VHD with every block present: the data of ``raw``, and zeros that are really stored."""
    disks.create_dynamic(path, raw.stat().st_size)
    with disks.open(path, writable=True) as disk, raw.open("rb") as stream:
        for at in range(0, disk.size_bytes, PIECE):
            disk.pwrite(b"x" * PIECE, at)
        for at in range(0, disk.size_bytes, PIECE):
            disk.pwrite(stream.read(PIECE), at)


def run(*command: str | Path) -> None:
    """Run a program quietly.

    With no time limit: waiting with one looks only every 50 ms, and would round each of these times up.
    """
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def sync(path: Path) -> None:
    """Make a file durable."""
    with path.open("rb") as stream:
        os.fdatasync(stream.fileno())


def warm(path: Path) -> None:
    """Read a file into the page cache."""
    with path.open("rb") as stream:
        while stream.read(8 * MIB):
            pass


def read_all(url: str) -> None:
    """Read an export front to back, holes and all."""
    run("nbdcopy", "--no-extents", "--connections=1", url, "null:")


def read_randomly(url: str, depth: int = 1) -> None:
    """Read 4 KiB at places that jump about."""
    step = 4096 * 65537
    run(
        "qemu-img",
        "bench",
        "-q",
        "-f",
        "raw",
        "-c",
        "10000",
        "-d",
        str(depth),
        "-s",
        "4096",
        "-S",
        str(step),
        url,
    )


@contextlib.contextmanager
def qemu_nbd(path: Path, socket: Path) -> Iterator[str]:
    """Export with qemu-nbd."""
    process = subprocess.Popen(
        ["qemu-nbd", "-r", "-f", "vpc", "-t", "-e", "8", "-k", str(socket), "-x", "disk", str(path)]
    )
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"nbd+unix:///disk?socket={socket}"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def our_nbd(path: Path, socket: Path) -> Iterator[str]:
    """Export with Innkeeper, in a process of its own as users run it."""
    program = "import sys; from innkeeper.cli.app import main; main()"
    command = [sys.executable, "-c", program, "disk", "export", str(path), "--socket", str(socket)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        yield f"nbd+unix:///disk?socket={socket}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
