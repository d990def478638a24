"""The HTTP door itself: what is malformed, unknown or too large is refused with problem details."""

from __future__ import annotations

import json
import re
import socket

import pytest

from tests.serving import Service


def _window(machine: bytes) -> bytes:
    return b'{"name": "w", "machines": ["%s"], "opens_at": "22:00", "duration_seconds": 60}' % machine


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", None, 404),
        ("GET", "/v1/machines?after=%00", None, 422),
        ("GET", "/v1/updates?machine=a%00b", None, 422),
        ("GET", "/v1/machines/%00", None, 422),
        ("POST", "/v1/updates", rb'{"machine": "web-1", "identifier": "a\u0000b", "label": "l"}', 422),
        ("POST", "/v1/updates", rb'{"machine": "web-1", "identifier": "a", "label": "\\\\\u0000"}', 422),
        (
            "POST",
            "/v1/updates",
            '{"machine": "web-1", "identifier": "a", "label": "\\u0000"}'.encode("utf-16"),
            422,
        ),
        ("PUT", "/v1/windows/w", rb'{"name": "w", "machines": ["a\u0000"]}', 422),
        ("POST", "/v1/machines/label", rb'{"select": "*", "add": ["\ud800"]}', 422),
        ("POST", "/v1/machines/label", b'{"select": "*", "add": ["\xed\xa0\x80"]}', 422),
        (
            "POST",
            "/v1/machines/label",
            '{"select": "*", "add": ["\ud800"]}'.encode("utf-16", "surrogatepass"),
            422,
        ),
        ("POST", "/v1/machines/label", rb'{"select": "*", "\udfff": 1}', 422),
        ("POST", "/v1/machines/label", rb'{"select": "*", "add": ["\u001b[31m"]}', 422),
        ("PUT", "/v1/windows/w", rb'{"name": "w", "machines": ["\uDC80"]}', 422),
        ("PUT", "/v1/windows/w", rb'{"name": "w", "zone": "\ud800"}', 422),
        ("POST", "/v1/windows", _window(rb"web-\u0007"), 422),
        ("POST", "/v1/machines/web-1/keyboard/type", rb'{"text": "\ud800"}', 422),
        ("POST", "/v1/channels", rb'{"machine": "web-1", "pipe_name": "\ud800"}', 422),
        ("POST", "/v1/schedule/task", rb'{"path": "/x", "xml": "\ud800", "sddl": "\ud800"}', 422),
        ("POST", "/v1/schedule/task/run", rb'{"path": "/x", "arguments": ["\ud800"]}', 422),
        ("POST", "/v1/updates", b'{"machine":' + b"[" * 900 + rb'"\ud800"' + b"]" * 900 + b"}", 422),
        ("GET", "/v1/machines/%ed%a0%80", None, 422),
        ("GET", "/v1/machines?text=%ff", None, 422),
        ("GET", "/v1/nothing", None, 404),
        ("PUT", "/v1/machines", None, 405),
        ("POST", "/v1/machines/web-1/explode", None, 422),
        ("GET", "/v1/tasks/first", None, 422),
        ("GET", "/v1/tasks?limit=0", None, 422),
        ("GET", "/v1/tasks/1?wait_seconds=3600", None, 422),
        ("POST", "/v1/updates", b"{", 422),
        ("POST", "/v1/updates", b"[]", 422),
        ("POST", "/v1/updates", b'{"machine": "web-1", "identifier": "x", "colour": 1}', 422),
        ("POST", "/v1/updates", b'{"machine": "web-1", "identifier": "x", "start": "2031-01-01T00:00"}', 422),
        ("POST", "/v1/updates", b'{"machine": "web-1", "identifier": "x", "context": "%%%"}', 422),
        ("POST", "/v1/updates", b'{"machine": "\xff"}', 400),
        ("POST", "/v1/windows", b'{"name": "w", "opens_at": "22:00", "duration_seconds": 1e99}', 422),
        ("DELETE", "/v1/updates/web-1/nothing", None, 404),
    ],
)
def test_what_makes_no_sense_is_refused_with_problem_details(
    service: Service, method: str, path: str, body: bytes | None, status: int
) -> None:
    """One sentence, the documented identifier and what to do next; the service goes on."""
    with service.http() as http:
        answer = http.request(method, path, content=body, headers={"Content-Type": "application/json"})
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert problem["hresult"] >= 0x80000000
    assert problem["detail"].endswith(".")
    assert problem["advice"]


