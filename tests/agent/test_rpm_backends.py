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
    printf '%b' "$UPGRADE_SAYS"
    touch "$ROOT/updated"; exit $UPGRADE_CODE;;
esac
"""

ZYPPER = r"""
echo "$*" >> "$ROOT/asked"
case "$*" in
*download-only*) ;;
*refresh*) printf '%b' "$REFRESH_SAYS"; exit $REFRESH_CODE;;
*needs-rebooting*) exit 0;;
*update*)
    printf '( 1/2) Installing: bash-5.2-2.x86_64 [done]\n'
    touch "$ROOT/updated"
    echo x >> "$ROOT/runs"
    if [ "$(wc -l < "$ROOT/runs")" -le "$AGAIN" ]; then exit 103; fi
    printf '%b' "$UPGRADE_SAYS"
    echo 'bash.posttrans: no'; exit $UPGRADE_CODE;;
esac
"""

#: A repository that is away is a failure, and another dnf is waited for by ourselves.
SETTINGS = "-y --setopt=*.skip_if_unavailable=0 --setopt=exit_on_lock=True"

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
    guest.environment.update(UPGRADE_SAYS="", REFRESH_SAYS="", REFRESH_CODE="0")
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
        f"{SETTINGS} --refresh check-update",
        f"{SETTINGS} upgrade --downloadonly",
        f"{SETTINGS} upgrade",
        "needs-restarting -r",
    ]


async def test_dnf_that_fails_fails_the_update(guest: Guest, host: Host) -> None:
    """A failure still names what was changed before it."""
    prepare(guest, "dnf", DNF, UPGRADE_CODE="1")
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.FAILED, CHANGED)
    assert "dnf upgrade failed (exit code 1)" in task.text


@pytest.mark.parametrize(
    "said",
    [
        "warning: %post(bash-5.2-2.x86_64) scriptlet failed, exit status 3\\n\\nComplete!\\n",
        "Error in POSTIN scriptlet in rpm package bash\\nComplete!\\n",
    ],
)
async def test_dnf_that_calls_a_failed_script_complete_fails_the_update(
    guest: Guest, host: Host, said: str
) -> None:
    """dnf 4 ends with 0 all the same."""
    prepare(guest, "dnf", DNF, UPGRADE_SAYS=said)
    task = await update(guest, host)
    assert task.status is UpdateStatus.FAILED
    assert "a package's script failed: " in task.text
    assert "bash" in task.text


async def test_dnf_names_what_it_skipped(guest: Guest, host: Host) -> None:
    """Broken dependencies are no failure of its, and not nothing to do."""
    table = (
        "Skipping packages with broken dependencies:\\n shop  noarch  2.0-1  updates  6 k\\n\\nComplete!\\n"
    )
    prepare(guest, "dnf", DNF, UPGRADE_SAYS=table)
    assert (await update(guest, host)).text == "2 packages changed; held back: shop."


async def test_zypper_that_calls_a_failed_posttrans_a_success_fails_the_update(
    guest: Guest, host: Host
) -> None:
    """It ends with 0 all the same."""
    prepare(guest, "zypper", ZYPPER, UPGRADE_SAYS="%posttrans script failed (returned 6)\\n")
    assert (await update(guest, host)).status is UpdateStatus.FAILED


async def test_zypper_that_reads_some_repositories_names_the_others(guest: Guest, host: Host) -> None:
    """One that reads none has not looked."""
    down = "Repository extra is invalid.\\nSome of the repositories have not been refreshed.\\n"
    prepare(guest, "zypper", ZYPPER, REFRESH_CODE="4", REFRESH_SAYS=down)
    task = await update(guest, host)
    assert task.status is UpdateStatus.SUCCESS
    assert "2 packages changed; not looked at: " in task.text


async def test_zypper_that_reads_no_repository_has_not_looked(guest: Guest, host: Host) -> None:
    """It is a failure, and not nothing to do."""
    down = "Could not refresh the repositories because of errors.\\n"
    prepare(guest, "zypper", ZYPPER, REFRESH_CODE="4", REFRESH_SAYS=down)
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.FAILED, ())
    assert "Not looked for updates: zypper refresh failed (exit code 4)" in task.text


async def test_zypper_update_that_asks_for_a_reboot_gets_it(guest: Guest, host: Host) -> None:
    """By its own exit code too."""
    prepare(guest, "zypper", ZYPPER, UPGRADE_CODE="102")
    called = guest.power_program("reboot")
    guest.start()
    await (await host.session()).start_task("", "u1", b"")
    await appears(called)


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
        ("106", UpdateStatus.SUCCESS, "2 packages changed; not looked at: "),
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
