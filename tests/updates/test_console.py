"""The line of a console that says why a guest does not come up is found, and quoted."""

from __future__ import annotations

import pytest

from innkeeper.updates.console import panics, why_not_up

_PANIC = """\
[    0.000000] Linux version 6.1.0-30-amd64 (debian-kernel@lists.debian.org)
[    1.204311] VFS: Cannot open root device "UUID=5" or unknown-block(0,0): error -6
[    1.210000] Please append a correct "root=" boot option; here are the available partitions:
[    1.216004] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
[    1.217000] CPU: 0 PID: 1 Comm: swapper/0 Not tainted 6.1.0-30-amd64 #1
[    1.221945] Rebooting in 5 seconds..
"""
_END = (
    "[    1.3] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\n"
)
_EMERGENCY = (
    "\x1b[0;1;31m*\x1b[0m [\x1b[0;31mFAILED\x1b[0m] Failed to mount "
    "\x1b[0;1;39msrv-data.mount\x1b[0m - /srv/data.\r\n"
    "See 'systemctl status srv-data.mount' for details.\r\n"
    "[\x1b[0;1;38:5:185mDEPEND\x1b[0m] Dependency failed for Local File Systems.\r\n"
    'You are in emergency mode. After logging in, type "journalctl -xb" to view\r\n'
    "system logs.\r\nGive root password for maintenance\r\n(or press Control-D to continue): "
)

_OUT_OF_MEMORY = """\
[   61.1] mysqld invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0
[   61.2] Out of memory: Killed process 812 (mysqld) total-vm:1837372kB
"""
_LOCKUPS = """\
[   88.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [systemd:1]
[  112.1] watchdog: BUG: soft lockup - CPU#0 stuck for 45s! [systemd:1]
[  140.1] watchdog: BUG: soft lockup - CPU#0 stuck for 67s! [systemd:1]
[  150.1] INFO: task jbd2/vda1-8:290 blocked for more than 120 seconds.
"""
_LOOP_OF_SEGFAULTS = """\
[   40.1] shopd[900]: segfault at 10 ip 00007f1 sp 00007ff error 4 in libc.so.6[7f1+195000]
[   41.1] shopd[904]: segfault at 10 ip 00007f2 sp 00007fe error 4 in libc.so.6[7f2+195000]
"""
_DISK_FAILS = """\
[   50.1] blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE)
[   50.2] blk_update_request: I/O error, dev vda, sector 4096 op 0x1:(WRITE)
[   50.3] EXT4-fs (vda1): Remounting filesystem read-only
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            _PANIC + _END,
            (
                'VFS: Cannot open root device "UUID=5" or unknown-block(0,0): error -6',
                "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
            ),
        ),
        (
            "[    2.1] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n",
            ("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",),
        ),
        (
            _EMERGENCY,
            (
                "* [FAILED] Failed to mount srv-data.mount - /srv/data.",
                'You are in emergency mode. After logging in, type "journalctl -xb" to view',
            ),
        ),
        (
            (
                "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.\n"
                "Cannot open access to console, the root account is locked.\n"
            ),
            (
                "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz.",
                "Cannot open access to console, the root account is locked.",
            ),
        ),
        (
            (
                "Gave up waiting for root file system device.  Common problems:\n"
                "ALERT!  UUID=1-2 does not exist.  Dropping to a shell!\n(initramfs) "
            ),
            (
                "Gave up waiting for root file system device. Common problems:",
                "ALERT! UUID=1-2 does not exist. Dropping to a shell!",
            ),
        ),
        (
            "error: no such device: 41c9.\nEntering rescue mode...\ngrub rescue> ",
            ("error: no such device: 41c9.", "grub rescue>"),
        ),
        ("Booting from Hard Disk...\nNo bootable device.\n", ("No bootable device.",)),
        (
            (
                'BdsDxe: failed to load Boot0001 "debian" from HD(1): Not Found\n'
                "BdsDxe: No bootable option or device was found.\n"
            ),
            (
                'BdsDxe: failed to load Boot0001 "debian" from HD(1): Not Found',
                "BdsDxe: No bootable option or device was found.",
            ),
        ),
        (
            "[   61.2] Out of memory: Killed process 812 (mysqld) total-vm:1837372kB\nweb login: ",
            ("Out of memory: Killed process 812 (mysqld) total-vm:1837372kB",),
        ),
        (
            _OUT_OF_MEMORY + _LOCKUPS,
            (
                "Out of memory: Killed process 812 (mysqld) total-vm:1837372kB",
                "mysqld invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [systemd:1]",
            ),
        ),
        (
            _LOCKUPS + "[  70.1] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kcompactd0:28]\n",
            (
                "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [kcompactd0:28]",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [systemd:1]",
                "INFO: task jbd2/vda1-8:290 blocked for more than 120 seconds.",
            ),
        ),
        (
            "[   61.2] Out of memory: Kill process 812 (mysqld) score 900 or sacrifice child\n" + _LOCKUPS,
            (
                "Out of memory: Kill process 812 (mysqld) score 900 or sacrifice child",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [systemd:1]",
                "INFO: task jbd2/vda1-8:290 blocked for more than 120 seconds.",
            ),
        ),
        (
            _LOOP_OF_SEGFAULTS + _LOCKUPS + _DISK_FAILS,
            (
                "blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE)",
                "EXT4-fs (vda1): Remounting filesystem read-only",
                "shopd[900]: segfault at 10 ip 00007f1 sp 00007ff error 4 in libc.so.6[7f1+195000]",
            ),
        ),
        (
            "dpkg: cannot write: No space left on device\n" + _DISK_FAILS,
            (
                "dpkg: cannot write: No space left on device",
                "blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE)",
                "EXT4-fs (vda1): Remounting filesystem read-only",
            ),
        ),
        (
            "[  5.0] Memory cgroup out of memory: Killed process 900 (java) total-vm:1kB\n" + _DISK_FAILS,
            (
                "blk_update_request: I/O error, dev vda, sector 2048 op 0x1:(WRITE)",
                "EXT4-fs (vda1): Remounting filesystem read-only",
                "Memory cgroup out of memory: Killed process 900 (java) total-vm:1kB",
            ),
        ),
        (
            _OUT_OF_MEMORY + "[  62.0] Kernel panic - not syncing: System is deadlocked on memory\n",
            (
                "Out of memory: Killed process 812 (mysqld) total-vm:1837372kB",
                "mysqld invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0",
                "Kernel panic - not syncing: System is deadlocked on memory",
            ),
        ),
        ("Debian GNU/Linux 12 web ttyS0\n\nweb login: ", ()),
        ("", ()),
    ],
)
def test_the_end_of_a_boot_is_quoted_with_its_cause(text: str, lines: tuple[str, ...]) -> None:
    """What a terminal, or the kernel's clock, adds to a line is left out."""
    assert why_not_up(text) == lines


def test_of_a_loop_the_last_boot_counts() -> None:
    """And each panic is counted once, whatever it prints at its end."""
    text = _PANIC.replace("UUID=5", "UUID=1") + _END + _PANIC + _END
    assert panics(text) == 2
    assert why_not_up(text)[0] == 'VFS: Cannot open root device "UUID=5" or unknown-block(0,0): error -6'


def test_a_line_without_end_is_cut() -> None:
    """What a guest prints is of any length."""
    (line,) = why_not_up("Kernel panic - not syncing: " + "x" * 10_000)
    assert len(line) < 300
