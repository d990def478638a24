"""Who may use the local door: by the kernel's word, not by the caller's."""

from __future__ import annotations

import grp
import json
import os
import pwd

import pytest
from starlette.types import Message, Receive, Scope, Send

from innkeeper.identity.roles import Role
from innkeeper.server.http.callers import CALLER
from innkeeper.server.identity.gate import Gate
from innkeeper.server.identity.identify import Identify
from innkeeper.server.identity.session_revocation import Revocations
from innkeeper.server.peers import PEER, Admission, Credentials, Peers, user_name
from innkeeper.tasks.clock import FakeClock
from tests.identity.people import memory_people

#: A user that no test machine has.
_NOBODY_KNOWN = 3_999_999_999


def _credentials(uid: int, gid: int = 65534) -> Credentials:
    return Credentials(pid=1, uid=uid, gid=gid)


def test_root_and_the_services_own_user_get_in() -> None:
    """Whatever the settings say."""
    assert Admission().admits(_credentials(0), "root")
    assert Admission().admits(_credentials(os.getuid()), user_name(os.getuid()))


def test_nobody_else_gets_in_by_default() -> None:
    """A fresh service is its own user's alone."""
    assert not Admission().admits(_credentials(_NOBODY_KNOWN), "ana")


def test_a_named_user_gets_in() -> None:
    """By name, as the settings give it."""
    admission = Admission(users=("ana",))
    assert admission.admits(_credentials(_NOBODY_KNOWN), "ana")
    assert not admission.admits(_credentials(_NOBODY_KNOWN), "bob")


def test_members_of_the_group_get_in_and_others_do_not() -> None:
    """By the system's own lists of members, and by the process's own group."""
    user = next(user for user in pwd.getpwall() if user.pw_uid not in (0, os.getuid()))
    theirs = grp.getgrgid(user.pw_gid).gr_name
    foreign = next(
        group.gr_name for group in grp.getgrall() if group.gr_gid != user.pw_gid and not group.gr_mem
    )
    credentials = _credentials(user.pw_uid, user.pw_gid)
    assert Admission(group=theirs).admits(credentials, user.pw_name)
    assert not Admission(group=foreign).admits(credentials, user.pw_name)
    assert not Admission(group="no-such-group").admits(credentials, user.pw_name)


@pytest.mark.parametrize("admitted", [True, False])
async def test_a_stranger_never_reaches_the_application(admitted: bool) -> None:
    """They are answered with access denied, by its identifier; whoever is admitted is named to it."""
    reached: list[str] = []
    sent: list[Message] = []

    async def inside(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope[CALLER].name)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    name = f"uid:{_NOBODY_KNOWN}"
    peers = Peers(Admission(users=(name,) if admitted else ()))
    door = Identify(
        inside, Gate(peers=peers, logins=memory_people(FakeClock()).logins), revocations=Revocations()
    )
    await door(
        {"type": "http", "path": "/", "query_string": b"", "headers": [], PEER: _credentials(_NOBODY_KNOWN)},
        receive,
        send,
    )
    if admitted:
        assert (reached, sent) == ([name], [])
    else:
        assert reached == []
        assert sent[0]["status"] == 403
        assert json.loads(sent[1]["body"])["hresult"] == 0x80070005


async def test_the_settings_say_what_the_group_is() -> None:
    """Root and the service's own user are administrators, whatever they say."""
    admission = Admission(users=(f"uid:{_NOBODY_KNOWN}",), role=Role.VIEWER)
    stranger = await Peers(admission).caller(_credentials(_NOBODY_KNOWN))
    assert stranger.may(Role.VIEWER)
    assert not stranger.may(Role.OPERATOR)
    assert (await Peers(admission).caller(_credentials(0))).is_administrator
