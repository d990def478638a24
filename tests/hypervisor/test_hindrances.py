"""Folders and file systems that take no undo disk are seen by the kernel's own answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.hypervisor import hindrances
from innkeeper.machines.ports.image_files import Hindrance

#: An ordinary user mounts in a name space of its own.
_IN_A_NAME_SPACE = ("unshare", "--user", "--map-root-user", "--mount")
_ASK = """
import subprocess, sys
from innkeeper.hypervisor import hindrances
directory, options = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", directory], check=True)
print(hindrances.of_folder(directory, "a.qcow2", is_ours=True))
if options == "size=8m":
    open(directory + "/a.img", "wb").close()
    subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
    print(hindrances.of_image(directory + "/a.img", "raw", is_device=False, is_ours=True, is_idle=True))
"""


def _may_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_IN_A_NAME_SPACE, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="this user may not mount in a name space of its own")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=64k", Hindrance.FULL),
        ("nr_inodes=1", Hindrance.FULL),
        ("size=8m,ro", Hindrance.READ_ONLY_FILE_SYSTEM),
        ("size=8m", None),
    ],
)
def test_a_file_system_without_room_for_an_undo_disk_is_seen(
    tmp_path: Path, options: str, said: Hindrance | None
) -> None:
    """By bytes, by numbers of files, by its mount; what is tried leaves no file."""
    ask = [*_IN_A_NAME_SPACE, sys.executable, "-c", _ASK, str(tmp_path), options]
    answers = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()
    assert answers[0] == str(said)
    assert answers[1:] in ([], ["read_only_file_system"])


def test_a_trial_leaves_a_folder_as_it_was(tmp_path: Path) -> None:
    """Its time of change too."""
    before = tmp_path.stat().st_mtime_ns
    assert hindrances.of_folder(str(tmp_path), "a.qcow2", is_ours=True) is None
    assert (list(tmp_path.iterdir()), tmp_path.stat().st_mtime_ns) == ([], before)


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_block_device_is_told_from_a_file_without_being_opened(is_ours: bool) -> None:
    """And a file, or a terminal, from a device."""
    devices = [str(each) for each in Path("/dev").iterdir() if each.is_block_device()]
    for path in devices[:1]:
        found = hindrances.of_image(path, "raw", is_device=False, is_ours=is_ours, is_idle=True)
        assert found is Hindrance.BLOCK_DEVICE
    found = hindrances.of_image("/dev/null", "raw", is_device=False, is_ours=is_ours, is_idle=True)
    assert found is Hindrance.NO_FILE
    found = hindrances.of_image("/dev/null", "raw", is_device=True, is_ours=is_ours, is_idle=True)
    assert found is Hindrance.NO_DEVICE


def test_where_qemu_is_another_user_modes_alone_count(tmp_path: Path) -> None:
    """The system's libvirt gives an image to that user, and leaves its mode."""
    image = tmp_path / "a.img"
    image.touch()
    image.chmod(0o400)
    asked = {"is_device": False, "is_ours": False, "is_idle": True}
    assert hindrances.of_image(str(image), "raw", **asked) is Hindrance.NO_WRITES
    image.chmod(0o600)
    assert hindrances.of_image(str(image), "raw", **asked) is None
