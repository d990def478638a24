"""Sessions of pages: the cookie, the token of forms, and what a stolen or forged one is worth."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from innkeeper.identity.audit import Audit
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.granted import Granted
from innkeeper.identity.memory import MemoryAuditStore
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Role
from innkeeper.server.http import problems
from innkeeper.server.identity.gate import Gate
from innkeeper.server.identity.identify import Identify
from innkeeper.server.identity.needs import guarded, needs, open_to_all
from innkeeper.server.identity.people import People
from innkeeper.server.identity.sessions import csrf_token, log_in, log_out
from innkeeper.server.peers import Admission, Peers
from innkeeper.server.routes import sessions
from innkeeper.tasks.clock import FakeClock
from tests.identity.people import GOOD, memory_people

router = APIRouter()


@router.post("/login", dependencies=open_to_all())
async def enter(request: Request) -> Response:
    """As a page that logs in."""
    form = await request.form()
    given = (str(form["realm"]), str(form["user"]), str(form["password"]))
    return await log_in(request, *given, PlainTextResponse("welcome"))


@router.post("/logout", dependencies=needs(Role.VIEWER))
async def leave(request: Request) -> Response:
    """As a page that logs out."""
    return await log_out(request, PlainTextResponse("bye"))


@router.get("/form", dependencies=needs(Role.VIEWER))
async def form(request: Request) -> Response:
    """As a page with a form."""
    return PlainTextResponse(csrf_token(request))


@router.post("/act", dependencies=needs(Role.OPERATOR))
async def act(request: Request) -> Response:
    """As what a form is sent to; it can read the form once more."""
    return PlainTextResponse(str((await request.form()).get("what")))


@router.get("/stream", dependencies=needs(Role.VIEWER))
async def stream(request: Request) -> Response:
    """As a page that stays open: it says the time until it is ended."""

    async def saying() -> AsyncIterator[bytes]:
        while True:
            yield b"tick "
            await asyncio.sleep(0.01)

    return StreamingResponse(saying())


def _of_lab(user: str) -> Caller:
    return Caller(user=user, realm="LAB", proof=Proof.PASSWORD)


async def _plain(request: Request) -> Response:
    return PlainTextResponse("done")


class Site:
    """A site with these pages, seen by a browser."""

    def __init__(self, people: People, scheme: str) -> None:
        app = FastAPI()
        app.include_router(router)
        app.include_router(sessions.router)
        app.add_route("/plain", guarded(needs(Role.OPERATOR), _plain), methods=["POST"])
        problems.install(app)
        app.state.house = types.SimpleNamespace(people=people, audit=Audit(MemoryAuditStore(), FakeClock()))
        gate = Gate(peers=Peers(Admission()), logins=people.logins)
        app.add_middleware(Identify, gate=gate, revocations=people.revocations, look_seconds=0.05)
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 1))
        self.people = people
        self.browser = httpx.AsyncClient(transport=transport, base_url=f"{scheme}://inn")

    async def log_in(self) -> httpx.Response:
        """As somebody who is an operator."""
        given = {"realm": "local", "user": "ana", "password": GOOD}
        return await self.browser.post("/login", data=given)


@pytest.fixture(params=["http", "https"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A site, with and without TLS."""
    people = memory_people(FakeClock())
    await people.accounts.add("ana", GOOD)
    granted = Granted(realm="local", name="ana", is_group=False, grant=Grant(role=Role.OPERATOR))
    await people.grants.give(granted)
    yield Site(people, request.param)
    people.passwords.close()


async def test_the_cookie_is_for_no_script_and_no_other_site(site: Site) -> None:
    """Over TLS for this very host and never without."""
    message = (await site.log_in()).headers["set-cookie"]
    assert "HttpOnly" in message
    assert re.search("samesite=strict", message, re.I)
    assert "Path=/" in message
    assert "Domain" not in message
    is_safe = site.browser.base_url.scheme == "https"
    assert message.startswith("__Host-innkeeper_session=") is is_safe
    assert ("Secure" in message) is is_safe


async def test_a_cookie_that_was_stolen_is_worth_nothing_after_the_logout(site: Site) -> None:
    """The session ends on the server."""
    await site.log_in()
    stolen = dict(site.browser.cookies)
    token = (await site.browser.get("/form")).text
    assert (await site.browser.post("/logout", data={"csrf": token})).text == "bye"
    assert not site.browser.cookies
    site.browser.cookies.update(stolen)
    assert (await site.browser.get("/form")).status_code == 401


async def test_logging_in_again_ends_the_session_before(site: Site) -> None:
    """And nobody can plant a session on somebody else: the secret is new each time."""
    await site.log_in()
    first = dict(site.browser.cookies)
    await site.log_in()
    assert dict(site.browser.cookies) != first
    site.browser.cookies.clear()
    site.browser.cookies.update(first)
    assert (await site.browser.get("/form")).status_code == 401


