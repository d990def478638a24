"""The list of bookings, page by page and by what is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Service

IDENTIFIERS = [f"2031-{number:02}" for number in range(7)]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service in which seven updates are booked, several of one start."""
    service = Service(tmp_path_factory.mktemp("booked"), speed=1)
    service.start()
    with service.http() as client:
        for number, identifier in enumerate(IDENTIFIERS):
            booking = {
                "machine": ("web-1", "db-1")[number % 2],
                "identifier": identifier,
                "label": "Security" if number < 3 else "Kernel",
                "start": f"2031-01-0{1 + number // 3}T00:00Z",
            }
            assert client.post("/v1/updates", json=booking).status_code == 201
        yield client
    service.end()


def test_all_pages_together_are_the_list(http: httpx.Client) -> None:
    """Each booking once, also where several have one start."""
    whole = identifiers(http.get("/v1/updates").json())
    assert sorted(whole) == IDENTIFIERS
    pages: list[str] = []
    after = None
    while True:
        query = {"limit": "2"} | ({"after": after} if after else {})
        answer = http.get("/v1/updates", params=query).json()
        assert len(answer["updates"]) <= 2
        pages += identifiers(answer)
        after = answer["next_after"]
        if after is None:
            break
    assert pages == whole


def identifiers(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    """What a list names, in its order; all else of a booking may change from one look to the next."""
    return [booking["identifier"] for booking in answer["updates"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"machine": "WEB-1"}, 4),
        ({"text": "sec"}, 3),
        ({"text": "2031-06"}, 1),
        ({"ended": "true"}, 0),
        ({"ended": "false", "text": "kernel", "machine": "db-1"}, 2),
    ],
)
def test_a_list_holds_what_was_asked_for(http: httpx.Client, query: dict[str, str], count: int) -> None:
    """By machine, by end, by words of the label or the identifier."""
    assert len(http.get("/v1/updates", params=query).json()["updates"]) == count


@pytest.mark.parametrize("after", ["x", "[]", "[1]", "{}", "5", '["a"]'])
def test_a_place_that_is_none_is_refused(http: httpx.Client, after: str) -> None:
    """With what to do next."""
    answer = http.get("/v1/updates", params={"after": after})
    assert answer.status_code == 422
    assert answer.json()["advice"]
