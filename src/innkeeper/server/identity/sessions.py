"""Sessions of browsers: the cookie, and the token that forms carry against forgery.

For a page that logs in::

    try:
        response = await log_in(request, realm, user, password, RedirectResponse("/", 303))
    except NotAuthenticated as refused:          # 0x80070005: say ``refused.sentence`` beside the form
        ...

for one that logs out, ``await log_out(request, RedirectResponse("/login", 303))``; ``realms(request)`` names
the realms to choose from. Every form with ``method="post"`` has a hidden field called ``csrf`` with
``csrf_token(request)``; scripts send it as ``X-CSRF-Token``. That it is there and right is seen to by the
``needs(…)`` of the route; nobody has to ask for it.
"""

from __future__ import annotations

import hmac
from typing import Final, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from innkeeper.errors import NotPermitted
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.sessions import csrf_token_of
from innkeeper.server.http.callers import CALLER
from innkeeper.server.identity.subjects import house_of
from innkeeper.server.peers import PEER
from innkeeper.server.relay.vouching import FROM_PEER

#: The hidden field of a form, and the header that scripts send instead.
CSRF_FIELD: Final = "csrf"
CSRF_HEADER: Final = "x-csrf-token"

#: The cookie; over TLS a browser keeps the one with the prefix to this very host.
_COOKIE: Final = "innkeeper_session"
_SAFE_COOKIE: Final = "__Host-innkeeper_session"

_LONGEST_SECRET: Final = 128

Answer = TypeVar("Answer", bound=Response)


async def log_in(request: Request, realm: str, user: str, password: str, answer: Answer) -> Answer:
    """Begin a session and set its cookie on ``answer``.

    Raises ``NotAuthenticated`` (0x80070005) where realm, name or password are not right, its
    ``TooManyTries`` with ``retry_after`` in seconds, and ``ServiceError`` where the realm cannot be asked.
    """
    people = house_of(request).people
    caller, known = await people.logins.by_password(user, realm, password, address_of(request))
    if former := session_secret(request):
        await people.sessions.close(former)
    secret, _ = await people.logins.open(caller, known)
    set_cookie(request, secret, answer)
    return answer


async def log_out(request: Request, answer: Answer) -> Answer:
    """End the session on the server and remove the cookie from ``answer``."""
    house, caller = house_of(request), request.scope.get(CALLER)
    if secret := session_secret(request):
        await house.people.sessions.close(secret)
        if caller is not None:
            await house.audit.left(caller)
    answer.delete_cookie(_cookie(request), secure=_is_safe(request), httponly=True, samesite="strict")
    return answer


def realms(request: HTTPConnection) -> tuple[str, ...]:
    """Return the names of the realms that take passwords."""
    return house_of(request).people.logins.realms


def csrf_token(request: HTTPConnection) -> str:
    """Return the token that a form of this session must carry; empty without a cookie."""
    secret = session_secret(request)
    return csrf_token_of(secret) if secret else ""


async def refuse_forgery(connection: HTTPConnection, caller: Caller | None) -> None:
    """Raise ``NotPermitted`` for a request that another site may have made the caller's browser send."""
    if FROM_PEER in connection.scope:
        return  # the first door has looked, and has the cookie
    _refuse_other_origin(connection)
    if caller is None or caller.proof is not Proof.SESSION or connection.scope.get("innkeeper.csrf"):
        return
    if connection.scope["type"] == "websocket" and "origin" in connection.headers:
        return  # a browser lets no script add a header here; where it began was looked at above
    expected = csrf_token(connection)
    given = await _token_given(connection)
    if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
        raise NotPermitted(
            "This form was not sent from a page of this session.",
            advice="Load the page again, and send it once more.",
        )
    # What the page itself asks of the interface is the same request.
    connection.scope["innkeeper.csrf"] = True


def session_secret(connection: HTTPConnection) -> str:
    """Return the secret of the session's cookie; empty without one."""
    secret = connection.cookies.get(_cookie(connection), "")
    return secret if len(secret) <= _LONGEST_SECRET else ""


def set_cookie(request: Request, secret: str, answer: Response) -> None:
    """Set the session's cookie, which no script reads and no other site sends."""
    answer.set_cookie(
        _cookie(request), secret, path="/", secure=_is_safe(request), httponly=True, samesite="strict"
    )


def address_of(connection: HTTPConnection) -> str:
    """Return where the request came from: an address, or a local process."""
    peer = connection.scope.get(PEER)
    if peer is not None:
        return f"local uid {peer.uid}"
    return connection.client.host if connection.client is not None else "local"


def _cookie(connection: HTTPConnection) -> str:
    return _SAFE_COOKIE if _is_safe(connection) else _COOKIE


def _is_safe(connection: HTTPConnection) -> bool:
    return connection.scope.get("scheme") in ("https", "wss")


def _refuse_other_origin(connection: HTTPConnection) -> None:
    """Refuse a request that a browser says began on another site."""
    origin = connection.headers.get("origin")
    site = connection.headers.get("sec-fetch-site", "same-origin")
    own = {f"{scheme}://{connection.headers.get('host', '')}" for scheme in ("http", "https")}
    if (origin is not None and origin not in own) or site not in ("same-origin", "none"):
        raise NotPermitted(
            "This request was made by another site.",
            advice="Open a page of this service and send it from there.",
        )


async def _token_given(connection: HTTPConnection) -> str:
    if header := connection.headers.get(CSRF_HEADER):
        return header
    kind = connection.headers.get("content-type", "").partition(";")[0]
    if isinstance(connection, Request) and kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ):
        return str((await connection.form()).get(CSRF_FIELD) or "")
    return ""
