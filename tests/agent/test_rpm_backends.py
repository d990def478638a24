"""Exit codes of dnf 5, yum and zypper that no real program here ends with, by programs that print theirs.

Debian has neither dnf 5 nor yum: what they print is written after their sources. What the real dnf 4 and
zypper do is in ``test_rpm_guests``.
"""

from __future__ import annotations

import pytest

from innkeeper.channels.ports import AgentTask, PackageChange, UpdateStatus
from tests.agent.rig import Guest, Host, appears, ended
from tests.kits.rig import KitHost

RPM = r"""
if [ "$1" = -qa ]; then
    if [ -n "$LOCKS" ]; then printf 'vim.x86_64\t9-1\n'; fi
    if [ -e "$ROOT/updated" ]; then printf 'bash.x86_64\t5.2-2\n'; else printf 'bash.x86_64\t5.2-1\n'; fi
fi
"""

DNF_5 = r"""
case "$*" in
*--version*) echo 'dnf5 version 5.2.13.1'; echo 'libdnf5 version 5.2.13';;
*repolist*) printf 'repo id  repo name\nupdates  Updates\n%b' "$MORE";;
*disable_excludes*)
    [ -n "$LOCKS" ] || exit 0
    printf 'bash.x86_64 5.2-2 updates\nvim.x86_64 9-2 updates\n'; exit 100;;
*check-update*)
    case "$*" in *disablerepo=dead*) ;; *) if [ -n "$MORE" ]; then
        echo 'Updating and loading repositories:'
        echo 'Failed to download metadata (baseurl: "http://dead") for repository "dead": Curl error (6)'
        exit 1
    fi;; esac
    echo 'bash.x86_64 5.2-2 updates'; exit 100;;
*tsflags=test*vim*) echo "Argument 'vim' matches only excluded packages."; exit 1;;
*tsflags=test*) echo 'Running transaction'; printf '%b' "$REFUSES"; [ -z "$REFUSES" ] || exit 1;;
*needs-restarting*) echo 'Reboot should not be necessary.';;
*upgrade*vim*) echo "Argument 'vim' matches only excluded packages."; exit 1;;
*upgrade*)
    if ! [ -e "$ROOT/asked" ] && [ -n "$LOCKED" ]; then
        touch "$ROOT/asked"
        echo 'Running transaction'
        echo 'Failed to obtain rpm transaction lock. Another transaction is in progress.'; exit 1
    fi
    if [ -n "$FAILS" ]; then printf 'Running transaction\n%b' "$FAILS"; exit 1; fi
    printf 'Running transaction\n[1/3] Prepare transaction\n[2/3] Upgrading bash-0:5.2-2.x86_64\n%b' "$SAYS"
    echo x >> "$ROOT/runs"; touch "$ROOT/updated"; exit $CODE;;
esac
"""

YUM = r"""
echo "$*" >> "$ROOT/asked"
case "$*" in
*expire-cache*) ;;
*disableexcludes*) printf 'bash.x86_64 5.2-2 updates\nvim.x86_64 9-2 updates\n'; exit 100;;
*check-update*) printf 'Loaded plugins: fastestmirror\n\nbash.x86_64    5.2-2    updates\n'; exit 100;;
*tsflags=test*) printf 'Running transaction test\n%b' "$REFUSES"; [ -z "$REFUSES" ] || exit 1;;
*upgrade*)
    printf 'Running transaction\n  Updating   : bash-5.2-2.x86_64    1/2\n%b' "$SAYS"; touch "$ROOT/updated";;
esac
"""

ZYPPER = r"""
case "$*" in
*xmlout*)
    echo '<to-upgrade><solvable type="package" name="bash" edition="5.2-2" edition-old="5.2-1">'
    echo '</to-upgrade>';;
*dry-run*|*download-only*|*refresh*) ;;
*needs-rebooting*) exit 0;;
*update*)
    printf '(1/2) Installing: bash-5.2-2.x86_64 [done]\n'
    touch "$ROOT/updated"
    if ! [ -e "$ROOT/runs" ]; then printf '%b' "$SAYS"; fi
    echo x >> "$ROOT/runs"
    if [ "$(wc -l < "$ROOT/runs")" -le "$AGAIN" ]; then exit 103; fi
    exit $CODE;;
esac
"""

CHANGED = (PackageChange(name="bash.x86_64", old_version="5.2-1", new_version="5.2-2"),)


def prepare(guest: Guest, name: str, program: str, **environment: str) -> None:
    """Make the guest one of this package manager."""
    guest.use_plugin(f"innkeeper.{name}")
    guest.program(name, program)
    guest.program("rpm", RPM)
    guest.program("needs-restarting", "exit 0")
    guest.environment.update(ROOT=str(guest.root), CODE="0", AGAIN="0", MORE="", SAYS="", LOCKED="")
    guest.environment.update(REFUSES="", FAILS="", LOCKS="")
    guest.environment.update(environment)


async def update(guest: Guest, host: Host | KitHost, context: bytes = b"") -> AgentTask:
    """Run an update to its end."""
    if isinstance(host, Host):
        guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", context)
    return await ended(agent, "u1")


async def test_dnf_5_updates_past_a_dead_repository(guest: Guest, host: Host) -> None:
    """It is named, and left out of every later call."""
    prepare(guest, "dnf", DNF_5, MORE="dead  Dead\\n")
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, CHANGED)
    assert "not looked at: dead (Failed to download metadata" in task.text


async def test_dnf_5_that_is_locked_is_tried_again(guest: Guest, host: Host) -> None:
    """It neither waits nor says for whom."""
    prepare(guest, "dnf", DNF_5, LOCKED="yes")
    assert (await update(guest, host)).packages == CHANGED