@pytest.mark.parametrize("whose", [{"user": "Eve", "realm": "LAB"}, {"user": "EVE", "realm": "Lab"}])
async def test_all_sessions_of_somebody_end_however_they_are_spelled(
    site: Site, whose: dict[str, str]
) -> None:
    """A directory keeps the case of its names, and whoever asks may write another."""
    raised = Granted(realm="local", name="ana", is_group=False, grant=Grant(role=Role.ADMINISTRATOR))
    await site.people.grants.give(raised)
    for user in ("Eve", "eve", "Eva"):
        await site.people.sessions.open(_of_lab(user), Known(user=user))
    await site.log_in()
    headers = {"X-CSRF-Token": (await site.browser.get("/form")).text}
    nowhere = await site.browser.delete("/sessions", params={"user": "Eve"}, headers=headers)
    assert nowhere.status_code == 422
    ended = await site.browser.delete("/sessions", params=whose, headers=headers)
    assert ended.json() == {"ended": 2}
    assert {each.known.user for each in await site.people.sessions.list()} == {"Eva", "ana"}


async def test_ones_own_sessions_end_however_one_spells_oneself(site: Site) -> None:
    """Nobody has to be an administrator for that."""
    await site.log_in()
    headers = {"X-CSRF-Token": (await site.browser.get("/form")).text}
    whose = {"user": "Ana", "realm": "Local"}
    assert (await site.browser.delete("/sessions", params=whose, headers=headers)).json() == {"ended": 1}
    assert (await site.browser.get("/form")).status_code == 401


async def test_a_form_without_its_token_is_refused(site: Site) -> None:
    """As a header or as a field it is taken; another session's is not."""
    await site.log_in()
    token = (await site.browser.get("/form")).text
    for path in ("/act", "/plain", "/logout"):
        for body in ({}, {"csrf": ""}, {"csrf": token[:-1]}, {"csrf": "é"}):
            assert (await site.browser.post(path, data=body)).status_code == 403
    assert (await site.browser.post("/act", data={"csrf": token, "what": "x"})).text == "x"
    assert (await site.browser.post("/plain", headers={"X-CSRF-Token": token})).text == "done"
    multipart = await site.browser.post("/act", data={"csrf": token, "what": "y"}, files={"file": b"z"})
    assert multipart.text == "y"
    await site.log_in()
    assert (await site.browser.post("/act", data={"csrf": token})).status_code == 403


@pytest.mark.parametrize(
    "message", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}]
)
async def test_another_site_logs_nobody_in_and_acts_for_nobody(site: Site, message: dict[str, str]) -> None:
    """What the browser says of where it began decides, before any token."""
    given = {"realm": "local", "user": "ana", "password": GOOD}
    assert (await site.browser.post("/login", data=given, headers=message)).status_code == 403
    await site.log_in()
    token = (await site.browser.get("/form")).text
    assert (await site.browser.post("/act", data={"csrf": token}, headers=message)).status_code == 403


async def test_a_wrong_password_begins_no_session(site: Site) -> None:
    """Access denied, and no cookie."""
    given = {"realm": "local", "user": "ana", "password": "wrong wrong"}
    answer = await site.browser.post("/login", data=given)
    assert (answer.status_code, answer.json()["hresult"]) == (401, 0x80070005)
    assert "set-cookie" not in answer.headers


async def test_who_has_no_cookie_has_no_token_of_forms(site: Site) -> None:
    """A page that asks nobody can be rendered all the same."""
    request = Request({"type": "http", "headers": [], "scheme": "https", "server": ("inn", 443), "path": "/"})
    assert csrf_token(request) == ""


@pytest.mark.parametrize("ended", ["log out", "new password", "other role"])
async def test_an_open_stream_ends_with_its_session(site: Site, ended: str) -> None:
    """Also when the password was changed, or a role: whoever comes again comes as they are now."""
    await site.log_in()
    token = (await site.browser.get("/form")).text
    open_stream = asyncio.create_task(site.browser.get("/stream"))
    await asyncio.sleep(0.2)
    assert not open_stream.done()
    if ended == "log out":
        await site.browser.post("/logout", data={"csrf": token})
    elif ended == "new password":
        await site.people.accounts.set_password("ana", GOOD)
    else:
        raised = Granted(realm="local", name="ana", is_group=False, grant=Grant(role=Role.ADMINISTRATOR))
        await site.people.grants.give(raised)
    answer = await asyncio.wait_for(open_stream, 10)
    assert answer.text.startswith("tick ")
