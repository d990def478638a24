"""A guest's health, judged as a difference: only what is new counts against an update."""

from innkeeper.updates.health.finding import Finding, Judgement
from innkeeper.updates.health.judge import is_settled, judge
from innkeeper.updates.health.kept import from_json, to_json
from innkeeper.updates.health.restarts import restarting

__all__ = ["Finding", "Judgement", "from_json", "is_settled", "judge", "restarting", "to_json"]