async def test_dnf_5_whose_script_fails_fails_the_update(guest: Guest, host: Host) -> None:
    """Whatever its exit code."""
    prepare(guest, "dnf", DNF_5, SAYS=">>> Error in post-install scriptlet: bash-0:5.2-2.x86_64\\n")
    task = await update(guest, host)
    assert task.status is UpdateStatus.FAILED
    assert "Error in post-install scriptlet: bash" in task.text


async def test_dnf_5_whose_script_speaks_of_locks_is_not_run_again(guest: Guest, host: Host) -> None:
    """Packages were changed by then."""
    prepare(guest, "dnf", DNF_5, SAYS=">>> can't create transaction lock on /x\\n", CODE="1")
    assert (await update(guest, host)).status is UpdateStatus.FAILED
    assert (guest.root / "runs").read_text() == "x\n"


@pytest.mark.parametrize("name", ["dnf", "yum"])
async def test_what_the_test_of_a_transaction_finds_has_changed_nothing(
    guest: Guest, any_host: Host | KitHost, name: str
) -> None:
    """A full disk, or a file of two owners: it is found with the download, before anything is protected."""
    said = (
        "  - file /srv/ledger from install of bash-5.2-2.x86_64 conflicts with file from package bank-1-1\\n"
    )
    prepare(guest, name, DNF_5 if name == "dnf" else YUM, REFUSES=said)
    guest.environment["INNKEEPER_BACKEND"] = name
    task = await update(guest, any_host)
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    assert task.text.startswith("The download and its test failed (exit code 1): ")
    assert "/srv/ledger" in task.text


@pytest.mark.parametrize(
    ("said", "is_unchanged"),
    [
        ("Transaction failed: Rpm transaction failed.\\n", True),
        ("[1/2] Prepare transaction\\nTransaction failed: Rpm transaction failed.\\n", False),
        (">>> Running pre-transaction scriptlet: bash-0:5.2-2.x86_64\\n", False),
    ],
)
async def test_dnf_5_has_changed_nothing_before_its_first_step(
    guest: Guest, any_host: Host | KitHost, said: str, is_unchanged: bool
) -> None:
    """It calls its transaction running before it takes any lock."""
    prepare(guest, "dnf", DNF_5, FAILS=said)
    guest.environment["INNKEEPER_BACKEND"] = "dnf"
    task = await update(guest, any_host)
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, is_unchanged), task.text


async def test_dnf_5_is_not_named_what_is_locked(guest: Guest, any_host: Host | KitHost) -> None:
    """It would refuse all that is named."""
    prepare(guest, "dnf", DNF_5, LOCKS="yes", INNKEEPER_BACKEND="dnf")
    task = await update(guest, any_host, b'{"packages": ["bash", "vim"]}')
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, CHANGED), task.text
    assert task.text == "1 package changed; held back: vim (locked or excluded)."


async def test_dnf_5_updates_nothing_where_all_that_is_named_is_locked(
    guest: Guest, any_host: Host | KitHost
) -> None:
    """Without a name it would update everything."""
    prepare(guest, "dnf", DNF_5, LOCKS="yes", INNKEEPER_BACKEND="dnf")
    task = await update(guest, any_host, b'{"packages": ["vim"]}')
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, ()), task.text
    assert task.text == "Nothing was updated; held back: vim (locked or excluded)."
    assert not (guest.root / "updated").exists()


async def test_yum_updates_and_names_what_is_excluded(guest: Guest, host: Host) -> None:
    """Its words are nearly those of dnf."""
    prepare(guest, "yum", YUM)
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.SUCCESS, CHANGED)
    assert task.text == "1 package changed; held back: vim (locked or excluded)."
    asked = (guest.root / "asked").read_text().splitlines()
    assert (asked[0], asked[-1]) == (
        "-y --setopt=exit_on_lock=1 --setopt=debuglevel=2 clean expire-cache",
        "-y --setopt=exit_on_lock=1 --setopt=debuglevel=2 upgrade",
    )


async def test_yum_that_calls_a_failed_script_complete_fails_the_update(guest: Guest, host: Host) -> None:
    """It calls that non-fatal."""
    said = "Non-fatal POSTIN scriptlet failure in rpm package bash-5.2-2.x86_64\\n"
    prepare(guest, "yum", YUM, SAYS=said)
    assert "Non-fatal POSTIN scriptlet failure" in (await update(guest, host)).text


async def test_zypper_update_that_asks_for_a_reboot_gets_it(guest: Guest, host: Host) -> None:
    """By its own exit code too."""
    prepare(guest, "zypper", ZYPPER, CODE="102")
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


@pytest.mark.parametrize("said", ["%posttrans script failed", "%post scriptlet failed, exit status 1"])
async def test_zypper_remembers_the_script_that_failed_before_it_ran_again(
    guest: Guest, host: Host, said: str
) -> None:
    """The second run knows nothing of the first."""
    prepare(guest, "zypper", ZYPPER, AGAIN="1", SAYS=said + "\\n")
    task = await update(guest, host)
    assert task.status is UpdateStatus.FAILED
    assert "a package's script failed" in task.text


async def test_zypper_that_runs_for_ever_is_stopped(guest: Guest, host: Host) -> None:
    """Three times the same wish is a loop, and a failure."""
    prepare(guest, "zypper", ZYPPER, AGAIN="99")
    assert "asks for another run for ever (exit code 103)" in (await update(guest, host)).text


async def test_zypper_that_fails_fails_the_update(guest: Guest, host: Host) -> None:
    """A failure still names what was changed before it."""
    prepare(guest, "zypper", ZYPPER, CODE="104")
    task = await update(guest, host)
    assert (task.status, task.packages) == (UpdateStatus.FAILED, CHANGED)
    assert "zypper update failed (exit code 104)" in task.text
