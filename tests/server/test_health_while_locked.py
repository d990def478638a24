"""While another program holds the SQLite file, the service says that it is not ready, and why."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.serving import Service


@contextlib.contextmanager
def _held(service: Service, how: str) -> Iterator[None]:
    """Hold the file as a backup, or somebody's shell, does: for readers it stays open."""
    file = service.state_dir / "innkeeper.sqlite"
    with contextlib.closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


def _wait_for(service: Service, status: int) -> str:
    """The words with which it answers so."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with service.http() as http:
            answer = http.get("/readyz")
        if answer.status_code == status:
            return answer.text
        time.sleep(0.1)
    raise AssertionError(f"it never answered {status}, last {answer.status_code}: {answer.text}")


@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_file_that_somebody_holds_is_no_ready_service(own_service: Service, how: str) -> None:
    """It lives meanwhile, its health has the reason, and once the file is free it is ready by itself."""
    own_service.start()
    _wait_for(own_service, 200)
    with _held(own_service, how):
        assert _wait_for(own_service, 503).startswith("The database ")
        with own_service.http() as http:
            assert http.get("/livez").status_code == 200
            health = http.get("/v1/health").json()
        assert not health["ok"]
        assert not health["database"]["ok"]
        assert "innkeeper.sqlite" in health["database"]["detail"]
    assert _wait_for(own_service, 200) == "ready\n"
