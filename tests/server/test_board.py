"""What is read again and again: as true as if the hosts had been asked each time."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Service


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client on the local door."""
    with service.http() as client:
        yield client


def test_a_reader_sees_what_a_command_has_done(service: Service, http: httpx.Client) -> None:
    """In the list and alone, at once after the task has ended; while it lives, the machine names it."""
    with service.connect() as inn:
        for verb, state in (
            ("pause", "PAUSED"),
            ("resume", "RUNNING"),
            ("save", "SAVED"),
            ("startup", "RUNNING"),
        ):
            task = http.post(f"/v1/machines/web-1/{verb}").json()["task"]["id"]
            held = http.get("/v1/machines/web-1").json()["task_id"]
            assert held in (task, None)
            assert inn.tasks[task].wait(30)
            alone = http.get("/v1/machines/web-1").json()
            (listed,) = [m for m in http.get("/v1/machines").json()["machines"] if m["name"] == "web-1"]
            assert alone == listed
            assert (alone["state"], alone["task_id"]) == (state, None)


def test_a_list_is_had_page_by_page(http: httpx.Client) -> None:
    """All pages together are the list, each machine once."""
    whole = http.get("/v1/machines").json()["machines"]
    pages, after = [], None
    while True:
        query = {"limit": "5"} | ({"after": after} if after else {})
        answer = http.get("/v1/machines", params=query).json()
        pages += answer["machines"]
        after = answer["next_after"]
        if after is None:
            break
    assert pages == whole


def test_a_list_holds_what_was_asked_for(http: httpx.Client) -> None:
    """By state, by host, by a part of the name; all at once."""
    whole = http.get("/v1/machines").json()["machines"]
    for query, wanted in (
        ({"state": "RUNNING"}, lambda m: m["state"] == "RUNNING"),
        ({"host": "fake"}, lambda m: True),
        ({"host": "elsewhere"}, lambda m: False),
        ({"text": "WEB"}, lambda m: "web" in m["name"]),
        ({"text": "web", "state": "SAVED"}, lambda m: "web" in m["name"] and m["state"] == "SAVED"),
    ):
        found = http.get("/v1/machines", params=query).json()["machines"]
        assert found == [machine for machine in whole if wanted(machine)], query


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=many", "state=HAPPY", "colour=blue", f"text={'x' * 300}"]
)
def test_a_query_that_will_not_do_is_refused(http: httpx.Client, query: str) -> None:
    """With the name of the part that will not do."""
    answer = http.get(f"/v1/machines?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in json.dumps(answer.json())


def test_a_list_has_another_tag_whenever_it_is_another(service: Service, http: httpx.Client) -> None:
    """Unchanged it is not sent again; with one machine changed, or as another page, it is."""
    with service.connect() as inn:
        before = http.get("/v1/machines")
        known = {"If-None-Match": before.headers["etag"]}
        machine = inn.machines["web-1"]
        is_running = machine.state.name == "RUNNING"
        assert (machine.pause() if is_running else machine.resume()).wait(30)
        after = http.get("/v1/machines", headers=known)
        assert after.status_code == 200
        assert after.content != before.content
        assert after.headers["etag"] != before.headers["etag"]
        assert (machine.resume() if is_running else machine.pause()).wait(30)
    queries = ("?limit=1", "?limit=2", "?text=web-1", "?text=nothing-like-it", "")
    answers = [http.get(f"/v1/machines{query}") for query in queries]
    tags = {answer.headers["etag"]: answer.content for answer in answers}
    assert len(tags) == len({answer.content for answer in answers})
    for answer in answers:
        assert tags[answer.headers["etag"]] == answer.content
