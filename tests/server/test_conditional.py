"""Conditional requests: what is known is not sent again, and what has changed is not overwritten."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Service

WINDOW = {"name": "nights", "opens_at": "22:00", "duration_seconds": 3600, "weekdays": ["mon"]}


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client on the local door; the window of these tests is gone afterwards."""
    with service.http() as client:
        yield client
        client.delete("/v1/windows/nights")


def test_a_known_answer_is_not_sent_again(http: httpx.Client) -> None:
    """304 without a body, where the tag is one of those that are known, weak or strong."""
    first = http.get("/v1/windows")
    tag = first.headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        again = http.get("/v1/windows", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    http.post("/v1/windows", json=WINDOW)
    changed = http.get("/v1/windows", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_a_change_by_another_is_not_overwritten(http: httpx.Client) -> None:
    """412 with the documented identifier and what to do next; the other's change stands."""
    assert http.post("/v1/windows", json=WINDOW).status_code == 201
    tag = http.get("/v1/windows/nights").headers["ETag"]
    theirs = http.put(
        "/v1/windows/nights", json=WINDOW | {"duration_seconds": 7200}, headers={"If-Match": tag}
    )
    assert theirs.status_code == 200
    ours = http.put("/v1/windows/nights", json=WINDOW | {"opens_at": "23:00"}, headers={"If-Match": tag})
    assert (ours.status_code, ours.json()["code"]) == (412, "ERROR_REVISION_MISMATCH")
    assert ours.json()["advice"]
    assert http.get("/v1/windows/nights").json()["duration_seconds"] == 7200
    removed = http.delete("/v1/windows/nights", headers={"If-Match": tag})
    assert removed.status_code == 412
    now = http.get("/v1/windows/nights").headers["ETag"]
    assert http.delete("/v1/windows/nights", headers={"If-Match": now}).status_code == 204


def test_a_condition_on_what_is_not_there_fails(http: httpx.Client) -> None:
    """Also ``*``, which holds for whatever is there."""
    for condition in ('"anything"', "*"):
        refused = http.put("/v1/windows/nights", json=WINDOW, headers={"If-Match": condition})
        assert refused.status_code == 412
    assert http.get("/v1/windows/nights").status_code == 404


def test_what_is_there_is_not_added_over(http: httpx.Client) -> None:
    """``If-None-Match`` with ``*``, or with its tag; with another tag it is changed."""
    path, star = "/v1/windows/nights", {"If-None-Match": "*"}
    assert http.put(path, json=WINDOW, headers=star).status_code == 200
    tag = http.get(path).headers["ETag"]
    for known in ("*", tag, f'"other", {tag}'):
        refused = http.put(path, json=WINDOW | {"opens_at": "23:00"}, headers={"If-None-Match": known})
        assert (refused.status_code, refused.json()["code"]) == (412, "ERROR_ALREADY_EXISTS")
        assert "If-Match" in refused.json()["advice"]
    assert http.get(path).headers["ETag"] == tag
    assert http.delete(path, headers=star).status_code == 412
    machine = http.get("/v1/machines").json()["machines"][0]["name"]
    display = f"/v1/machines/{machine}/display"
    assert http.get(display).status_code == 200
    assert http.put(display, json={}, headers=star).status_code == 412
    assert http.put(path, json=WINDOW, headers={"If-None-Match": '"other"'}).status_code == 200
