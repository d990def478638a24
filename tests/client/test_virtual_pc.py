"""Every member of the Virtual PC interfaces is declared, and what is declared is there."""

from __future__ import annotations

import collections
import inspect

import pytest

from innkeeper import client
from virtual_pc import INTERFACES, Carriage, Interface, Member

_BOUND = [
    pytest.param(member, id=f"{interface.name}.{member.name}")
    for interface in INTERFACES
    for member in interface.members
    if member.attribute
]


def test_all_members_are_declared_once() -> None:
    """265 members in 22 interfaces, each carried as the survey of them found."""
    members = [member for interface in INTERFACES for member in interface.members]
    assert len(INTERFACES) == 22
    assert collections.Counter(member.carriage for member in members) == {
        Carriage.DIRECT: 128,
        Carriage.EMULATED: 103,
        Carriage.NEAREST: 31,
        Carriage.MEANINGLESS: 3,
    }
    for interface in INTERFACES:
        assert len({member.name for member in interface.members}) == len(interface.members)


@pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.name)
def test_every_member_says_how_it_is_carried(interface: Interface) -> None:
    """In a sentence, which is the reference."""
    assert all(member.how.endswith(".") for member in interface.members)


@pytest.mark.parametrize("member", _BOUND)
def test_a_bound_member_exists(member: Member) -> None:
    """The attribute is in the client's object model, by its own name."""
    assert _find(member.attribute), f"innkeeper.client has no {member.attribute}"


def _find(attribute: str) -> bool:
    owner, _, name = attribute.partition(".")
    kind = getattr(client, owner, None)
    if kind is None or not name:
        return kind is not None
    fields = getattr(kind, "model_fields", {})
    return hasattr(kind, name) or name in fields or name in inspect.get_annotations(kind)
