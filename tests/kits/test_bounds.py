"""Whatever a guest's programs print, what a kit keeps and tells of it has bounds, and says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from tests.kits.rig import SHELLS, LocalCommands, session_with

_MUCH = "head -c 20000000 /dev/zero | tr '\\000' x\n"


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture(params=SHELLS)
def commands(tmp_path: Path, request: pytest.FixtureRequest) -> LocalCommands:
    """A guest with apt, whose programs come before this computer's."""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
    for name in ("apt-get", "dpkg", "dpkg-query"):
        _program(tmp_path / "bin" / name, "")
    environment = {"INNKEEPER_BACKEND": "apt", "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    return LocalCommands(tmp_path, {**os.environ, **environment}, SHELLS[request.param])


async def test_a_check_that_prints_too_much_is_cut_and_says_so(commands: LocalCommands) -> None:
    """Its end is kept; one that is well is well, whatever it prints."""
    required = commands.root / "etc/innkeeper/health/required.d"
    _program(required / "loud", f"{_MUCH}\necho; echo the certificate has expired; exit 1")
    _program(required / "well", _MUCH)
    found = (await (await session_with(commands)).health()).failed_checks
    assert list(found) == ["loud"]
    told = " ".join(found["loud"].split())
    assert told.endswith("x the certificate has expired (cut: it printed more than 8388608 bytes)")


async def test_more_failed_checks_than_the_host_reads_are_cut(commands: LocalCommands) -> None:
    """The last of those that are told says so."""
    for number in range(202):
        _program(commands.root / f"etc/innkeeper/health/required.d/{number:03}", "exit 1")
    found = (await (await session_with(commands)).health()).failed_checks
    assert len(found) == 201
    assert found["(cut)"] == "more than 200 checks have failed"


async def test_a_list_of_updates_that_was_cut_is_no_list(commands: LocalCommands) -> None:
    """The rest would look as if it were not there."""
    _program(
        commands.root / "bin/apt-get",
        f"""case "$*" in
*--print-uris*) echo "'file:/srv/repo/InRelease' x 0" ;;
*' -s '*) {_MUCH.strip()} ;;
esac""",
    )
    session = await session_with(commands)
    with pytest.raises(AgentError, match=r"apt-get -s printed more than can be read: \(cut"):
        await session.scan()
