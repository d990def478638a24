"""The remote door of a real service: logging in and out, sessions, tokens, and what is refused there."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.identity.people import GOOD
from tests.serving import Service


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a remote door on the loopback, an operator ``bob`` and a ``guest`` without a role."""
    running = Service(tmp_path_factory.mktemp("remote"), speed=120)
    running.listen()
    running.start()
    with _local(running) as root:
        for name, role in (("bob", "operator"), ("guest", None), ("eve", "administrator")):
            added = root.post("/v1/users", json={"name": name, "password": GOOD, "role": role})
            assert added.status_code == 201, added.text
    yield running
    running.end()


def _local(service: Service) -> httpx.Client:
    return httpx.Client(transport=httpx.HTTPTransport(uds=str(service.socket)), base_url="http://innkeeper")


@pytest.fixture
def http(remote: Service) -> Iterator[httpx.Client]:
    """A client of the remote door that nobody has sent."""
    with httpx.Client(base_url=remote.url, timeout=30) as client:
        yield client


def _log_in(
    http: httpx.Client, user: str = "bob", password: str = GOOD, domain: str = "local"
) -> httpx.Response:
    return http.post("/v1/login", json={"user": user, "domain": domain, "password": password})


def _bearer(answer: httpx.Response) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_whoever_is_unknown_gets_nothing_from_the_remote_door(http: httpx.Client) -> None:
    """401 with the documented identifier, and what to do."""
    answer = http.get("/v1/machines")
    assert (answer.status_code, answer.json()["hresult"]) == (401, 0x80070005)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert http.get("/livez").status_code == 200


def test_a_login_opens_the_door_until_the_logout(http: httpx.Client) -> None:
    """A copied token is worth nothing after it."""
    entered = _log_in(http)
    assert entered.status_code == 201
    assert entered.headers["Cache-Control"] == "no-store"
    me = http.get("/v1/inn", headers=_bearer(entered)).json()
    assert (me["user"], me["domain"], me["proof"], me["role"]) == ("bob", "local", "password", "operator")
    assert http.post("/v1/machines/web-1/pause", headers=_bearer(entered)).status_code == 202
    assert http.get("/v1/users", headers=_bearer(entered)).status_code == 403
    assert http.post("/v1/logout", headers=_bearer(entered)).status_code == 204
    assert http.get("/v1/inn", headers=_bearer(entered)).status_code == 401


def test_who_has_no_role_is_denied_access(http: httpx.Client) -> None:
    """Though the password is right."""
    answer = _log_in(http, "guest")
    assert (answer.status_code, answer.json()["hresult"]) == (403, 0x80070005)


def test_basic_works_for_programs_that_know_nothing_else(http: httpx.Client) -> None:
    """With the realm behind an @, or before a backslash."""
    for name in ("bob@local", "local\\bob"):
        proof = base64.b64encode(f"{name}:{GOOD}".encode()).decode()
        answer = http.get("/v1/inn", headers={"Authorization": f"Basic {proof}"})
        assert answer.json()["user"] == "bob"
    bad = base64.b64encode(b"bob@local:wrong wrong").decode()
    assert http.get("/v1/inn", headers={"Authorization": f"Basic {bad}"}).status_code == 401


@pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic %%%", "Basic //8=", "Digest a", "x" * 5000])
def test_a_proof_that_is_none_is_refused(http: httpx.Client, header: str) -> None:
    """Also at a route that asks nobody: whoever brings a proof wants it looked at."""
    assert http.get("/v1/inn", headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize(
    "query", ["token=abc", "access_token=abc", "password=abc", "x=innkeeper_0123456789ab_secret"]
)
def test_a_secret_in_an_address_is_refused(remote: Service, http: httpx.Client, query: str) -> None:
    """Logs and histories would keep it; so does no log of ours."""
    answer = http.get(f"/v1/machines?{query}", headers=_bearer(_log_in(http)))
    assert answer.status_code == 401
    assert "address" in answer.json()["detail"]
    assert query not in remote.log.read_text()


def test_a_token_is_shown_once_and_does_what_its_scope_leaves(http: httpx.Client) -> None:
    """Until it is revoked."""
    mine = _bearer(_log_in(http))
    scope = [{"role": "viewer", "reach": "machine", "name": "web-1"}]
    made = http.post("/v1/tokens", headers=mine, json={"name": "ci", "scope": scope, "days": 1})
    assert made.status_code == 201
    secret, token = made.json()["secret"], made.json()["token"]
    proof = {"Authorization": f"Bearer {secret}"}
    assert http.get("/v1/machines/web-1", headers=proof).status_code == 200
    assert http.get("/v1/machines/db-1", headers=proof).status_code == 404
    assert http.post("/v1/machines/web-1/pause", headers=proof).status_code == 403
    assert http.post("/v1/tokens", headers=proof, json={"name": "wider"}).status_code == 403
    assert secret not in http.get("/v1/tokens", headers=mine).text
    others = _bearer(_log_in(http, "eve"))
    assert token["id"] not in http.get("/v1/tokens", headers=others).text
    assert token["id"] in http.get("/v1/tokens?everybodys=true", headers=others).text
    assert http.get("/v1/tokens?everybodys=true", headers=mine).status_code == 403
    assert http.delete(f"/v1/tokens/{token['id']}", headers=others).status_code == 204
    assert http.get("/v1/machines/web-1", headers=proof).status_code == 401


def test_sessions_are_listed_and_ended_one_by_one_or_all(http: httpx.Client) -> None:
    """One's own by everybody, those of others by administrators alone; an ended one opens nothing."""
    first, second = _bearer(_log_in(http)), _bearer(_log_in(http))
    listed = http.get("/v1/sessions", headers=second).json()["sessions"]
    own = [each for each in listed if each["is_own"]]
    assert len(own) == 1
    assert own[0]["address"]
    other = next(each for each in reversed(listed) if not each["is_own"])
    eve = _bearer(_log_in(http, "eve"))
    assert http.get("/v1/sessions?everybodys=true", headers=first).status_code == 403
    everybodys = http.get("/v1/sessions?everybodys=true", headers=eve).json()["sessions"]
    assert {own[0]["id"], other["id"]} < {each["id"] for each in everybodys}
    eves = next(each for each in everybodys if each["is_own"])
    assert http.delete(f"/v1/sessions/{eves['id']}", headers=first).status_code == 404
    assert http.delete(f"/v1/sessions/{other['id']}", headers=second).status_code == 204
    assert http.get("/v1/sessions", headers=first).status_code == 401
    user, _, realm = own[0]["owner"].partition("@")
    whose = {"user": user, "realm": realm}
    assert (
        http.delete("/v1/sessions", params={"user": "eve", "realm": realm}, headers=second).status_code == 403
    )
    assert http.delete("/v1/sessions", params=whose, headers=eve).json()["ended"] >= 1
    assert http.get("/v1/sessions", headers=second).status_code == 401
    assert http.get("/v1/sessions", headers=eve).status_code == 200


def test_a_token_with_a_scope_ends_no_session(http: httpx.Client) -> None:
    """It could end what reaches further than itself."""
    mine = _bearer(_log_in(http))
    scope = [{"role": "viewer"}]
    made = http.post("/v1/tokens", headers=mine, json={"name": "ends", "scope": scope, "days": 1}).json()
    proof = {"Authorization": f"Bearer {made['secret']}"}
    session = http.get("/v1/sessions", headers=mine).json()["sessions"][-1]
    assert http.delete("/v1/sessions", headers=proof).status_code == 403
    assert http.delete(f"/v1/sessions/{session['id']}", headers=proof).status_code == 403
    assert http.get("/v1/sessions", headers=mine).status_code == 200


@pytest.mark.parametrize(
    "query", ["?before=-2635365246910886576128", f"?before={10**30}", f"/verify?number={10**30}&seal=a"]
)
def test_a_number_that_no_entry_has_is_refused(http: httpx.Client, query: str) -> None:
    """No database keeps it: it is the caller's mistake, and no failure of the service."""
    assert http.get(f"/v1/audit{query}", headers=_bearer(_log_in(http, "eve"))).status_code == 422


def test_a_token_of_root_is_roots(remote: Service, http: httpx.Client) -> None:
    """What somebody is at the local door they are by a token from there."""
    with _local(remote) as local:
        made = local.post("/v1/tokens", json={"name": "backup"}).json()
        me = local.get("/v1/inn").json()
    there = http.get("/v1/inn", headers={"Authorization": f"Bearer {made['secret']}"}).json()
    assert (there["user"], there["domain"], there["role"]) == (me["user"], "system", "administrator")


def test_people_change_their_own_password(remote: Service, http: httpx.Client) -> None:
    """With the former one; whoever was logged in with it no longer is."""
    with _local(remote) as root:
        root.post("/v1/users", json={"name": "dora", "password": GOOD, "role": "viewer"})
    mine = _bearer(_log_in(http, "dora"))
    wrong = {"current": "not the former one", "password": "another good one"}
    assert http.put("/v1/password", headers=mine, json=wrong).status_code == 401
    right = {"current": GOOD, "password": "another good one"}
    assert http.put("/v1/password", headers=mine, json=right).status_code == 204
    assert http.get("/v1/inn", headers=mine).status_code == 401
    assert _log_in(http, "dora", "another good one").status_code == 201


def test_no_secret_is_in_any_answer_or_log(remote: Service, http: httpx.Client) -> None:
    """Not in a refusal either: neither a password that was right nor one that was wrong."""
    message = [
        http.post("/v1/login", json={"user": "bob", "domain": "local", "password": GOOD, "extra": 1}).text,
        http.post("/v1/login", json={"user": 1, "domain": "local", "password": GOOD}).text,
        http.post("/v1/login", json={"user": "bob", "domain": "local", "password": [GOOD]}).text,
        _log_in(http, "bob", "a wrong secret one").text,
    ]
    with _local(remote) as root:
        message.append(root.post("/v1/users", json={"name": "x\n", "password": GOOD}).text)
        message.append(root.get("/v1/users").text)
    everything = "".join(message) + remote.log.read_text()
    assert GOOD not in everything
    assert "a wrong secret one" not in everything
    assert "argon2" not in everything


def test_a_request_from_another_site_is_refused(http: httpx.Client) -> None:
    """Whatever proof the browser adds by itself."""
    mine = _bearer(_log_in(http))
    for message in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = http.post("/v1/machines/web-1/resume", headers=mine | message)
        assert (answer.status_code, answer.json()["hresult"]) == (403, 0x80070005)
    own = str(http.base_url).rstrip("/")
    answer = http.post("/v1/machines/none/resume", headers=mine | {"Origin": own})
    assert answer.status_code == 404


def _raw(remote: Service) -> socket.socket:
    host, port = remote.url.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/inn HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
        b"GET /v1/inn HTTP/1.1\r\nHost: x\r\nX-A: b\n c: d\r\n\r\n",
        b"GET /v1/inn\r\nX: y HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/inn HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_header_is_refused(remote: Service, http: httpx.Client, head: bytes) -> None:
    """It never reaches a route, and the others are served."""
    with _raw(remote) as connection:
        connection.sendall(head)
        connection.settimeout(20)
        answer = connection.recv(4096)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"HTTP/1.1 401"))
    assert http.get("/livez").status_code == 200


