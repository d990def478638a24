"""Kill anything, anywhere: trials that are cut short at random, on machines simulated and real and on disks.

``python -m tests.night.killing --kills 2000`` runs until so many kills took place (or ``--seconds`` are
over), appends a line of JSON for each trial to a results file and ends with a table. The same seed and file
go on where an earlier run ended. A trial that fails prints how to run it again, and its directory is kept.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, cast

from tests.night.kills import catalogue
from tests.night.kills.trial import Outcome

#: A trial that takes longer is stuck, which is a fault of its own.
_TRIAL_SECONDS = 400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Campaign:
    """What is tried, and how it is told."""

    seed: int
    trials: Sequence[str]
    #: Where each trial's result goes; what is in it already is not tried again.
    results: Path

    def lines(self) -> list[dict[str, Any]]:
        """The results so far."""
        if not self.results.exists():
            return []
        return [json.loads(line) for line in self.results.read_text().splitlines()]

    def run(self, kills: int, seconds: float) -> int:
        """Try until there are so many kills in all, or the time is over; returns how many trials failed."""
        end = time.monotonic() + seconds
        lines = [line for line in self.lines() if line["seed"] == self.seed]
        number = max((line["number"] for line in lines), default=-1) + 1
        done, failed = sum(len(line["kills"]) for line in lines), 0
        while done < kills and time.monotonic() < end:
            name = self._name(number)
            line = try_one(name, self.seed, number)
            with self.results.open("a") as file:
                file.write(json.dumps(line) + "\n")
            done += len(line["kills"])
            failed += bool(line["faults"])
            _tell(line, done, kills)
            number += 1
        return failed

    def _name(self, number: int) -> str:
        weights = [catalogue.TRIALS[name].weight for name in self.trials]
        return random.Random(f"{self.seed} {number}").choices(self.trials, weights)[0]


def try_one(name: str, seed: int, number: int) -> dict[str, Any]:
    """Run one trial in a process of its own; the line of its result."""
    directory = Path(tempfile.mkdtemp(prefix="ikk-", dir="/tmp"))
    began = time.monotonic()
    outcome = _in_a_process(name, f"{seed} {number} {name}", directory)
    if outcome.faults:
        print(f"kept: {directory}; again: --trial {name} --seed {seed} --number {number}", flush=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    took = round(time.monotonic() - began, 2)
    return {"seed": seed, "number": number, "trial": name, **dataclasses.asdict(outcome), "seconds": took}


def _in_a_process(name: str, seed: str, directory: Path) -> Outcome:
    """Fork: a trial may leave threads, loops and libvirt behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        os.close(ours)
        _try_and_end(name, seed, directory, theirs)
    os.close(theirs)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, _TRIAL_SECONDS)
    with os.fdopen(ours) as pipe:
        text = pipe.read()
    os.waitpid(process, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    catalogue.TRIALS[name].end_all(directory)
    if not text:
        return Outcome(faults=["the trial ended without a result"])
    return Outcome(**cast("Mapping[str, Any]", json.loads(text)))


def _try_and_end(name: str, seed: str, directory: Path, pipe: int) -> NoReturn:
    try:
        outcome = catalogue.TRIALS[name].run(random.Random(seed), directory)
    except Exception:
        outcome = Outcome(faults=[traceback.format_exc()])
    with os.fdopen(pipe, "w") as file:
        file.write(json.dumps(dataclasses.asdict(outcome)))
    os._exit(0)


def _tell(line: Mapping[str, Any], done: int, kills: int) -> None:
    killed = ", ".join(line["kills"]) or "nothing"
    trial = f"#{line['number']} {line['trial']} ({line['storage']})"
    print(f"{done}/{kills} {trial}: killed {killed}; {line['ended']}, {line['seconds']} s", flush=True)
    for fault in line["faults"]:
        print(f"  FAULT: {fault.strip().splitlines()[-1]}", flush=True)


def table(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Kills by what was killed, on which storage, and how it ended."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        for kill in line["kills"]:
            counts[kill, line["storage"], "FAILED" if line["faults"] else line["ended"]] += 1
    endings = sorted({ended for _, _, ended in counts})
    yield f"| killed | storage | {' | '.join(endings)} |"
    yield f"|---|---|{'---|' * len(endings)}"
    for killed, storage in sorted({(killed, storage) for killed, storage, _ in counts}):
        cells = " | ".join(str(counts[killed, storage, ended] or "") for ended in endings)
        yield f"| {killed} | {storage} | {cells} |"
    failed = sum(bool(line["faults"]) for line in lines)
    total = sum(counts.values())
    seconds = round(sum(line["seconds"] for line in lines))
    yield f"\n{total} kills in {len(lines)} trials ({seconds} s), {failed} failed"


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000, help="how many in all, those in the file too")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path("build/killing.jsonl"))
    parser.add_argument("--trial", choices=catalogue.TRIALS, action="append", help="only these")
    parser.add_argument("--number", type=int, help="only the trial of this number, again")
    parser.add_argument("--table", action="store_true", help="only tell the results so far")
    given = parser.parse_args()
    given.results.parent.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(seed=given.seed, trials=given.trial or [*catalogue.TRIALS], results=given.results)
    if given.number is not None:
        line = try_one(campaign.trials[0], given.seed, given.number)
        _tell(line, len(line["kills"]), 1)
        return bool(line["faults"])
    failed = 0 if given.table else campaign.run(given.kills, given.seconds)
    print("\n".join(table(campaign.lines())))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
