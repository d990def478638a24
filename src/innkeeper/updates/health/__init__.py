"""A guest's health, judged as a difference: only what is new counts against an update."""

from innkeeper.updates.health.finding import Finding, Judgement
from innkeeper.updates.health.judge import is_settled, judge
from innkeeper.updates.health.kept import finding_from_json, finding_to_json, from_json, to_json
from innkeeper.updates.health.restarts import restarting
from innkeeper.updates.health.what_counts import Stake, what_counts

__all__ = [
    "Finding",
    "Judgement",
    "Stake",
    "finding_from_json",
    "finding_to_json",
    "from_json",
    "is_settled",
    "judge",
    "restarting",
    "to_json",
    "what_counts",
]
