"""Log in at the pages: who gets in, where they get to, and what another site cannot make them do."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import httpx
import pytest

from tests.serving import Service

_PASSWORD = "correct horse battery staple"
_BROWSER = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def inn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A simulated inn that listens on the loopback, with an administrator and a viewer."""
    running = Service(tmp_path_factory.mktemp("inn"), machines=5, speed=60)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running.add_arguments("--listen", f"127.0.0.1:{port}")
    running.start()
    password = running.directory / "password"
    password.write_text(_PASSWORD)
    for name, role in (("ana", "administrator"), ("bob", "viewer")):
        added = running.run("user", "add", name, "--role", role, "--password-file", str(password))
        assert added.code == 0, added.err
    running.address = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
    yield running
    running.end()


@pytest.fixture
def http(inn: Service) -> Iterator[httpx.Client]:
    """A browser that has never been here."""
    with httpx.Client(base_url=inn.address, headers=_BROWSER) as client:  # type: ignore[attr-defined]
        yield client


def _log_in(http: httpx.Client, user: str = "ana", **fields: str) -> httpx.Response:
    form = {"user": user, "realm": "local", "password": _PASSWORD, **fields}
    return http.post("/login", data=form)


def _token(http: httpx.Client, path: str = "/account") -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', http.get(path).text)
    assert found is not None
    return found[1]


def test_a_stranger_is_led_to_the_way_in_and_back_to_where_they_were_going(http: httpx.Client) -> None:
    """Whatever page they asked for."""
    asked = http.get("/machines?q=web&state=running")
    assert asked.status_code == 303
    way_in = asked.headers["Location"]
    assert way_in == "/login?next=%2Fmachines%3Fq%3Dweb%26state%3Drunning"
    found = re.search(r'name="next" value="([^"]+)"', http.get(way_in).text)
    assert found is not None
    entered = _log_in(http, next=found[1].replace("&amp;", "&"))
    assert (entered.status_code, entered.headers["Location"]) == (303, "/machines?q=web&state=running")
    assert http.get("/machines").status_code == 200


def test_nothing_but_the_way_in_is_shown_to_a_stranger(http: httpx.Client) -> None:
    """Not a name, not a number, not even whether a thing is there."""
    for path in (
        "/tonight",
        "/machines/web-1",
        "/machines/nobody",
        "/tasks/1",
        "/schedule",
        "/people",
        "/audit",
    ):
        answer = http.get(path)
        assert (answer.status_code, answer.text) == (303, ""), path
    assert http.get("/pages/events", headers={"Accept": "text/event-stream"}).status_code == 401
    assert http.post("/machines/web-1/commands/pause").status_code in (303, 401)


def test_a_wrong_password_is_told_beside_the_field_and_says_nothing_more(http: httpx.Client) -> None:
    """The same for a name that is not there."""
    wrong = _log_in(http, password="wrong")
    unknown = _log_in(http, user="nobody", password="wrong")
    assert wrong.status_code == unknown.status_code == 401
    assert "0x80070005" in wrong.text
    assert "set-cookie" not in wrong.headers
    assert _PASSWORD not in wrong.text
    assert re.sub("nobody|ana", "", wrong.text) == re.sub("nobody|ana", "", unknown.text)


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/tonight\r\nSet-Cookie: a=b",
        "/login?next=/login",
        "x" * 5000,
    ],
)
def test_the_way_in_leads_nowhere_else(http: httpx.Client, elsewhere: str) -> None:
    """Whoever made the link."""
    entered = _log_in(http, next=elsewhere)
    assert entered.status_code == 303
    assert entered.headers["Location"] == "/tonight"
    assert "a=b" not in entered.headers.get("set-cookie", "")


def test_a_nul_in_a_form_is_refused(http: httpx.Client) -> None:
    """It is in no name, and no page leads there."""
    refused = _log_in(http, next="/%0d%0aSet-Cookie:a=b\0")
    assert refused.status_code == 422
    assert "NUL" in refused.text
    assert "set-cookie" not in refused.headers


def test_the_cookie_is_kept_from_scripts_and_other_sites(http: httpx.Client) -> None:
    """And ends with the session, at the service too."""
    cookie = _log_in(http).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    stolen = dict(http.cookies)
    left = http.post("/logout", data={"csrf": _token(http)})
    assert (left.status_code, left.headers["Location"]) == (303, "/login")
    with httpx.Client(base_url=http.base_url, headers=_BROWSER, cookies=stolen) as thief:
        assert thief.get("/tonight").status_code == 303
        assert thief.get("/v1/machines").status_code == 401


