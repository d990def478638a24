"""Repeated requests: carried out once, answered as often as they come."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Service

KEY = "Idempotency-Key"


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client on the local door."""
    with service.http() as client:
        yield client


def _book(http: httpx.Client, key: str, identifier: str, label: str = "") -> httpx.Response:
    body = {"machine": "web-1", "identifier": identifier, "label": label, "start": "2031-01-01T00:00Z"}
    return http.post("/v1/updates", json=body, headers={KEY: key})


def test_a_repeated_request_is_answered_as_before(http: httpx.Client) -> None:
    """The same body and status, marked as a repetition; what it made is there once."""
    key, identifier = str(uuid.uuid4()), str(uuid.uuid4())
    first, again = (_book(http, key, identifier) for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    http.delete(f"/v1/updates/web-1/{identifier}")
    assert _book(http, key, identifier).status_code == 201
    assert http.get(f"/v1/updates/web-1/{identifier}").status_code == 404


def test_a_key_is_for_one_request(http: httpx.Client) -> None:
    """Another body under the same key is refused, and nothing is done."""
    key, identifier = str(uuid.uuid4()), str(uuid.uuid4())
    _book(http, key, identifier)
    other = _book(http, key, identifier, label="other")
    assert (other.status_code, other.json()["code"]) == (422, "ERROR_ALREADY_EXISTS")
    assert http.get(f"/v1/updates/web-1/{identifier}").json()["update"]["label"] == ""
    http.delete(f"/v1/updates/web-1/{identifier}")


def test_a_refused_request_gives_its_key_back(http: httpx.Client) -> None:
    """What was not carried out may be sent again once it can be."""
    key = str(uuid.uuid4())
    body = {"name": key, "opens_at": "22:00", "duration_seconds": 0, "weekdays": ["mon"]}
    assert http.post("/v1/windows", json=body, headers={KEY: key}).status_code == 422
    mended = http.post("/v1/windows", json=body | {"duration_seconds": 60}, headers={KEY: key})
    assert mended.status_code == 201
    http.delete(f"/v1/windows/{key}")


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "é"])
def test_a_key_that_will_not_do_is_refused(http: httpx.Client, key: str) -> None:
    """Before anything is done."""
    answer = http.post("/v1/machines/web-1/startup", headers={KEY.encode(): key.encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (422, "E_INVALIDARG")


def test_of_many_at_once_one_is_carried_out(service: Service) -> None:
    """The others are told that it is under way, or how it came out: never a second task."""
    key, answers = str(uuid.uuid4()), []

    def ask() -> None:
        with service.http() as http:
            answers.append(http.post("/v1/machines/web-1/pause", headers={KEY: key}))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    tasks = {answer.json()["task"]["id"] for answer in answers if answer.status_code == 202}
    assert len(tasks) == 1
    assert {answer.status_code for answer in answers} <= {202, 409}
    with service.connect() as inn:
        assert inn.tasks[tasks.pop()].wait(30)
        assert inn.machines["web-1"].resume().wait(30)


def test_an_answer_outlives_the_service(own_service: Service) -> None:
    """Killed and started again, it answers as before."""
    own_service.start()
    key = str(uuid.uuid4())
    with own_service.http() as http:
        first = _book(http, key, "2031")
    own_service.kill()
    own_service.start()
    with own_service.http() as http:
        again = _book(http, key, "2031")
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replayed"] == "true"
