"""Hosts are told apart by their names."""

from __future__ import annotations

import socket

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.server.host_names import named_hosts, refuse_unknown_stand_ins

_HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (["qemu:///system"], [_HERE]),
        (["qemu+ssh://attic/system"], ["attic"]),
        (["qemu:///system", "qemu:///session"], [f"{_HERE}-system", f"{_HERE}-session"]),
        (["qemu+ssh://attic/system", "qemu+tls://attic/session"], ["attic-system", "attic-session"]),
        (["qemu:///system", "mine=qemu:///session"], [_HERE, "mine"]),
        (["qemu:///embed?root=/a", "b=qemu:///embed?root=/b"], [_HERE, "b"]),
        (["test:///default", "qemu:///system"], [f"{_HERE}-default", f"{_HERE}-system"]),
    ],
)
def test_hosts_of_one_computer_have_names_of_their_own(entries: list[str], names: list[str]) -> None:
    """A single host is called like its computer; several are told apart by the rest of the URI."""
    hosts = named_hosts(entries)
    assert [*hosts] == names
    assert all(entry.endswith(uri) for entry, uri in zip(entries, hosts.values(), strict=True))


@pytest.mark.parametrize(
    "entries",
    [
        ["qemu:///system", "qemu:///system"],
        ["a=qemu:///system", "b=qemu:///system"],
        ["a=qemu:///system", "a=qemu:///session"],
        ["attic=qemu:///system", "qemu+ssh://attic/system"],
        ["qemu:///embed?root=/a", "qemu:///embed?root=/b"],
    ],
)
def test_two_hosts_of_one_name_are_refused(entries: list[str]) -> None:
    """None is dropped without a word."""
    with pytest.raises(InvalidArgument, match="hypervisors"):
        named_hosts(entries)


def test_to_stand_in_for_a_host_that_is_not_there_is_refused() -> None:
    """A slip of the pen would make a stand-in the host's first server."""
    hosts = {"barn": "qemu+ssh://barn/system"}
    refuse_unknown_stand_ins(["barn"], hosts)
    refuse_unknown_stand_ins(["qemu+ssh://barn/system"], hosts)
    with pytest.raises(InvalidArgument, match="stand_in_for names nosuch") as refused:
        refuse_unknown_stand_ins(["barn", "nosuch"], hosts)
    assert refused.value.advice.endswith(": barn.")
