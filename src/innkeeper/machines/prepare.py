"""Put the task agent into guests."""

from __future__ import annotations

from innkeeper.machines.bundle import BUNDLE_NAME, agent_bundle

__all__ = ["BUNDLE_NAME", "agent_bundle"]
