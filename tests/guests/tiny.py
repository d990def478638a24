"""Build a guest that boots in seconds: a distribution kernel and an initramfs made of its packages.

No root is needed, and the same packages and agent give the same bytes. The system is one archive, cached by
what it is made of; the task agent is a second archive behind it, so a new agent costs nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path

from innkeeper.hypervisor.libvirt.acceleration import acceleration, qemu_arguments
from innkeeper.machines.host_facts import Acceleration
from tests.guests import cpio, packages, system
from tests.guests.system import Recipe, run

_OVERLAY = Path(__file__).with_name("root")
_AGENT = "lib/innkeeper/innkeeper-agent.pyz"

_KERNEL_PACKAGE = "linux-image-cloud-amd64"
_GUEST_AGENT_PACKAGES = ("libglib2.0-0", "libmount1", "libblkid1", "libselinux1", "libpcre2-8-0", "libffi8",
                         "libgcc-s1", "libnuma1", "libudev1", "liburing2")  # fmt: skip
_MODULES = ("drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci",
            "drivers/virtio/virtio_pci_modern_dev", "drivers/virtio/virtio_pci_legacy_dev",
            "drivers/char/virtio_console", "drivers/block/virtio_blk", "drivers/acpi/button",
            "drivers/input/evdev", "fs/efivarfs/efivarfs",
            "net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")  # fmt: skip
#: What is emulated where there is no KVM: little, and random numbers that are ready at once.
PROCESSOR = "qemu64,+rdrand"
#: Parts of the standard library that no agent needs.
_STDLIB_LEFT_OUT = ("asyncio", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test",
                    "tkinter", "turtledemo", "unittest", "venv", "xmlrpc", "sqlite3", "curses",
                    "dbm", "wsgiref", "multiprocessing", "concurrent")  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TinyGuest:
    """What QEMU boots."""

    kernel: Path
    initrd: Path
    #: How QEMU runs it here: with KVM where this kernel starts on it.
    acceleration: Acceleration

    def qemu_arguments(self) -> list[str]:
        """The accelerator and the processor for a QEMU that is started without libvirt."""
        return qemu_arguments(self.acceleration, PROCESSOR)


def build(cache: Path, agent: bytes | None) -> TinyGuest:
    """Return the guest with ``agent`` (a zipapp) in it, built under ``cache`` where it is not there yet."""
    built = _system(cache)
    if agent is None:
        return guest_of(cache, built / "vmlinuz", built / "initrd")
    initrd = built / f"initrd-{hashlib.sha256(agent).hexdigest()[:16]}"
    if not initrd.exists():
        _publish(initrd, (built / "initrd").read_bytes() + _agent_archive(agent))
    return guest_of(cache, built / "vmlinuz", initrd)


def guest_of(cache: Path, kernel: Path, initrd: Path) -> TinyGuest:
    """The guest, and how it is run here; the answer is remembered in ``cache``."""
    return TinyGuest(kernel=kernel, initrd=initrd, acceleration=acceleration(cache, kernel))


def data_disk(path: Path, *, format: str = "raw", size_mib: int = 16) -> None:  # noqa: A002 - libvirt's word
    """Make a disk with an empty ext4, which the guest mounts at ``/data``."""
    raw = path.with_suffix(".making")
    with raw.open("wb") as image:
        image.truncate(size_mib * 1024 * 1024)
    # No journal and no lazy work: the guest writes nothing that nobody asked for.
    run("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=0", str(raw))
    if format == "raw":
        raw.rename(path)
        return
    run("qemu-img", "convert", "-f", "raw", "-O", format, str(raw), str(path))
    raw.unlink()


def _system(cache: Path) -> Path:
    sources = [Path(__file__), *sorted(path for path in _OVERLAY.rglob("*") if path.is_file())]
    recipe = Recipe(name="tiny", packages=_package_names(), sources=sources, furnish=_furnish)
    return system.build(cache, recipe)


def _package_names() -> list[str]:
    [python] = [name for name in packages.dependencies("python3-minimal") if name.startswith("python3.")]
    version = python.removeprefix("python").removesuffix("-minimal")
    kernel = system.kernel_packages(_KERNEL_PACKAGE)
    return [*kernel, "busybox-static", python, f"libpython{version}-minimal", f"libpython{version}-stdlib",
            "libc6", "zlib1g", "libexpat1", "qemu-guest-agent", *_GUEST_AGENT_PACKAGES]  # fmt: skip


def _furnish(root: Path, unpacked: Path) -> None:
    for name in ("bin", "dev", "proc", "sys", "run", "tmp", "data", "etc", "usr/bin", "usr/sbin"):
        (root / name).mkdir(parents=True)
    system.add_busybox(root, unpacked)
    system.add_modules(root, unpacked, _MODULES)
    _add_libraries(root, unpacked)
    _add_python(root, unpacked)
    shutil.copyfile(unpacked / "usr/sbin/qemu-ga", root / "usr/sbin/qemu-ga")
    (root / "usr/sbin/qemu-ga").chmod(0o755)
    shutil.copytree(_OVERLAY, root, dirs_exist_ok=True)
    (root / "init").symlink_to("/bin/busybox")


def _add_libraries(root: Path, unpacked: Path) -> None:
    """Put every shared library in one directory: the loader looks there first."""
    target = root / "lib/x86_64-linux-gnu"
    target.mkdir(parents=True)
    for directory in ("lib", "usr/lib"):
        for library in sorted((unpacked / directory / "x86_64-linux-gnu").glob("*.so*")):
            shutil.copy(library, target / library.name, follow_symlinks=True)
    (root / "lib64").mkdir()
    (root / "lib64/ld-linux-x86-64.so.2").symlink_to("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")


def _add_python(root: Path, unpacked: Path) -> None:
    [library] = (unpacked / "usr/lib").glob("python3.*")
    target = root / "usr/lib" / library.name
    unwanted = shutil.ignore_patterns(*_STDLIB_LEFT_OUT, "config-*", "_sqlite3*", "_ssl*", "_hashlib*",
                                      "_dbm*", "_lzma*", "_bz2*", "_crypt*", "_curses*", "readline*", "nis*",
                                      "_codecs_*", "_asyncio*", "_decimal*", "LICENSE*")  # fmt: skip
    shutil.copytree(library, target, ignore=unwanted)
    binary = root / "usr/bin" / library.name
    shutil.copy(unpacked / "usr/bin" / library.name, binary)
    (root / "usr/bin/python3").symlink_to(library.name)
    _compile(root, binary, target)


def _compile(root: Path, binary: Path, library: Path) -> None:
    """Compile the library with the guest's own interpreter; only the compiled half is kept."""
    libraries = root / "lib/x86_64-linux-gnu"
    run(str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries), str(binary), "-S", "-m",
        "compileall", "-q", "-b", "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/",
        str(library), environment={"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0"})  # fmt: skip
    for source in library.rglob("*.py"):
        source.unlink()
    for leftover in library.rglob("__pycache__"):
        shutil.rmtree(leftover)


def _agent_archive(agent: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / _AGENT
        bundle.parent.mkdir(parents=True)
        bundle.write_bytes(agent)
        archive = io.BytesIO()
        cpio.write_tree(Path(scratch), archive)
        return archive.getvalue()


def _publish(path: Path, content: bytes) -> None:
    making = path.with_suffix(f".{os.getpid()}")
    making.write_bytes(content)
    making.rename(path)