def test_what_looks_like_a_nul_and_is_none_is_taken(service: Service) -> None:
    """A backslash and what follows it."""
    body = {"machine": "web-1", "identifier": "nul", "label": r"\u0000", "start": "2031-01-01T00:00:00Z"}
    with service.http() as http:
        booked = http.post("/v1/updates", json=body)
        assert booked.status_code == 201, booked.text
        assert http.delete("/v1/updates/web-1/nul").status_code == 204


def test_a_header_with_a_control_character_is_refused(service: Service) -> None:
    """It would be told to whoever reads the log, or the list of sessions."""
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(service.socket))
        rude.sendall(b"GET /livez HTTP/1.1\r\nHost: innkeeper\r\nUser-Agent: \x1b[31m\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", rude.recv(4096))


def test_nobody_is_called_by_a_nul(service: Service) -> None:
    """In a name that comes with a password."""
    with service.http() as http:
        assert http.get("/v1/inn", auth=("a\0b", "secret")).status_code == 401


def test_a_body_over_the_limit_is_refused_before_it_is_read_whole(service: Service) -> None:
    """Also where its length is not told beforehand."""
    endless = (b" " * 65536 for _ in range(1000))
    with service.http() as http:
        answer = http.post("/v1/updates", content=endless, headers={"Content-Type": "application/json"})
    assert answer.json()["code"] == "ERROR_BUFFER_OVERFLOW"


def test_a_head_over_the_limit_is_refused(service: Service) -> None:
    """Whether it comes at once or in pieces."""
    with service.http() as http:
        answer = http.get("/v1/machines", headers={"X-Much": "a" * 100_000})
    assert answer.status_code in (400, 431)
    assert "web-1" not in answer.text


def test_what_is_no_http_costs_the_others_nothing(service: Service) -> None:
    """Garbage, a head without an end, and a connection that says nothing."""
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as rude:
        silent.connect(str(service.socket))
        rude.connect(str(service.socket))
        rude.sendall(b"\x00\xff" * 100_000 + b"\r\n\r\n")
        assert b"400" in rude.recv(4096)
        assert service.run("machine", "list").code == 0


def test_the_service_describes_itself(service: Service) -> None:
    """OpenAPI, with an operation for each route and no two of one name."""
    with service.http() as http:
        description = http.get("/v1/openapi.json").json()
        names = [
            each["operationId"] for methods in description["paths"].values() for each in methods.values()
        ]
        assert len(names) == len(set(names)) > 15
        health = http.get("/v1/health").json()
    assert health["ok"]
    assert [host["machines"] for host in health["hosts"]] == [12]


def test_one_tasks_stream_ends_with_the_task(service: Service) -> None:
    """Progress and log as they come, then the end of the stream; a finished task's stream is empty."""
    with service.connect() as inn, service.http() as http:
        machine = inn.machines["desk-2"]
        task = machine.turn_off() if machine.state.name == "RUNNING" else machine.startup()
        told = http.get(
            f"/v1/tasks/{task.id}/events", headers={"Last-Event-ID": "another-0"}, timeout=30
        ).text
        assert task.wait(0)
        assert http.get(f"/v1/tasks/{task.id}/events").text == ""
    kinds = [line.removeprefix("event: ") for line in told.splitlines() if line.startswith("event: ")]
    # A task that was quicker than the request has nothing left to tell.
    assert not kinds or kinds[-1] == "task.ended"
    events = [
        json.loads(line.removeprefix("data: ")) for line in told.splitlines() if line.startswith("data: ")
    ]
    assert {event["subject"] for event in events} <= {str(task.id), ""}
