"""Moments that come with a request: near the years 1 and 9999 some are none in UTC."""

from __future__ import annotations

import pytest

import innkeeper
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.model.enumerations import ActionType, TriggerType
from tests.serving import Service

_NO_UTC = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]


@pytest.mark.parametrize("at", _NO_UTC)
@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("audit", "since"),
        ("schedule/calendar", "start"),
        ("schedule/calendar", "end"),
        ("schedule/task/run-times", "start"),
        ("schedule/task/run-times", "end"),
    ],
)
def test_a_moment_that_utc_does_not_have_is_refused(service: Service, path: str, field: str, at: str) -> None:
    """It is the caller's mistake, and no failure of the service."""
    with service.http() as http:
        answer = http.get(f"/v1/{path}", params={field: at, "path": "\\none"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"The request's {field} is not valid: in UTC")


@pytest.mark.parametrize("at", _NO_UTC)
@pytest.mark.parametrize("field", ["start", "end", "deadline"])
def test_no_update_is_booked_for_such_a_moment(service: Service, field: str, at: str) -> None:
    """Neither for one machine nor for many."""
    with service.http() as http:
        one = http.post("/v1/updates", json={"machine": "web-1", "identifier": "KB1", field: at})
        many = http.post("/v1/updates/book", json={"select": "web-1", "identifier": "KB1", field: at})
    for answer in (one, many):
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"The request's {field} is not valid: in UTC")


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_calendar_reaches_to_the_ends_of_all_years(service: Service, at: str) -> None:
    """Though the usual 30 days from there go beyond."""
    made = TaskDefinition.new()
    made.actions.create(ActionType.EXEC).path = "/bin/true"
    made.triggers.create(TriggerType.DAILY).start_boundary = Boundary("2026-01-01T02:00:00")
    with innkeeper.connect(socket=service.socket) as inn, service.http() as http:
        inn.schedule.folder().register("Ends", made)
        for path in ("schedule/calendar", "schedule/task/run-times"):
            answer = http.get(f"/v1/{path}", params={"start": at, "path": "\\Ends", "count": 3})
            assert answer.status_code == 200, answer.text
        inn.schedule.folder().delete_task("Ends")
