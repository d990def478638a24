"""A connection that libvirt gives up is told of in words."""

from __future__ import annotations

import pytest

from innkeeper.hypervisor.libvirt.lanes import why_closed


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (0, "the connection to libvirt's daemon broke"),
        (1, "libvirt's daemon closed the connection"),
        (2, "libvirt's daemon did not answer in time"),
        (3, "Innkeeper closed the connection to libvirt's daemon"),
        (99, "the connection to libvirt's daemon is lost (reason 99)"),
    ],
)
def test_each_reason_of_libvirt_has_its_words(reason: int, words: str) -> None:
    """The numbers of ``virConnectCloseReason``: bookings and hosts tell them to people."""
    assert why_closed(reason) == words
