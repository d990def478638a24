"""A night of many simulated machines and several servers on one PostgreSQL, with kills: counts, and its cost.

By default a small one; ``--hosts 100 --machines 100 --speed 15`` is the night of ten thousand.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

from tests.night.fleet import FleetNight, Outcome, Plan
from tests.store import clusters

_RESULTS = Path("build/bench/fleet.json")


def live_through(plan: Plan) -> Outcome:
    """One night in a directory and a database of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="ik-fleet-") as directory,
        clusters.cluster() as cluster,
        clusters.fresh_database(cluster.url, "night") as database,
    ):
        night = FleetNight(plan, Path(directory), cluster, database)
        outcome = night.run()
        print(dict(night.acts()))
        return outcome


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=4)
    parser.add_argument("--machines", type=int, default=25, help="of each host")
    parser.add_argument("--peers", type=int, default=2)
    parser.add_argument("--speed", type=float, default=60.0)
    parser.add_argument("--kill-minutes", type=float, default=10.0, help="simulated; 0 for no kill")
    parser.add_argument("--database-restarts", type=int, default=2)
    parser.add_argument("--down-seconds", type=float, default=0.0, help="real; of a killed server")
    parser.add_argument("--shared", action="store_true", help="servers in pairs have the same hosts")
    parser.add_argument("--lease-seconds", type=float, default=30.0, help="real")
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--window-hours", type=float, default=12.0, help="simulated")
    parser.add_argument("--wrapper", default="", help="a program that runs each server, such as a profiler")
    given = vars(parser.parse_args())
    plan = Plan(**{**given, "wrapper": tuple(given["wrapper"].split())})
    outcome = live_through(plan)
    told = {**dataclasses.asdict(outcome), "cpu_seconds_a_machine": outcome.cpu_seconds_a_machine}
    for name, value in told.items():
        print(f"{name:24} {value:.3f}" if isinstance(value, float) else f"{name:24} {value}")
    _RESULTS.parent.mkdir(parents=True, exist_ok=True)
    _RESULTS.write_text(json.dumps({"plan": dataclasses.asdict(plan), **told}, indent=2) + "\n")


if __name__ == "__main__":
    main()
