"""The dnf and zypper plug-ins against programs that answer as the documented ones do.

Neither ran against a real dnf or zypper: what they print here is written after their manuals.
"""

from __future__ import annotations

import pytest

from innkeeper.channels.ports import AgentTask, PackageChange, UpdateStatus
from tests.agent.rig import Guest, Host, appears, ended

RPM = r"""
if [ "$1" = -qa ]; then
    if [ -e "$ROOT/updated" ]; then printf 'bash.x86_64\t5.2-2\nkernel.x86_64\t6.1-1\nkernel.x86_64\t6.2-1\n'
    else printf 'bash.x86_64\t5.2-1\nkernel.x86_64\t6.1-1\n'; fi
fi
"""

DNF = r"""
echo "$*" >> "$ROOT/asked"
case "$*" in
*check-update*) echo 'bash.x86_64  5.2-2  updates'; exit 100;;
*downloadonly*) echo 'Complete!';;
*needs-restarting*) echo "$RESTART_SAYS"; exit 1;;
*upgrade*)
    printf '  Upgrading        : bash-5.2-2.x86_64        1/3 \n'
    printf '  Installing       : kernel-6.2-1.x86_64      2/3 \n'
    touch "$ROOT/updated"; exit $UPGRADE_CODE;;
esac
"""

ZYPPER = r"""
echo "$*" >> "$ROOT/asked"
case "$*" in
*download-only*) ;;
*needs-rebooting*) exit 0;;
*update*)
    printf '( 1/2) Installing: bash-5.2-2.x86_64 [done]\n'
    touch "$ROOT/updated"
    echo x >> "$ROOT/runs"
    if [ "$(wc -l < "$ROOT/runs")" -le "$AGAIN" ]; then exit 103; fi
    echo 'bash.posttrans: no'; exit $UPGRADE_CODE;;
esac
"""

CHANGED = (
    PackageChange(name="bash.x86_64", old_version="5.2-1", new_version="5.2-2"),
    PackageChange(name="kernel.x86_64", old_version="6.1-1", new_version="6.1-1, 6.2-1"),
)


def prepare(guest: Guest, name: str, program: str, **environment: str) -> None:
    """Make the guest one of this package manager."""
    guest.use_plugin(f"innkeeper.{name}")
    guest.program(name, program)
    guest.program("rpm", RPM)
    guest.environment.update(ROOT=str(guest.root), UPGRADE_CODE="0", AGAIN="0", RESTART_SAYS="")
    guest.environment.update(environment)


async def update(guest: Guest, host: Host) -> AgentTask:
    """Run an update to its end."""
    guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", b"")
    return await ended(agent, "u1")


async def test_dnf_updates_and_names_what_changed(guest: Guest, host: Host) -> None:
    """Two versions of one package, as kernels have, are both named."""
    prepare(guest, "dnf", DNF)
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, CHANGED)
    assert (guest.root / "asked").read_text().splitlines() == [
        "-y --refresh check-update",
        "-y upgrade --downloadonly",
        "-y upgrade",
        "needs-restarting -r",
    ]


async def test_dnf_that_fails_fails_the_update(guest: Guest, host: Host) -> None:
    """A failure still names what was changed before it."""
    prepare(guest, "dnf", DNF, UPGRADE_CODE="1")
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.FAILED, CHANGED)
    assert "dnf upgrade failed (exit code 1)" in task.text


async def test_dnf_that_advises_a_reboot_gets_it(guest: Guest, host: Host) -> None:
    """Exit code 1 with the advice is a reboot; without it, as of a missing plug-in, it is none."""
    prepare(guest, "dnf", DNF, RESTART_SAYS="Reboot is required to fully utilize these updates.")
    called = guest.power_program("reboot")
    guest.start()
    await (await host.session()).start_task("", "u1", b"")
    await appears(called)


async def test_zypper_runs_again_after_it_replaced_itself(guest: Guest, host: Host) -> None:
    """Exit code 103 asks for another run, and gets it."""
    prepare(guest, "zypper", ZYPPER, AGAIN="1")
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, CHANGED)
    assert (guest.root / "runs").read_text() == "x\nx\n"


async def test_zypper_that_runs_for_ever_is_stopped(guest: Guest, host: Host) -> None:
    """Three times the same wish is a loop, and a failure."""
    prepare(guest, "zypper", ZYPPER, AGAIN="99")
    assert "zypper update failed (exit code 103)" in (await update(guest, host)).text


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        ("106", UpdateStatus.SUCCESS, "2 packages changed."),
        ("107", UpdateStatus.FAILED, "a package's script failed: bash.posttrans: no"),
        ("104", UpdateStatus.FAILED, "exit code 104"),
    ],
)
async def test_zypper_exit_codes(
    guest: Guest, host: Host, code: str, status: UpdateStatus, text: str
) -> None:
    """A skipped repository is no failure; a package's failed script is one, though zypper installed it."""
    prepare(guest, "zypper", ZYPPER, UPGRADE_CODE=code)
    task = await update(guest, host)
    assert task.status is status
    assert text in task.text
