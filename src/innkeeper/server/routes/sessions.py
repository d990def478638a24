"""Routes of sessions: who is logged in, from where and since when, and their ends."""

from __future__ import annotations

import datetime as dt
from typing import Final

from fastapi import APIRouter

from innkeeper.errors import InvalidArgument, NotPermitted
from innkeeper.identity.caller import Caller, Person
from innkeeper.identity.realms import is_same_realm, normal_name
from innkeeper.identity.roles import Role
from innkeeper.identity.session import Session
from innkeeper.server.http.paging import Order, Place, ThePage
from innkeeper.server.identity.messages import session_message
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheNote
from innkeeper.wire import identity as wire

router = APIRouter(tags=["people"])


def _age(session: Session) -> Place:
    return session.created_at.astimezone(dt.UTC).isoformat(timespec="microseconds"), session.digest[:24]


_BY_AGE: Final = Order(_age, 2)


@router.get("/sessions", operation_id="list_login_sessions", dependencies=needs(Role.VIEWER, what_they_see))
async def list_sessions(
    house: TheHouse, caller: TheCaller, page: ThePage, everybodys: bool = False
) -> wire.SessionList:
    """One's own sessions; for administrators, everybody's on request."""
    if everybodys and not caller.is_administrator:
        raise NotPermitted(
            "Only an administrator sees the sessions of others.", advice="Leave `everybodys` out."
        )
    found = page.of(await house.people.sessions.list(None if everybodys else caller.person), _BY_AGE)
    return wire.SessionList(
        sessions=tuple(session_message(session, caller) for session in found.entries),
        next_after=found.next_after,
    )


@router.delete(
    "/sessions/{session_id}",
    status_code=204,
    operation_id="end_login_session",
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def end_session(session_id: str, house: TheHouse, caller: TheCaller) -> None:
    """End a session: one's own, or as an administrator anybody's."""
    _refuse_scoped(caller)
    await house.people.sessions.end(session_id, None if caller.is_administrator else caller.person)


@router.delete("/sessions", operation_id="end_login_sessions", dependencies=needs(Role.VIEWER, what_they_see))
async def end_sessions(
    house: TheHouse, caller: TheCaller, note: TheNote, user: str = "", realm: str = ""
) -> wire.SessionsEnded:
    """End all of one's own sessions; as an administrator, those of ``user`` in ``realm``."""
    _refuse_scoped(caller)
    if user and not realm:
        raise InvalidArgument("The user's realm is missing.", advice="Give `realm` too, such as local.")
    meant = Person(user=normal_name(realm, user), realm=realm) if user else caller.person
    if not _is_same(caller.person, meant) and not caller.is_administrator:
        raise NotPermitted(
            "Only an administrator ends the sessions of others.", advice="Leave `user` and `realm` out."
        )
    note(str(meant))
    sessions = house.people.sessions
    owners = {each.owner for each in await sessions.list() if _is_same(each.owner, meant)}
    return wire.SessionsEnded(ended=sum([await sessions.close_all(owner) for owner in owners]))


def _is_same(one: Person, other: Person) -> bool:
    """Whether both are one person, whatever way the realm or whoever asks spells them."""
    return is_same_realm(one.realm, other.realm) and (
        normal_name(one.realm, one.user) == normal_name(other.realm, other.user)
    )


def _refuse_scoped(caller: Caller) -> None:
    if caller.ceiling is not None:
        raise NotPermitted(
            "A token with a scope cannot end sessions, which may reach further.", advice="Log in to end them."
        )
