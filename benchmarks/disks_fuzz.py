"""Work on disks at random, killed and on a host that fails, and hold every one to a model of its content.

``python -m benchmarks.disks_fuzz --seconds 600`` (or ``--rounds``, ``--seed``). Each round makes a chain of
disks, and does operations to it. Most of them meet a failure: a kill before or within any change of a file, a
change that fails, a device that is gone, a file system that is full. After each the disks read as before it
or as after it, and the same operation done again ends well. Where ``unshare`` may be used, the disks lie on
a small file system of its own, which is filled up for real.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from benchmarks.disk_family import FAILURES, Family, Told, Wrong

ROOM_BYTES = 96 << 20
_INSIDE = "INNKEEPER_FUZZ_FOLDER"


def main() -> int:
    """Run rounds until the time is over; returns 1 where a disk was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1 << 60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if _INSIDE not in os.environ:
        return _on_a_small_file_system()
    begun, count, wrong = time.monotonic(), 0, 0
    told: collections.Counter[Told] = collections.Counter()
    while count < arguments.rounds and time.monotonic() - begun < arguments.seconds:
        wrong += not _round(Path(os.environ[_INSIDE]), arguments.seed + count, told)
        count += 1
    _print(told, count, wrong, time.monotonic() - begun)
    return int(wrong > 0)


def _on_a_small_file_system() -> int:
    """Start again where nothing but the disks takes room, as an ordinary user; else in a folder."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-fuzz-") as folder:
        command = [sys.executable, "-m", "benchmarks.disks_fuzz", *sys.argv[1:]]
        mount = f'mount -t tmpfs -o size={ROOM_BYTES} none {folder} && exec "$@"'
        inside = ["unshare", "-rm", "sh", "-c", mount, "sh"]
        can = not subprocess.run([*inside, "true"], capture_output=True, check=False).returncode
        if not can:
            print("No file system of its own here: nothing is filled up for real.")
        where = os.environ | {_INSIDE: folder, "INNKEEPER_FUZZ_FILLS": "1" if can else ""}
        return subprocess.run([*inside, *command] if can else command, env=where, check=False).returncode


def _round(folder: Path, seed: int, told: collections.Counter[Told]) -> bool:
    """Do one round; returns whether all was right, and keeps the files where not."""
    home = folder / "family"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    chance = random.Random(seed)  # noqa: S311 - data to write, no secret
    family = Family(home, chance, fills=bool(os.environ.get("INNKEEPER_FUZZ_FILLS")))
    try:
        family.live(told)
    except Exception as error:
        print(f"seed {seed}: {' → '.join(family.story)}", flush=True)
        if not isinstance(error, Wrong):
            traceback.print_exc()
        print(f"seed {seed}: {error}", flush=True)
        return False
    return True


def _print(told: collections.Counter[Told], rounds: int, wrong: int, seconds: float) -> None:
    print(f"{rounds:,} rounds, {sum(told.values()):,} operations in {seconds:,.0f} s; {wrong} wrong.")
    names = sorted({each.operation for each in told})
    kinds = ["unhindered", *FAILURES]
    width = max(map(len, names), default=0)
    print(f"{'':{width}}" + "".join(f"{kind:>12}" for kind in kinds))
    say: Callable[[str, str], int] = lambda name, kind: told[Told(name, kind)]  # noqa: E731
    for name in names:
        print(f"{name:{width}}" + "".join(f"{say(name, kind):>12,}" for kind in kinds))


if __name__ == "__main__":
    sys.exit(main())
