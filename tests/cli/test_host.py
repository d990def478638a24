"""``innkeeper host``: what it shows of the hosts."""

from __future__ import annotations

import json

import pytest

from innkeeper.cli.host import how_it_runs
from innkeeper.client import HostInfo
from innkeeper.wire.host import HostInfoMessage
from innkeeper.wire.states import Accelerator
from tests.serving import Service


def test_it_is_shown_what_runs_the_machines(service: Service) -> None:
    """And why so; here, that nothing really runs."""
    shown = " ".join(service.run("host", "show").out.split())
    assert "Machines run with nothing real. Its machines are simulated." in shown
    [host] = json.loads(service.run("host", "list", "--json").out)["hosts"]
    assert (host["accelerator"], host["accelerator_reason"]) == ("none", "Its machines are simulated.")


@pytest.mark.parametrize(
    ("accelerator", "words"),
    [(Accelerator.KVM, "KVM. Because."), (Accelerator.TCG, "software emulation, not KVM. Because.")],
)
def test_kvm_and_software_emulation_are_told_with_the_reason(
    service: Service, accelerator: Accelerator, words: str
) -> None:
    """Several hosts are told apart by name."""
    [host] = json.loads(service.run("host", "list", "--json").out)["hosts"]
    told = host | {"accelerator": accelerator, "accelerator_reason": "Because."}
    info = HostInfo(HostInfoMessage.model_validate(told))
    assert how_it_runs(info, alone=True) == words
    assert how_it_runs(info, alone=False) == f"{info.name}: {words}"
