"""``innkeeper agent``: the agent for guests that nobody can reach from the host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.serving import Service


def test_the_bundle_is_a_program_that_can_install_itself(service: Service, tmp_path: Path) -> None:
    """What is written is what the guest runs."""
    file = tmp_path / "agent.pyz"
    ended = service.run("agent", "bundle", str(file))
    assert (ended.code, ended.err) == (0, "")
    assert "python3 agent.pyz install" in ended.out
    helped = subprocess.run(
        [sys.executable, "-I", "-S", file, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert "install" in helped.stdout


def test_the_cloud_config_is_ready_to_be_a_seed(service: Service) -> None:
    """It goes into a seed as it is printed."""
    ended = service.run("agent", "cloud-init")
    assert ended.code == 0
    assert ended.out.startswith("#cloud-config\n")


def test_a_place_that_cannot_be_written_to_is_named(service: Service, tmp_path: Path) -> None:
    """With what to do about it."""
    ended = service.run("agent", "bundle", str(tmp_path / "missing" / "agent.pyz"))
    assert ended.code != 0
    assert "cannot be written" in ended.err
