"""While another program holds the SQLite file, the service says that it is not ready, and why."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import time
from collections.abc import Iterator

import pytest

from tests.serving import Service


@contextlib.contextmanager
def _held(service: Service, name: str, how: str) -> Iterator[None]:
    """Hold a file as a backup, or somebody's shell, does: for readers it stays open."""
    file = service.state_dir / name
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


@pytest.mark.parametrize("name", ["innkeeper.sqlite", "innkeeper-runs.sqlite"])
@pytest.mark.parametrize("how", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_file_that_somebody_holds_is_no_ready_service(own_service: Service, name: str, how: str) -> None:
    """It lives meanwhile, its health has the reason, and once the file is free it is ready by itself."""
    own_service.start()
    _wait_for(own_service, 200)
    with _held(own_service, name, how):
        assert _wait_for(own_service, 503).startswith("The database ")
        with own_service.http() as http:
            assert http.get("/livez").status_code == 200
            health = http.get("/v1/health").json()
        assert not health["ok"]
        assert not health["database"]["ok"]
        assert name in health["database"]["detail"]
    assert _wait_for(own_service, 200) == "ready\n"


def test_a_full_disk_is_no_ready_service(own_service: Service) -> None:
    """For as long as nothing can be written, though no write waits; and it is ready by itself after that."""
    own_service.start()
    _wait_for(own_service, 200)
    with own_service.http() as http:
        assert http.get("/v1/health").json()[
            "ok"
        ]  # the limit holds for memory files too, which a disk has not
    before = resource.prlimit(own_service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(own_service.pid, resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        assert _wait_for(own_service, 503).startswith("The database ")
        for _ in range(3):
            with own_service.http() as http:
                assert http.get("/readyz").status_code == 503
                answer = http.get("/v1/health")
            assert answer.status_code == 200, answer.text
            health = answer.json()
            assert (health["ok"], health["database"]["ok"]) == (False, False)
    finally:
        resource.prlimit(own_service.pid, resource.RLIMIT_FSIZE, before)
    assert _wait_for(own_service, 200) == "ready\n"