def test_nobody_writes_lines_into_the_log(remote: Service, http: httpx.Client) -> None:
    """Neither by a name nor by a path."""
    lines = len(remote.log.read_text().splitlines())
    _log_in(http, "bob\nlevel=info event=granted")
    http.get("/v1/machines/a%0Alevel=info%20event=granted", headers=_bearer(_log_in(http)))
    assert not [line for line in remote.log.read_text().splitlines()[lines:] if line.startswith("level=")]


def test_whoever_drips_their_request_in_is_put_out(remote: Service, http: httpx.Client) -> None:
    """Others are served meanwhile; a whole request may take its time to be answered."""
    with _raw(remote) as slow:
        slow.sendall(b"GET /v1/inn HTTP/1.1\r\n")
        slow.settimeout(0.5)
        served = 0
        with contextlib.suppress(ConnectionError):
            while _is_left_open(slow):
                assert http.get("/livez").status_code == 200
                served += 1
                assert served < 400, "it is never put out"
                slow.sendall(b"X")
        assert served


def _is_left_open(slow: socket.socket) -> bool:
    """Whether nothing has come within the time-out: not an answer, and not the end."""
    try:
        return slow.recv(10) != b""
    except TimeoutError:
        return True


def test_too_many_connections_from_one_address_are_told_so(tmp_path: Path) -> None:
    """Those that are in are served."""
    service = Service(tmp_path)
    config = tmp_path / "inn.toml"
    config.write_text("max_connections_from_one = 5\n")
    service.listen()
    service.add_arguments("--config", str(config))
    service.start()
    try:
        with httpx.Client(base_url=service.url) as inside:
            assert inside.get("/livez").status_code == 200
            held = [_raw(service) for _ in range(4)]
            with _raw(service) as one_more:
                assert one_more.recv(100).startswith(b"HTTP/1.1 503")
            assert inside.get("/livez").status_code == 200
            for each in held:
                each.close()
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with httpx.Client(base_url=service.url) as next_one:
                    if next_one.get("/livez").status_code == 200:
                        break
            else:
                pytest.fail("whoever has gone still takes a place")
    finally:
        service.end()


