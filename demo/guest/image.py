"""Build the demo's guest image, once for each recipe, and keep it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from demo.guest.archive import Archive, host_archive
from demo.guest.packages import make_packages
from innkeeper.machines.guest.prepare import BUNDLE_NAME, agent_bundle

_RECIPE = Path(__file__).parent
_DISK_SIZE = "1G"
#: Debian's kernel for virtual machines, and Ubuntu's.
_KERNELS = "linux-image-cloud-amd64 linux-image-virtual"
_INCLUDED = "systemd,systemd-sysv,dbus,udev,python3,qemu-guest-agent,busybox,libpam-systemd"

#: Told what the build does, line by line.
OnLine = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Additions:
    """What a guest gets beside what each has."""

    #: Names of the distribution's packages.
    packages: tuple[str, ...] = ()
    #: Shell that is run in the guest at the end of its build.
    script: str = ""


_NONE = Additions()


class ImageError(Exception):
    """The image could not be built; says why and where to look."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuestImage:
    """What a machine boots."""

    kernel: Path
    initrd: Path
    #: qcow2, to be copied for each machine.
    disk: Path


def cached_image(cache: Path) -> GuestImage | None:
    """Return the image of this recipe, where it was built before."""
    directory = _directory(cache, host_archive(), _NONE)
    return _image(directory) if directory.exists() else None


def build_image(cache: Path, on_line: OnLine, additions: Additions = _NONE) -> GuestImage:
    """Return the image of this recipe, built where it is missing. Raises ``ImageError``."""
    archive = host_archive()
    directory = _directory(cache, archive, additions)
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as scratch:
            _build(Path(scratch), archive, additions, on_line)
            (Path(scratch) / "image").rename(directory)
    return _image(directory)


def _image(directory: Path) -> GuestImage:
    return GuestImage(
        kernel=directory / "vmlinuz", initrd=directory / "initrd", disk=directory / "disk.qcow2"
    )


def _directory(cache: Path, archive: Archive, additions: Additions) -> Path:
    """Name the image by all it is made of, but for the archive's own packages."""
    digest = hashlib.sha256(archive.suite.encode() + agent_bundle())
    digest.update("\n".join((*additions.packages, additions.script)).encode())
    for path in sorted(_RECIPE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(_RECIPE)} {path.stat().st_mode & 0o777:o}\n".encode())
            digest.update(path.read_bytes())
    return cache / f"demo-{archive.suite}-{digest.hexdigest()[:16]}"


def _build(scratch: Path, archive: Archive, additions: Additions, on_line: OnLine) -> None:
    image = scratch / "image"
    image.mkdir()
    on_line("making the demo's packages")
    contents = scratch / "contents"
    _lay_out(contents)
    _tar(contents, scratch / "contents.tar")
    _install(scratch, archive, additions, on_line)
    on_line("packing the disk")
    _run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", scratch / "root.ext4", image / "disk.qcow2")
    _make_initrd(scratch, image)


def _lay_out(root: Path) -> None:
    """Put what the guest gets beside Debian's packages under ``root``."""
    shutil.copytree(_RECIPE / "root", root)
    make_packages(root)
    shutil.copy(_RECIPE / "customize", root / "srv/customize")
    (root / "srv/agent").mkdir()
    (root / "srv/agent" / BUNDLE_NAME).write_bytes(agent_bundle())


def _tar(root: Path, path: Path) -> None:
    def as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(path, "w") as tar:
        for entry in sorted(root.iterdir()):
            tar.add(entry, arcname=entry.name, filter=as_root)


def _install(scratch: Path, archive: Archive, additions: Additions, on_line: OnLine) -> None:
    """Let mmdebstrap install Debian in a user namespace, and lay its tree down as ext4."""
    with (scratch / "root.ext4").open("wb") as disk:
        # In the namespace root is another user, and may not walk to this file: it is handed over open,
        # and writable to whoever reaches it, which is nobody else in this private directory.
        os.fchmod(disk.fileno(), 0o666)
        command = list(_mmdebstrap(scratch, archive, additions, disk.fileno()))
        _follow(command, disk.fileno(), scratch.parent / "image-build.log", on_line)


def _mmdebstrap(scratch: Path, archive: Archive, additions: Additions, disk: int) -> Iterator[str]:
    # The bind mount is not recursive on purpose: it hides /proc, which mke2fs cannot copy.
    make_file_system = (
        'set -e; rm -r "$1/srv/kernel" "$1/srv/customize"; mkdir "$1/mnt/root"; '
        'mount --bind "$1" "$1/mnt/root"; '
        f"mke2fs -q -F -t ext4 -m 0 -L innkeeper -E lazy_itable_init=0,lazy_journal_init=0"
        f' -d "$1/mnt/root" /proc/self/fd/{disk} {_DISK_SIZE}; umount "$1/mnt/root"'
    )
    yield from ("mmdebstrap", "--mode=unshare", "--variant=apt", "--format=null")
    yield f"--include={','.join((_INCLUDED, *additions.packages))}"
    for path in ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"):
        yield f"--dpkgopt=path-exclude={path}"
    yield "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    yield f"--customize-hook=tar-in {scratch / 'contents.tar'} /"
    yield f'--customize-hook=chroot "$1" /srv/customize {_KERNELS}'
    if additions.script:
        yield f'--customize-hook=chroot "$1" sh -euc {shlex.quote(additions.script)}'
    yield f"--customize-hook=tar-out /srv/kernel {scratch / 'kernel.tar'}"
    yield f"--customize-hook={make_file_system}"
    yield from (archive.suite, "/dev/null", *archive.sources)


def _follow(command: list[str], disk: int, log: Path, on_line: OnLine) -> None:
    with log.open("w") as record:
        # Not below /tmp, which may be small and in memory; every user may walk to it.
        environment = os.environ | {"TMPDIR": "/var/tmp", "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}  # noqa: S108
        process = subprocess.Popen(
            command, env=environment, pass_fds=[disk], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        with process:
            for line in process.stdout or ():
                record.write(line)
                if line.startswith("I: "):
                    on_line(line[3:].strip().partition(":")[0])
    if process.returncode:
        raise ImageError(f"mmdebstrap could not build the guest image; its own words are in {log}.")


def _make_initrd(scratch: Path, image: Path) -> None:
    """Pack busybox, the few modules the disk needs and our first steps: far less than Debian's own."""
    root = scratch / "initrd"
    for name in ("bin", "dev", "proc", "sys", "root"):
        (root / name).mkdir(parents=True)
    _run("tar", "-xf", scratch / "kernel.tar", "-C", scratch)
    kernel = next(scratch.glob("**/kernel"))
    (kernel / "modules").rename(root / "modules")
    (kernel / "vmlinuz").rename(image / "vmlinuz")
    shutil.copy("/bin/busybox", root / "bin/busybox")
    shutil.copy(_RECIPE / "init", root / "init")
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = _run("cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-D", root, given=names.encode())
    (image / "initrd").write_bytes(packed)


def _run(*command: str | Path, given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode:
        raise ImageError(f"{command[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
