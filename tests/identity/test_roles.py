"""What a role is, and how far it reaches."""

from __future__ import annotations

import pytest

from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.roles import THE_INN, Grant, Reach, Resource, Role, folder, machine


def _caller(*grants: Grant, ceiling: tuple[Grant, ...] | None = None) -> Caller:
    return Caller(user="ana", realm="LAB", proof=Proof.TOKEN, grants=grants, ceiling=ceiling)


@pytest.mark.parametrize(
    ("grant", "resource", "covered"),
    [
        (Grant(role=Role.VIEWER), THE_INN, True),
        (Grant(role=Role.VIEWER), machine("web-1"), True),
        (Grant(role=Role.VIEWER), folder("\\Nightly"), True),
        (Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1"), machine("WEB-1"), True),
        (Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1"), machine("web-10"), False),
        (Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1"), THE_INN, False),
        (Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1"), folder("web-1"), False),
        (Grant(role=Role.VIEWER, reach=Reach.LABEL, name="lab"), machine("x", ["lab", "b"]), True),
        (Grant(role=Role.VIEWER, reach=Reach.LABEL, name="lab"), machine("lab"), False),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\Nightly"), folder("\\nightly\\Compact"), True),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\Nightly"), folder("\\Nightly"), True),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\Nightly"), folder("\\NightlyToo"), False),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\Nightly"), folder("\\"), False),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\"), folder("\\Nightly"), True),
        (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\"), THE_INN, False),
    ],
)
def test_a_grant_reaches_what_it_says(grant: Grant, resource: Resource, covered: bool) -> None:
    """The inn reaches all; a folder what is in it; a machine and a label those machines."""
    assert grant.covers(resource) is covered


def test_the_highest_of_several_grants_counts() -> None:
    """Whoever may look at all and work one machine may do both."""
    ana = _caller(Grant(role=Role.VIEWER), Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="web-1"))
    assert ana.role_on(machine("web-1")) is Role.OPERATOR
    assert ana.role_on(machine("db-1")) is Role.VIEWER
    assert ana.may_somewhere(Role.OPERATOR)
    assert not ana.may_somewhere(Role.ADMINISTRATOR)


def test_who_has_no_grant_sees_nothing() -> None:
    """Not even that it is there."""
    assert _caller().role_on(THE_INN) is None
    assert not _caller().may_somewhere(Role.VIEWER)


def test_a_token_leaves_what_both_it_and_its_owner_may() -> None:
    """It never raises a role, and never reaches further."""
    administrator = Grant(role=Role.ADMINISTRATOR)
    narrow = _caller(administrator, ceiling=(Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="web-1"),))
    assert narrow.role_on(machine("web-1")) is Role.OPERATOR
    assert narrow.role_on(machine("db-1")) is None
    assert not narrow.is_administrator
    raised = _caller(Grant(role=Role.VIEWER), ceiling=(administrator,))
    assert raised.role_on(THE_INN) is Role.VIEWER
    assert _caller(administrator, ceiling=()).role_on(THE_INN) is None


def test_a_caller_is_named_with_the_realm_that_is_not_the_systems() -> None:
    """As tasks and the audit log carry it."""
    assert _caller().name == "ana@LAB"
    assert Caller(user="root", realm="system", proof=Proof.PEER).name == "root"
