"""Lists in pages: every list, whatever is added meanwhile, and what is no place in it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping

import httpx
import pytest
from fastapi.routing import APIRoute

from innkeeper.client import Inn
from innkeeper.errors import InvalidArgument
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.server.app import bare_app
from innkeeper.server.http.known_queries import taken_by
from innkeeper.server.http.paging import BY_TEXT, PageWanted, by_fields
from innkeeper.server.identity.needs import declared, declared_in
from innkeeper.wire.identity import GrantRequest, RoleName
from innkeeper.wire.messages import Paged, WindowRequest
from tests.serving import Service

#: What is of one thing, or of one moment, and is told as a whole; the last two have pages of their own.
_WHOLE = {
    "CheckList",
    "DiskChainList",
    "FindingList",
    "OperationList",
    "ParameterList",
    "SessionList",
    "ValueList",
    "AuditList",
    "TaskList",
}

#: Lists, what else is asked for, and what tells one entry from another.
_LISTS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "users": ({}, "name"),
    "tokens": ({}, "name"),
    "windows": ({}, "name"),
    "channels": ({}, "pipe_name"),
    "disks": ({}, ""),
    "schedule/tasks": ({"folder": "\\Pages"}, "name"),
    "schedule/running": ({}, "name"),
    "schedule/history": ({"text": "Pages"}, "name"),
    "virtual-pc/hard-disk-files": ({}, ""),
    "networks": ({}, "name"),
    "networks/unplugged": ({}, "machine"),
    "usb": ({}, "name"),
    "accounts": ({}, "account"),
    "hosts": ({}, "name"),
    "servers": ({}, "name"),
    "disks/exports": ({}, "path"),
    "machines": ({}, "name"),
    "updates": ({}, "identifier"),
}
#: Those that ``_add`` adds to.
_ADDED = tuple(_LISTS)[:8]


def _add(inn: Inn, name: str) -> None:
    """Add an entry of this name to each list."""
    inn.people.give_role(GrantRequest(holder=name, realm="system", role=RoleName.VIEWER))
    inn.people.tokens.make(name)
    inn.windows.add(
        WindowRequest(name=name, opens_at=dt.time(2), duration_seconds=60, dates=(dt.date(2031, 1, 1),))
    )
    inn.machines["web-1"].start_communication_channel(rf"\\.\pipe\{name}", 80)
    (root, *_) = inn.disks.read().roots
    assert inn.disks.create_dynamic(f"{root}/{name}.vhd", 4 * 2**20).wait(30)
    definition = TaskDefinition.new()
    action = definition.actions.create(ActionType.EXEC)
    action.path, action.arguments = "/bin/sleep", "600"
    inn.schedule.folder("\\Pages").register(name, definition).run()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with three entries or more in most lists."""
    running = Service(tmp_path_factory.mktemp("pages"), speed=120)
    running.start()
    with running.connect() as inn:
        inn.schedule.folder().create_folder("Pages")
        for name in ("b", "d", "f"):
            _add(inn, name)
        yield running
        for task in inn.schedule.folder("\\Pages").tasks:
            task.stop()
    running.end()


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A plain HTTP client on the local door."""
    with service.http() as client:
        yield client


def _page(http: httpx.Client, path: str, **query: str | int | None) -> tuple[list[str], str | None]:
    given = {name: value for name, value in query.items() if value is not None}
    answer = http.get(f"/v1/{path}", params={**_LISTS[path][0], **given})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (entries, *_) = [body[name] for name in _FIELDS if name in body]
    return [_name(entry, _LISTS[path][1]) for entry in entries], body["next_after"]


_FIELDS = tuple(sorted({each.entries_field for each in Paged.__subclasses__()}))


def _name(entry: object, field: str) -> str:
    found = entry[field] if isinstance(entry, dict) else entry
    return found["machine"] if isinstance(found, dict) else str(found)


@pytest.mark.parametrize("path", _LISTS)
def test_all_pages_together_are_the_list(http: httpx.Client, path: str) -> None:
    """Each entry once and in order; the last page says that there is no other."""
    whole, more = _page(http, path)
    assert more is None
    assert len(whole) >= 3 or path not in _ADDED
    for limit in (1, 2, max(len(whole), 1)):
        pages, after = _page(http, path, limit=limit)
        while after is not None:
            page, after = _page(http, path, limit=limit, after=after)
            assert 0 < len(page) <= limit
            pages += page
        assert pages == whole


@pytest.mark.parametrize("path", _LISTS)
def test_what_is_no_place_in_a_list_is_refused(http: httpx.Client, path: str) -> None:
    """With the documented identifier, and what to do next."""
    for after in ("x", "", "[]", "[1]", '["a","b","c","d","e"]', "{}", "[" * 4000):
        answer = http.get(f"/v1/{path}", params={**_LISTS[path][0], "after": after})
        assert answer.status_code == 422, (after, answer.text)
        assert answer.json()["hresult"] == 0x80070057


def test_a_page_that_a_route_does_not_have_is_refused(http: httpx.Client) -> None:
    """By a name that another list has for it: the first page came again, as often as it was asked for."""
    routes = [route for route, _ in declared_in(bare_app().state.operations) if isinstance(route, APIRoute)]
    for route in routes:
        path = re.sub("{.*?}", "1", route.path)
        for name in {"after", "before", "before_id", "limit"} - {*taken_by(route.dependant)}:
            answer = http.request(
                "GET" if "GET" in (route.methods or ()) else "POST", f"/v1{path}", params={name: "1"}
            )
            if answer.status_code == 405:  # neither is its method
                continue
            assert answer.status_code == 422, (path, name, answer.text)
            assert answer.json()["extra"]["field"] == name, (path, answer.text)


def test_a_list_by_numbers_says_by_what_name_its_next_page_is_asked_for(http: httpx.Client) -> None:
    """Tasks and the audit log go on before a number: ``after`` is not taken there."""
    for path, name in {"tasks": "before_id", "audit": "before"}.items():
        refused = http.get(f"/v1/{path}", params={"after": "zzz"})
        assert (refused.status_code, refused.json()["hresult"]) == (422, 0x80070057), refused.text
        assert name in refused.json()["advice"]
        assert http.get(f"/v1/{path}", params={name: "zzz"}).status_code == 422


@pytest.mark.parametrize("path", _LISTS)
def test_a_page_of_no_length_or_too_much_is_refused(http: httpx.Client, path: str) -> None:
    """In every list alike."""
    for limit in ("0", "10001", "many"):
        answer = http.get(f"/v1/{path}", params={**_LISTS[path][0], "limit": limit})
        assert answer.status_code == 422, limit


def test_what_is_added_meanwhile_moves_nothing_to_another_page(service: Service, http: httpx.Client) -> None:
    """Each entry of before is on one of the pages, once, whether the new ones come before or behind it."""
    before = {path: _page(http, path)[0] for path in _ADDED}
    begun = {path: _page(http, path, limit=2) for path in _ADDED}
    with service.connect() as inn:
        for name in ("a", "g"):
            _add(inn, name)
    for path, (seen, after) in begun.items():
        while after is not None:
            page, after = _page(http, path, limit=2, after=after)
            seen += page
        assert [name for name in seen if name in before[path]] == before[path], path


def test_every_list_comes_in_pages() -> None:
    """A new one either has pages, or is named here as one that is told as a whole."""
    routes = [route for route, _ in declared(bare_app()) if isinstance(route, APIRoute)]
    lists = {route.path: route.response_model for route in routes if _is_list(route)}
    assert {f"/{path}" for path in _LISTS} - {"/machines"} <= {*lists}
    for path, model in lists.items():
        assert issubclass(model, Paged) or model.__name__ in _WHOLE, path


def _is_list(route: APIRoute) -> bool:
    model = route.response_model
    return (
        "GET" in (route.methods or ())
        and isinstance(model, type)
        and (model.__name__.endswith("List") or issubclass(model, Paged))
    )


def _entries(count: int) -> list[dict[str, int]]:
    return [{"number": number} for number in reversed(range(count))]


@pytest.mark.parametrize("more", [False, True])
def test_more_than_what_is_given_is_told(more: bool) -> None:
    """As where other servers have more of it."""
    page = PageWanted(limit=12).of(_entries(12), by_fields("number"), more=more)
    assert [entry["number"] for entry in page.entries] == [*range(12)]
    assert (page.next_after is not None) == more


@pytest.mark.parametrize("text", ["a", '"', "\\", "é", "\U0001f600", ""])
def test_every_text_is_a_place(text: str) -> None:
    """Whatever is in it."""
    texts: list[str] = sorted(["a", '"', "\\", "é", "\U0001f600", ""])
    first = PageWanted(limit=texts.index(text) + 1).of(texts, BY_TEXT)
    rest = PageWanted(after=first.next_after).of(texts, BY_TEXT).entries if first.next_after else []
    assert [*first.entries, *rest] == texts


def test_a_place_of_another_list_is_refused() -> None:
    """As one of another length."""
    with pytest.raises(InvalidArgument):
        PageWanted(after='["a"]').of(_entries(1), by_fields("a", "b"))
