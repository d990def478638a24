"""Set up the demo's three machines, as virsh would be used to set up any machine."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

from demo.guest.image import GuestImage
from demo.place import Place, image_cache
from innkeeper.hypervisor.domain.template import domain_type, processor_mode
from innkeeper.hypervisor.libvirt.acceleration import acceleration
from innkeeper.machines.host_facts import Acceleration
from innkeeper.wire.states import MachineState, Verdict

_TEMPLATE = Path(__file__).with_name("machine.xml")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """One machine of the demo, and what the night has to do with it."""

    name: str
    #: Which packages it is offered, and which of the demo's services it runs.
    role: str
    #: The state that the night finds it in, and has to leave it in.
    state: MachineState
    verdict: Verdict
    #: Package → the version that it has to have in the morning.
    versions: tuple[tuple[str, str], ...]
    #: What happens to it, for a person.
    story: str


GUESTS: tuple[Guest, ...] = (
    Guest(
        name="web-1",
        role="web",
        state=MachineState.RUNNING,
        verdict=Verdict.KEPT,
        versions=(("innkeeper-demo-site", "2.0"), ("innkeeper-demo-theme", "1.1")),
        story="a good update",
    ),
    Guest(
        name="db-1",
        role="db",
        state=MachineState.RUNNING,
        verdict=Verdict.ROLLED_BACK,
        versions=(("innkeeper-demo-database", "1.0"),),
        story="an update that breaks it",
    ),
    Guest(
        name="old-1",
        role="old",
        state=MachineState.SAVED,
        verdict=Verdict.KEPT,
        versions=(("innkeeper-demo-kernel-notes", "2.0"),),
        story="asleep; wants a reboot",
    ),
)


class SetupError(Exception):
    """The machines could not be set up; says why and where to look."""


def disk_of(guest: Guest, directory: Path) -> Path:
    """The disk of one machine, among the demo's machines in ``directory``."""
    return directory / f"{guest.name}.qcow2"


def how_they_run(image: GuestImage) -> Acceleration:
    """Whether the demo's own kernel starts with KVM; remembered beside the image."""
    return acceleration(image_cache(), image.kernel)


def set_up(guests: Sequence[Guest], image: GuestImage, place: Place, acceleration: Acceleration) -> None:
    """Define the machines in a hypervisor of their own, which no service may hold at this moment."""
    _lay_disks(guests, image, place.machines)
    _keep_logs_plain(place)
    kind = domain_type(acceleration.accelerator)
    definitions = []
    for guest in guests:
        path = place.machines / f"{guest.name}.xml"
        path.write_text(_definition(guest, image, place.machines, kind))
        definitions.append(f"define {path}")
    _run("virsh", "--quiet", "--connect", place.uri, "; ".join(definitions))


def _lay_disks(guests: Sequence[Guest], image: GuestImage, directory: Path) -> None:
    """Give each machine its own full copy of the image: no backing chain, as on most hosts."""
    directory.mkdir(parents=True)
    for guest in guests:
        _run("cp", "--reflink=auto", "--sparse=always", image.disk, disk_of(guest, directory))


def _keep_logs_plain(place: Place) -> None:
    """Let QEMU write its own logs: the log daemon would outlive the demo by two minutes."""
    settings = place.hypervisor / "etc"
    settings.mkdir(parents=True)
    (settings / "qemu.conf").write_text('stdio_handler = "file"\n')


def _definition(guest: Guest, image: GuestImage, directory: Path, kind: str) -> str:
    values = {
        "type": kind,
        "cpu": processor_mode(kind),
        "name": guest.name,
        "role": guest.role,
        "kernel": image.kernel,
        "initrd": image.initrd,
        "disk": quoteattr(str(disk_of(guest, directory))),
        "console": quoteattr(str(directory / f"{guest.name}.console.log")),
    }
    return _TEMPLATE.read_text().format_map(values)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise SetupError(f"{command[0]} failed: {done.stderr.strip()}")
