"""Make the machines of the matrix: the demo's Debian, and a drive that makes it what a case wants."""

from __future__ import annotations

import dataclasses
import subprocess
import tarfile
import tempfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

from demo.guest.image import Additions, GuestImage
from innkeeper.hypervisor.domain.template import domain_type, processor_mode
from innkeeper.machines.host_facts import Acceleration
from tests.matrix import packages
from tests.matrix.case import Case

_UNIT = """\
[Unit]
Description=Make this guest what its night wants
DefaultDependencies=no
After=local-fs.target sysinit.target dbus.socket
Before=innkeeper-agent.service multi-user.target
ConditionPathExists=!/var/lib/case-is-made

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mkdir -p /case && tar -xf /dev/vdb -C /case'
ExecStart=/bin/sh -c 'sh -eux /case/setup >/dev/console 2>&1'
ExecStart=/bin/touch /var/lib/case-is-made

[Install]
WantedBy=multi-user.target
"""
_SETUP = """\
chmod 644 /etc/systemd/system/case.service
rm -f /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/case/archive ./' >/etc/apt/sources.list.d/case.list
systemctl unmask systemd-journal-flush.service
if ls /case/installed/*.deb >/dev/null 2>&1; then dpkg -i /case/installed/*.deb; fi
"""
#: What a guest has of the task agent.
_AGENT = (
    "/etc/systemd/system/multi-user.target.wants/innkeeper-agent.service",
    "/usr/local/lib/innkeeper/innkeeper-agent.pyz",
)
_AGENT_PORT = "    <channel type='unix'><target type='virtio' name='org.innkeeper.agent.0'/></channel>\n"
#: What a whole guest has beside: it boots as servers do, and its kernel knows AppArmor.
_BOOT_DISK = "/boot/grub/boot-disk"
_EARLY = "search --no-floppy --file --set=root /boot/grub/grub.cfg\nset prefix=($root)/boot/grub\nnormal\n"
_GRUB = """\
serial --unit=0
terminal_output serial
set timeout=0
menuentry Debian {
    linux /vmlinuz root=/dev/vda rw console=ttyS0 quiet mitigations=off
    initrd /initrd.img
}
"""
WHOLE = Additions(
    packages=("linux-image-cloud-amd64", "initramfs-tools", "grub-common", "grub-pc-bin", "apparmor"),
    script=f"""\
mkdir -p /boot/grub
printf '%s' '{_GRUB}' >/boot/grub/grub.cfg
printf '%s' '{_EARLY}' >/boot/grub/early.cfg
modules=/usr/lib/grub/i386-pc
cp -r $modules /boot/grub/
grub-mkimage -O i386-pc -o /boot/grub/core -c /boot/grub/early.cfg -p /boot/grub \\
    biosdisk ext2 search normal linux serial boot
cat $modules/boot.img /boot/grub/core >{_BOOT_DISK}
truncate -s 2M {_BOOT_DISK}
""",
)
_WANTS = "/etc/systemd/system/multi-user.target.wants/case.service"
_DEFINITION = """\
<domain type='{type}'>
  <name>{name}</name>
  <memory unit='MiB'>384</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
{boot}  </os>
  <features><acpi/></features>
  <cpu mode='{cpu}'/>
  <clock offset='utc'/>
  <on_crash>restart</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file={disk}/>
      <target dev='vda' bus='virtio'/>
{order}    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file={drive}/>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
    </disk>
{devices}    <channel type='unix'><target type='virtio' name='org.innkeeper.agent.0'/></channel>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='file'><source path={console} append='on'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
"""


_BY_HOST = """\
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 quiet panic=5 mitigations=off systemd.hostname={name}</cmdline>
"""
#: The BIOS reads the disk of the guest for GRUB: it has to be in its order too.
_SECOND = "      <boot order='2'/>\n"
_OF_WHOLE = """\
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file={boot_disk}/>
      <target dev='vdc' bus='virtio'/>
      <readonly/>
      <boot order='1'/>
    </disk>
    <interface type='user'><model type='virtio'/></interface>
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """What a guest is a copy of."""

    disk: Path
    #: Of the host, for the guests that do not boot their own.
    kernel: Path
    initrd: Path
    #: Where GRUB begins, for those that do; ``None`` for others.
    boot_disk: Path | None


def make_base(image: GuestImage, directory: Path, *, is_whole: bool, has_agent: bool = True) -> Base:
    """Copy the image's disk, with a unit that makes a guest what its case wants. No root is needed.

    Without a task agent all is done through qemu-guest-agent.
    """
    raw, base = directory / "base.raw", directory / f"base-{'whole' if is_whole else 'plain'}.qcow2"
    boot_disk = directory / "boot-disk.img" if is_whole else None
    _run("qemu-img", "convert", "-O", "raw", str(image.disk), str(raw))
    if boot_disk is not None:
        _run("debugfs", "-R", f"dump {_BOOT_DISK} {boot_disk}", str(raw))
    with tempfile.NamedTemporaryFile("w") as unit:
        unit.write(_UNIT)
        unit.flush()
        commands = (
            f"write {unit.name} /etc/systemd/system/case.service",
            f"symlink {_WANTS} ../case.service",
            "rm /etc/systemd/system/multi-user.target.wants/innkeeper-demo-role.service",
            *(() if has_agent else (f"rm {path}" for path in _AGENT)),
        )
        for command in commands:
            _run("debugfs", "-w", "-R", command, str(raw))
    _run("qemu-img", "convert", "-O", "qcow2", str(raw), str(base))
    raw.unlink()
    return Base(disk=base, kernel=image.kernel, initrd=image.initrd, boot_disk=boot_disk)


def define(case: Case, base: Base, directory: Path, how: Acceleration, *, has_agent: bool = True) -> Path:
    """Lay out one machine's disk, drive and definition; returns the definition's path."""
    disk, drive = directory / f"{case.name}.qcow2", directory / f"{case.name}.tar"
    _run("cp", "--sparse=always", str(base.disk), str(disk))
    _pack(case, drive)
    kind, is_direct = domain_type(how.accelerator), base.boot_disk is None
    path = directory / f"{case.name}.xml"
    definition = _DEFINITION if has_agent else _DEFINITION.replace(_AGENT_PORT, "")
    path.write_text(
        definition.format(
            type=kind,
            cpu=processor_mode(kind),
            name=case.name,
            boot=_BY_HOST.format(kernel=base.kernel, initrd=base.initrd, name=case.name) if is_direct else "",
            order="" if is_direct else _SECOND,
            devices="" if is_direct else _OF_WHOLE.format(boot_disk=quoteattr(str(base.boot_disk))),
            disk=quoteattr(str(disk)),
            drive=quoteattr(str(drive)),
            console=quoteattr(str(directory / f"{case.name}.console.log")),
        )
    )
    return path


def _pack(case: Case, drive: Path) -> None:
    """The drive is a tar archive: what the setup runs, and the packages."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        packages.make(case.installed, root / "installed")
        packages.make(case.offered, root / "archive")
        packages.index(root / "archive")
        (root / "setup").write_text(_SETUP + case.setup)
        with tarfile.open(drive, "w") as tar:
            tar.add(root, arcname=".", filter=_as_root)
    size = drive.stat().st_size
    with drive.open("ab") as file:
        file.truncate((size + 0xFFFFF) & ~0xFFFFF)


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    if entry.isdir():
        entry.mode = 0o755
    return entry


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()}")
