"""The realm of this computer's users, by the real PAM with a service of the test's own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pwd
from pathlib import Path

import pytest

from innkeeper.errors import ServiceError
from innkeeper.identity.realms import Known
from innkeeper.realms.system import SystemRealm

_ME = pwd.getpwuid(os.getuid()).pw_name
_GOOD = "the right one"


@pytest.fixture
def realm(tmp_path: Path) -> SystemRealm:
    """PAM that asks a program, which knows one password."""
    asked = tmp_path / "asked"
    asked.write_text(f'#!/bin/sh\nread -r given\n[ "$given" = "{_GOOD}" ]\n')
    asked.chmod(0o755)
    (tmp_path / "asking").write_text(
        f"auth requisite pam_exec.so expose_authtok quiet {asked}\nauth required pam_permit.so\n"
        "account required pam_permit.so\n"
    )
    (tmp_path / "closed").write_text("auth required pam_permit.so\naccount required pam_deny.so\n")
    (tmp_path / "leaving").write_text(
        f"auth required pam_permit.so\naccount requisite pam_exec.so quiet {tmp_path}/is-open\n"
        "account required pam_permit.so\n"
    )
    (tmp_path / "denying").write_text("auth required pam_deny.so\naccount required pam_permit.so\n")
    return SystemRealm(service="asking", configuration=tmp_path)


async def test_the_right_password_is_the_user_with_their_groups(realm: SystemRealm) -> None:
    """As the system has them."""
    found = await realm.check(_ME, _GOOD)
    assert found is not None
    assert found.user == _ME
    assert found.groups
    assert await realm.recall(Known(user=_ME)) == found


@pytest.mark.parametrize("password", ["wrong", "", "the right on", "the right one\0", "x" * 5000])
async def test_another_password_is_not(realm: SystemRealm, password: str) -> None:
    """Whatever it looks like."""
    assert await realm.check(_ME, password) is None


async def test_a_user_whom_the_system_does_not_know_is_nobody(realm: SystemRealm) -> None:
    """Though PAM would take the password."""
    assert await realm.check("no-such-user", _GOOD) is None
    assert await realm.recall(Known(user="no-such-user")) is None
    assert await realm.check("", _GOOD) is None


@pytest.mark.parametrize("service", ["closed", "denying"])
async def test_a_closed_account_does_not_come_in(realm: SystemRealm, tmp_path: Path, service: str) -> None:
    """PAM's word on the account counts as its word on the password does."""
    assert await SystemRealm(service=service, configuration=tmp_path).check(_ME, _GOOD) is None


async def test_a_service_that_pam_does_not_know_lets_nobody_in(realm: SystemRealm, tmp_path: Path) -> None:
    """Whether it is refused or cannot be said."""
    with contextlib.suppress(ServiceError):
        assert await SystemRealm(service="missing", configuration=tmp_path).check(_ME, _GOOD) is None


async def test_many_checks_leave_nothing_behind(realm: SystemRealm) -> None:
    """No memory, no file."""
    for _ in range(20):
        await realm.check(_ME, "wrong")
    files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(30):
        assert await realm.check(_ME, "wrong") is None
    assert len(list(Path("/proc/self/fd").iterdir())) <= files + 1


async def test_an_account_that_is_closed_meanwhile_is_nobody(realm: SystemRealm, tmp_path: Path) -> None:
    """Without a password: it is PAM's word on the account that counts."""
    is_open = tmp_path / "is-open"
    is_open.write_text("#!/bin/sh\nexit 0\n")
    is_open.chmod(0o755)
    leaving = SystemRealm(service="leaving", configuration=tmp_path)
    known = await leaving.check(_ME, _GOOD)
    assert known is not None
    assert await leaving.recall(known) == known
    is_open.write_text("#!/bin/sh\nexit 1\n")
    assert await leaving.recall(known) == known, "asked for once in a while"
    assert await SystemRealm(service="leaving", configuration=tmp_path).recall(known) is None


async def test_a_name_that_another_user_has_now_is_somebody_else(realm: SystemRealm) -> None:
    """The user's number tells them apart."""
    known = await realm.check(_ME, _GOOD)
    assert known is not None
    assert await realm.recall(dataclasses.replace(known, version="uid:4294967290")) is None
