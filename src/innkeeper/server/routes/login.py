"""Routes of log-in and log-out, for programs."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from innkeeper.errors import NotPermitted
from innkeeper.identity.caller import Proof
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs, open_to_all
from innkeeper.server.identity.sessions import address_of
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.wire import identity as wire

router = APIRouter(tags=["people"])


@router.post("/login", status_code=201, operation_id="log_in", dependencies=open_to_all())
async def log_in(
    body: wire.LoginRequest, house: TheHouse, request: Request, response: Response
) -> wire.LoginMessage:
    """Begin a session: its token is sent with each request, as ``Authorization: Bearer …``."""
    people = house.people
    caller, known = await people.logins.by_password(
        body.user, body.domain, body.password.get_secret_value(), address_of(request)
    )
    if not caller.may_somewhere(Role.VIEWER):
        raise NotPermitted(
            f"{caller.name} has no role here.",
            advice="Ask an administrator for a role (innkeeper user role).",
        )
    secret, session = await people.logins.open(caller, known)
    response.headers["Cache-Control"] = "no-store"
    return wire.LoginMessage(
        token=secret, expires_at=session.expires_at, user=caller.user, domain=caller.realm
    )


@router.post(
    "/login/ticket",
    status_code=201,
    operation_id="log_in_by_ticket",
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def log_in_by_ticket(house: TheHouse, caller: TheCaller, response: Response) -> wire.LoginMessage:
    """Begin a session by a Kerberos ticket (``Authorization: Negotiate …``)."""
    if caller.proof is not Proof.TICKET:
        raise NotPermitted(
            "This request carries no Kerberos ticket.", advice="Log in with a password: POST /v1/login."
        )
    known = Known(user=caller.user, groups=caller.groups, version=caller.version, ends_at=caller.ends_at)
    secret, session = await house.people.logins.open(caller, known)
    response.headers["Cache-Control"] = "no-store"
    return wire.LoginMessage(
        token=secret, expires_at=session.expires_at, user=caller.user, domain=caller.realm
    )


@router.post(
    "/logout", status_code=204, operation_id="log_out", dependencies=needs(Role.VIEWER, what_they_see)
)
async def log_out(house: TheHouse, request: Request) -> None:
    """End the session whose token this request carries."""
    secret = request.headers.get("authorization", "").partition(" ")[2].strip()
    await house.people.sessions.close(secret)
