"""Fuzz one target for a while: ``python -m tests.fuzz TARGET --seconds 600``, or ``all`` in turn.

Guided by coverage where atheris is installed (``pip install atheris``), else by changes at random from a
seed. What breaks a target is written into its corpus, which the suite then tries each time.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target, targets

#: One input that takes longer hangs its door for everybody.
_LONGEST_SECONDS = 2.0


def main() -> int:
    """Fuzz; returns 1 where something broke."""
    known = targets()
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("target", choices=[*known, "all"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris, though it is installed")
    options = parser.parse_args()
    chosen = list(known.values()) if options.target == "all" else [known[options.target]]
    guided = not options.plain and importlib.util.find_spec("atheris") is not None
    broken = 0
    for target in chosen:
        seconds = options.seconds / len(chosen)
        if guided:
            broken += _guided(target, seconds)
        else:
            broken += _plain(target, seconds, options.seed)
    return int(broken > 0)


def _plain(target: Target, seconds: float, seed: int) -> int:
    chance, seeds = random.Random(seed), target.all_seeds()
    end, count, slowest = time.monotonic() + seconds, 0, 0.0
    found: dict[str, bytes] = {}
    while time.monotonic() < end:
        data = mutated(seeds, chance)
        began = time.process_time()
        try:
            target.work(data)
        except Exception as error:
            found.setdefault(_place(error), data)
        took = time.process_time() - began
        slowest = max(slowest, took)
        if took > _LONGEST_SECONDS:
            found.setdefault("slow", data)
        count += 1
    for place, data in found.items():
        print(f"{target.name}: {place}\n  kept as {keep(target, data)}")
    print(
        f"{target.name}: {count:,} inputs in {seconds:.0f} s, {len(found)} places broke,"
        f" slowest {slowest:.2f} s",
        flush=True,
    )
    return len(found)


def _place(error: Exception) -> str:
    """Where it broke, and with what: the same for all inputs that break it there."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno} ({last.line})"


def keep(target: Target, data: bytes) -> str:
    """Write an input into the corpus; returns its name."""
    target.corpus.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(data).hexdigest()[:16]
    (target.corpus / name).write_bytes(data)
    return name


def _guided(target: Target, seconds: float) -> int:
    """Let atheris look for ways through the code, in a process of its own: it ends where it runs."""
    script = f"from tests.fuzz.guided import fuzz; fuzz({target.name!r}, {int(seconds)})"
    code = subprocess.run([sys.executable, "-c", script], check=False).returncode
    print(f"{target.name}: atheris ended with {code}", flush=True)
    return int(code != 0)


if __name__ == "__main__":
    sys.exit(main())