def test_a_body_over_the_limit_is_refused_for_the_unknown_too(http: httpx.Client) -> None:
    """Before it is read whole."""
    answer = http.post("/v1/login", content=json.dumps({"user": "x" * 2_000_000}).encode())
    assert answer.json()["code"] == "ERROR_BUFFER_OVERFLOW"


def test_what_is_done_on_a_page_is_told_to_the_audit_log_once(remote: Service) -> None:
    """As the operation that it is, by the session that did it; a forged form is not carried out."""
    with httpx.Client(base_url=remote.url, timeout=30) as browser:
        given = {"realm": "local", "user": "bob", "password": GOOD, "next": "/machines"}
        assert browser.post("/login", data=given).status_code == 303
        page = browser.get(
            "/machines/desk-1" if "desk-1" in browser.get("/machines").text else "/machines/web-1"
        )
        name = str(page.url).rsplit("/", 1)[1]
        (token,) = set(re.findall(r'name="csrf" value="([0-9a-f]{64})"', page.text))
        path = f"/machines/{name}/commands/pause"
        assert browser.post(path, data={"csrf": "0" * 64}).status_code == 403
        with remote.connect() as root:
            before = root.audit.list(who="bob@local", on=f"machine {name}").entries
            browser.post(path, data={"csrf": token})
            told = root.audit.list(who="bob@local", on=f"machine {name}").entries
        new = [entry for entry in told if entry.number not in {each.number for each in before}]
        assert sorted(entry.outcome for entry in new) in (["begun", "done"], ["begun", "failed"])
        assert {entry.action for entry in new} == {"command_machine"}
        assert all(entry.proof.startswith("session ") for entry in new)
        stolen = dict(browser.cookies)
        assert browser.post("/logout", data={"csrf": token}).status_code == 303
    with httpx.Client(base_url=remote.url, cookies=stolen) as thief:
        assert thief.get("/v1/inn").status_code == 401
        assert thief.get("/machines").status_code in (303, 401)


@pytest.mark.parametrize("change", ["closed", "removed", "password", "role"])
def test_a_stream_ends_at_once_when_its_caller_may_no_longer_read_it(remote: Service, change: str) -> None:
    """However they proved who they are: here by name and password in each request."""
    name = f"visitor-{change}"
    with _local(remote) as root:
        root.post("/v1/users", json={"name": name, "password": GOOD, "role": "viewer"})
        basic = "Basic " + base64.b64encode(f"{name}@local:{GOOD}".encode()).decode()
        with (
            httpx.Client(base_url=remote.url, timeout=30) as reader,
            reader.stream("GET", "/v1/events", headers={"Authorization": basic}) as stream,
        ):
            assert stream.status_code == 200
            began = time.monotonic()
            if change == "closed":
                root.put(f"/v1/users/{name}/enabled", json={"enabled": False})
            elif change == "removed":
                root.delete(f"/v1/users/{name}")
            elif change == "password":
                root.put(f"/v1/users/{name}/password", json={"password": GOOD + " new"})
            else:
                root.delete("/v1/roles", params={"holder": name, "realm": "LOCAL"})
            with contextlib.suppress(httpx.RemoteProtocolError):
                for _ in stream.iter_raw():
                    assert time.monotonic() - began < 9, "only the next look ended it"
        root.delete(f"/v1/users/{name}")


def test_a_role_is_never_inherited_by_the_next_account_of_the_name(remote: Service) -> None:
    """Whatever way realm and name were spelled when it was given."""
    with _local(remote) as root:
        account = {"name": "Straße", "password": GOOD}
        assert root.post("/v1/users", json=account).status_code == 201
        for realm, holder in (("Local", "STRASSE"), ("LOCAL", "strasse"), ("local", "Straße")):
            given = {"realm": realm, "holder": holder, "role": "administrator"}
            assert root.post("/v1/roles", json=given).status_code == 201
        (found,) = [each for each in root.get("/v1/users").json()["users"] if each["name"] == "strasse"]
        assert len(found["roles"]) == 1
        assert root.delete("/v1/users/STRASSE").status_code == 204
        assert root.post("/v1/users", json=account).status_code == 201
        (found,) = [each for each in root.get("/v1/users").json()["users"] if each["name"] == "strasse"]
        assert found["roles"] == []
        root.delete("/v1/users/strasse")


