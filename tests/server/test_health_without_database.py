"""While PostgreSQL is stopped the process says that it lives, and what it waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import sqlalchemy as sa

from tests.server.relay.two_servers import client, server
from tests.store.clusters import Cluster
from tests.store.conftest import own_cluster, own_database

__all__ = ["own_cluster", "own_database"]


async def test_probes_answer_without_a_database(
    own_cluster: Cluster, own_database: sa.URL, tmp_path: Path
) -> None:
    """By every door, also to whom nobody can look up; health tells its reader since when."""
    async with server("north", "attic", own_database, tmp_path, ["web-1"]) as north, client(north.app) as far:
        await asyncio.to_thread(own_cluster.stop, "fast")
        for http in (north.http, far):
            http.headers["Authorization"] = "Bearer nobody-knows-it"
            alive = await http.get("/livez")
            assert (alive.status_code, alive.text) == (200, "alive\n")
            ready = await http.get("/readyz")
            assert ready.status_code == 503
            assert ready.text.startswith("The database is away since ")
            del http.headers["Authorization"]
        health = await north.http.get("/v1/health")
        assert health.status_code == 200, health.text
        assert not health.json()["ok"]
        assert "does not answer since " in health.json()["database"]["detail"]
        await asyncio.to_thread(own_cluster.start)