def test_a_form_that_did_not_come_from_our_pages_does_nothing(http: httpx.Client) -> None:
    """Without its token, with another session's, or from another site."""
    _log_in(http)
    token = _token(http)
    with httpx.Client(base_url=http.base_url, headers=_BROWSER) as other:
        _log_in(other)
        foreign = _token(other)
    path = "/machines/web-1/commands/pause"
    for data, headers in (
        ({}, {}),
        ({"csrf": "x"}, {}),
        ({"csrf": foreign}, {}),
        ({"csrf": token}, {"Origin": "https://evil.example"}),
        ({"csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
    ):
        assert http.post(path, data=data, headers=headers).status_code == 403, (data, headers)
    assert http.get("/v1/machines/web-1").json()["task_id"] is None
    assert (
        http.post(path, data={"csrf": token}, headers={"Origin": str(http.base_url).rstrip("/")}).status_code
        == 303
    )


def test_a_viewer_is_shown_no_more_than_they_may(http: httpx.Client) -> None:
    """No button that would be refused, no place that is not theirs; and by hand it is refused."""
    _log_in(http, user="bob")
    page = http.get("/machines/web-1").text
    assert "You may look at this machine, but not command it." in page
    assert "/commands/" not in page
    assert "/console" not in page
    assert "Book an update" not in page
    navigation = http.get("/tonight").text
    assert "/people" not in navigation
    assert "/audit" not in navigation
    assert http.get("/people").status_code == 403
    assert http.get("/schedule/edit").status_code == 403
    token = _token(http)
    for path in ("/machines/web-1/commands/pause", "/people/add", "/schedule/run", "/machines/web-1/updates"):
        answer = http.post(path, data={"csrf": token, "identifier": "x", "path": "\\x", "name": "y"})
        assert answer.status_code in (403, 404, 422), path
    assert "y" not in [user["name"] for user in _as_administrator(http)]


def test_a_tokens_secret_is_shown_once(http: httpx.Client) -> None:
    """It opens the interface in one's name, and nothing once it is revoked."""
    _log_in(http)
    made = http.post(
        "/account/tokens", data={"csrf": _token(http), "name": "backup", "role": "viewer", "days": "3"}
    )
    found = re.search(r'<code class="secret">([^<]+)</code>', made.text)
    assert found is not None
    assert found[1] not in http.get("/account").text
    bearer = {"Authorization": f"Bearer {found[1]}"}
    with httpx.Client(base_url=http.base_url, headers=bearer) as program:
        assert program.get("/v1/inn").json()["role"] == "viewer"
        token_id = re.search(
            r'action="/account/revoke">.*?name="id" value="([^"]+)"', http.get("/account").text
        )
        assert token_id is not None
        http.post("/account/revoke", data={"csrf": _token(http), "id": token_id[1]})
        assert program.get("/v1/inn").status_code == 401


def test_people_are_looked_after_with_mistakes_beside_their_fields(http: httpx.Client) -> None:
    """Added, given a role, closed and removed; and each act is in the audit log, once."""
    _log_in(http)
    token = {"csrf": _token(http)}
    short = http.post("/people/add", data={**token, "name": "eva", "password": "x"})
    assert short.status_code == 422
    assert re.search(r'id="add-password-hint">.*?0x8', short.text, re.DOTALL)
    assert 'value="eva"' in short.text
    for path, fields in (
        ("/people/add", {"name": "eva", "password": _PASSWORD, "role": "viewer"}),
        (
            "/people/give",
            {"holder": "eva", "realm": "local", "role": "operator", "reach": "machine", "on": "web-1"},
        ),
        ("/people/enable", {"name": "eva", "enabled": "false"}),
    ):
        assert http.post(path, data={**token, **fields}).headers.get("location") == "/people", path
    page = http.get("/people").text
    assert "operator on machine web-1" in page
    assert "disabled" in page
    log = http.get("/audit?action=add_user").text
    assert log.count("eva@local as viewer") == 1
    assert "No entry has been changed" in http.get("/audit/verify").text
    assert http.post("/people/remove", data={**token, "name": "eva"}).status_code == 303
    assert "eva" not in http.get("/people").text


def _as_administrator(http: httpx.Client) -> list[dict[str, str]]:
    with httpx.Client(base_url=http.base_url, headers=_BROWSER) as other:
        _log_in(other)
        users: list[dict[str, str]] = other.get("/v1/users").json()["users"]
        return users