def test_a_token_with_a_scope_ends_no_token_that_reaches_further(remote: Service) -> None:
    """It may end itself."""
    with httpx.Client(base_url=remote.url, timeout=30) as client:
        session = _bearer(_log_in(client))
        whole = client.post("/v1/tokens", json={"name": "whole"}, headers=session).json()
        small = client.post(
            "/v1/tokens", json={"name": "small", "scope": [{"role": "viewer"}]}, headers=session
        ).json()
        by_small = {"Authorization": f"Bearer {small['secret']}"}
        refused = client.delete(f"/v1/tokens/{whole['token']['id']}", headers=by_small)
        assert refused.status_code == 403, refused.text
        assert client.delete(f"/v1/tokens/{small['token']['id']}", headers=by_small).status_code == 204
        assert client.delete(f"/v1/tokens/{whole['token']['id']}", headers=session).status_code == 204


def test_an_answer_is_not_told_again_to_whom_it_would_not_be_told_now(remote: Service) -> None:
    """A repetition under the key of a request that was made with another role."""
    with _local(remote) as root, httpx.Client(base_url=remote.url, timeout=30) as client:
        root.post("/v1/users", json={"name": "fallen", "password": GOOD, "role": "operator"})
        basic = "Basic " + base64.b64encode(f"fallen@local:{GOOD}".encode()).decode()
        headers = {"Authorization": basic, "Idempotency-Key": "a-fallen-operators"}
        window = {"name": "fallen", "opens_at": "22:00", "duration_seconds": 60, "weekdays": ["mon"]}
        first = client.post("/v1/windows", json=window, headers=headers)
        given = {"realm": "local", "holder": "fallen", "role": "viewer"}
        assert root.post("/v1/roles", json=given).status_code == 201
        again = client.post("/v1/windows", json=window, headers=headers)
        assert again.status_code == 403, (first.text, again.text)
        root.delete("/v1/windows/fallen")
        root.delete("/v1/users/fallen")


def test_a_page_of_another_name_is_not_of_one_origin_with_the_service(http: httpx.Client) -> None:
    """DNS that points elsewhere than before: the browser sends the other name."""
    for host in ("evil.example", "evil.example:8443", "localhost.evil.example", "evil.example."):
        refused = http.get("/v1/service", headers={"Host": host})
        assert refused.status_code in (401, 403), host
        assert "host_names" in refused.text
    for host in ("localhost:1", "127.0.0.1", "[::1]:8443", "192.0.2.1", socket.gethostname()):
        assert "host_names" not in http.get("/v1/service", headers={"Host": host}).text


def test_websockets_count_to_the_connections_of_their_address(tmp_path: Path) -> None:
    """An upgrade frees no place."""
    service = Service(tmp_path)
    config = tmp_path / "inn.toml"
    config.write_text("max_connections_from_one = 4\n")
    service.listen()
    service.add_arguments("--config", str(config))
    service.start()
    try:
        with _local(service) as root:
            root.post("/v1/users", json={"name": "bob", "password": GOOD, "role": "operator"})
            (machine, *_) = root.get("/v1/machines").json()["machines"]
        basic = "Basic " + base64.b64encode(f"bob@local:{GOOD}".encode()).decode()
        url = f"{service.url.replace('http', 'ws', 1)}/v1/machines/{machine['name']}/console"
        with contextlib.ExitStack() as held:
            for _ in range(4):
                held.enter_context(connect(url, additional_headers={"Authorization": basic}))
            with _raw(service) as one_more:
                assert one_more.recv(100).startswith(b"HTTP/1.1 503")
        deadline = time.monotonic() + 10
        while _raw_is_refused(service):
            assert time.monotonic() < deadline, "whoever has gone still takes a place"
    finally:
        service.end()


def _raw_is_refused(service: Service) -> bool:
    with httpx.Client(base_url=service.url) as client:
        return client.get("/livez").status_code == 503
