"""The apk plug-in with a program that prints what apk-tools 3.0 printed on packages built for it.

Debian has no apk. The trials were an upgrade, a script that fails, an index that is away, a dependency that
is not met, a pinned package, a lock, and no repository at all.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from innkeeper.channels.ports import AgentTask, PackageChange, UpdateStatus
from tests.agent.rig import Guest, Host, ended
from tests.kits.rig import KitHost

APK = r"""
echo "$*" >> "$ROOT/asked"
say() { printf '%b' "$1"; }
case "$*" in
"info -v") if [ -e "$ROOT/updated" ]; then v=2; else v=1; fi; say "bank-1-r0\nshop-$v-r0\nxz-libs-5.6-r1\n";;
info) ;;
update*) say "$UPDATE_SAYS"; exit $UPDATE_CODE;;
version*) say 'Installed:                                Available:\n'
    [ -e "$ROOT/updated" ] || say 'shop-1-r0                               < 2-r0 \n'
    say "$OLDER";;
*)
    if [ -n "$REFUSES" ] && [ "${*%force-missing-repositories}" = "$*" ]; then
        say 'ERROR: Not continuing due to stale/unavailable repositories. Use --force-missing-repositories '
        say 'to continue.\n'; exit 99
    fi
    if [ -n "$LOCKED" ] && ! [ -e "$ROOT/locked" ]; then
        touch "$ROOT/locked"
        say 'ERROR: Unable to lock database: Resource temporarily unavailable\n'
        say 'ERROR: Failed to open apk database: Resource temporarily unavailable\n'; exit 99
    fi
    case "$*" in
    "cache download shop=2-r0 --cache-dir "*/var/cache/innkeeper/apk*)
        say "$DOWNLOAD_SAYS"; [ -z "$DOWNLOAD_SAYS" ] || exit 1;;
    *simulate*)
        if [ -n "$PLAN" ]; then say "$PLAN"; exit $PLAN_CODE; fi
        [ -e "$ROOT/updated" ] || say '(1/1) Upgrading shop (1-r0 -> 2-r0)\n'
        say "$GROWTH"
        say 'OK: 15 B in 3 packages\n';;
    *) touch "$ROOT/updated"; say '(1/1) Upgrading shop (1-r0 -> 2-r0)\n'; say "$SAYS"; exit $END_CODE;;
    esac;;
esac
"""

READ = " [/srv/repo/index.adb]\\n"
AWAY = "WARNING: updating and opening http://dead/x86_64/APKINDEX.tar.gz: Connection refused\\n"
FAILED = (
    "  Executing shop-2-r0.post-upgrade\\n  * the database is not there\\n"
    "ERROR: lib/apk/exec/shop-2-r0.post-upgrade: exited with error 4\\n1 error; 15 B in 3 packages\\n"
)
UNMET = (
    "ERROR: unable to select packages:\\n  absent (no such package):\\n    required by: shop-3-r0[absent]\\n"
)
NAMES = ("UPDATE_SAYS", "OLDER", "REFUSES", "LOCKED", "PLAN", "SAYS", "DOWNLOAD_SAYS", "GROWTH")
CHANGED = (PackageChange(name="shop", old_version="1-r0", new_version="2-r0"),)


async def update(
    guest: Guest, host: Host | KitHost, environment: Mapping[str, str], context: bytes = b""
) -> AgentTask:
    """Run an update to its end, in a guest whose apk does this."""
    guest.use_plugin("innkeeper.apk")
    guest.program("apk", APK)
    guest.write("etc/apk/repositories", "/srv/repo/index.adb\n")
    (guest.root / "usr").mkdir()
    guest.environment.update(
        dict.fromkeys(NAMES, ""), ROOT=str(guest.root), INNKEEPER_BACKEND="apk", UPDATE_CODE="0", END_CODE="0"
    )
    guest.environment.update(environment, PLAN_CODE=environment.get("PLAN_CODE", "0"))
    if isinstance(host, Host):
        guest.start()
    agent = await host.session()
    await agent.start_task("", "u1", context)
    return await ended(agent, "u1")


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "1 package changed."),
        ({"OLDER": "bank-1-r0     < 2-r0\\n"}, "1 package changed; held back: bank (pinned)."),
        ({"LOCKED": "yes"}, "1 package changed."),
        # A script that failed last week.
        ({"PLAN": "1 error; 15 B in 3 packages\\n", "PLAN_CODE": "1"}, "held back: shop (pinned)."),
        (
            {"UPDATE_SAYS": AWAY + READ + "1 unavailable, 0 stale; 6 distinct packages available\\n"}
            | {"UPDATE_CODE": "1", "REFUSES": "yes"},
            "; not looked at: updating and opening http://dead/x86_64/APKINDEX.tar.gz: Connection refused.",
        ),
    ],
    ids=["good", "pinned", "locked", "old error", "one index away"],
)
async def test_what_is_no_failure(
    guest: Guest, any_host: Host | KitHost, environment: Mapping[str, str], text: str
) -> None:
    """What was held back or not looked at is named."""
    task = await update(guest, any_host, environment)
    assert (task.status, text in task.text) == (UpdateStatus.SUCCESS, True), task.text


@pytest.mark.parametrize(
    ("environment", "text", "unchanged"),
    [
        (
            {"SAYS": FAILED, "END_CODE": "1"},
            "ERROR: lib/apk/exec/shop-2-r0.post-upgrade: exited with error 4; it said: * the database",
            False,
        ),
        ({"PLAN": UNMET, "PLAN_CODE": "2"}, "absent (no such package): required by: shop-3-r0", True),
        ({"DOWNLOAD_SAYS": "ERROR: shop-2-r0: remote server returned error\\n"}, "The download failed", True),
        (
            {"GROWTH": "After this operation, 900000 GiB of additional disk space will be used.\\n"},
            "No room for the update: it takes ",
            True,
        ),
        ({"UPDATE_SAYS": AWAY, "UPDATE_CODE": "1"}, "Not looked for updates: updating and opening", True),
    ],
    ids=["script", "unmet", "download", "room", "all indexes away"],
)
async def test_what_is_a_failure(
    guest: Guest, any_host: Host | KitHost, environment: Mapping[str, str], text: str, unchanged: bool
) -> None:
    """With its cause, and whether anything was changed."""
    task = await update(guest, any_host, environment)
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, unchanged), task.text
    assert text in task.text


async def test_what_a_failed_download_has_brought_is_removed(guest: Guest, any_host: Host | KitHost) -> None:
    """It came before any undo point, and would stay on the guest's disk."""
    says = {"DOWNLOAD_SAYS": "ERROR: shop-2-r0: No space left on device\\n"}
    assert (await update(guest, any_host, says)).status is UpdateStatus.FAILED
    assert not (guest.root / "var/cache/innkeeper/apk").exists()


async def test_only_what_is_installed_is_named_to_apk(guest: Guest, any_host: Host | KitHost) -> None:
    """apk refuses a package that is not there."""
    task = await update(guest, any_host, {}, b'{"packages": ["shop", "nginx"]}')
    assert task.packages == CHANGED
    asked = (guest.root / "asked").read_text().splitlines()
    assert sum(call.startswith("upgrade shop ") for call in asked) == 1
    assert not any("nginx" in call for call in asked)
