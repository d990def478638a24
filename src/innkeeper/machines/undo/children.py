"""Refuse to write to an image that others stand on: merging into it would change their disks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath

from innkeeper.errors import ErrorCode, HypervisorError, MachineUnfit
from innkeeper.machines.asking import ask
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import FileIdentity
from innkeeper.machines.undo.overlay_names import run_of

#: As hosts' files say it.
_THIS_COMPUTER = ""
#: How many images and folders that could not be looked at are named.
_MOST_SENTENCES = 3
#: A look at another host reads all its definitions and their folders; one that takes longer is silent.
OTHERS_SECONDS = 60.0


class Users:
    """Who stands on images: asked of the hosts for each image, or of all images beforehand by one look."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Sequence[ImageUser]] = {}
        self._silent: dict[str, HypervisorError] = {}

    async def look(self, host: Host, paths: Iterable[str]) -> None:
        """Look at a host once for all these images; what others have of them is not asked again."""
        found = await host.disks.users_of(list(dict.fromkeys(paths)))
        self._known |= {(host.name, path): users for path, users in found.items()}

    def give_up(self, host: Host, error: HypervisorError) -> None:
        """Ask a host no more that did not answer."""
        self._silent[host.name] = error

    async def of(self, host: Host, path: str) -> Sequence[ImageUser]:
        """Who stands on one image. Raises ``HypervisorError`` where the host does not answer."""
        if host.name in self._silent:
            raise self._silent[host.name]
        known = self._known.get((host.name, path))
        return await host.disks.users(path) if known is None else known


_ASKED_EACH_TIME = Users()


async def refuse_children(
    host: Host,
    machine: str,
    bases: Mapping[str, str],
    others: Iterable[Host] = (),
    known: Users = _ASKED_EACH_TIME,
) -> tuple[str, ...]:
    """Raises ``MachineUnfit`` where anybody else stands on one of these bases (target → image).

    Looked at are the machines of this host and of all ``others`` that have the same file, and the images
    in folders. Undo disks that no definition names do not count: nobody's data is in them. Returns a sentence
    for each image and folder that could not be looked at.
    """
    unseen: dict[str, str] = {}
    elsewhere = [other for other in others if other is not host]
    for target, base in bases.items():
        users = [
            user for user in await known.of(host, base) if (user.machine, user.target) != (machine, target)
        ]
        beside = [other for other in elsewhere if other.files.computer == host.files.computer]
        at = await host.files.identity(base) if beside and base.startswith("/") else None
        for other in elsewhere:
            users += await _on_another_host(machine, host, (base, at), other, known)
        unseen |= {user.image: user.unseen for user in users if user.unseen}
        for user in users:
            if not user.unseen and (user.machine or run_of(user.image) is None):
                raise _in_the_way(machine, target, base, user)
    return tuple(_not_known(machine, {i: why for i, why in unseen.items() if run_of(i) is None}))


async def not_looked_for(host: Host, machine: str, base: str) -> Sequence[str]:
    """Return a sentence where other computers may have an image too: their machines are not looked at."""
    storage = await host.files.network_storage(base) if base.startswith("/") else ""
    sentence = (
        f"{base} lies on {storage}, which other computers may have mounted too: whether an image of theirs "
        f"stands on a disk of {machine}, and would change with it, was not looked for."
    )
    return (sentence,) if storage else ()


def _not_known(machine: str, unseen: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each image or folder that could not be looked at, or for the first and all others."""
    for image, reason in [*unseen.items()][:_MOST_SENTENCES]:
        yield (
            f"Whether {image} stands on a disk of {machine}, and would change with it, is not known: "
            f"{reason.rstrip('.')}."
        )
    if len(unseen) > _MOST_SENTENCES:
        yield f"The same of {len(unseen) - _MOST_SENTENCES} more."


async def _on_another_host(
    machine: str, host: Host, image: tuple[str, FileIdentity | None], other: Host, known: Users
) -> Sequence[ImageUser]:
    """Machines of another host that have this very image, as hosts of one computer or one storage do.

    ``image`` is its path, with what is at that path on the host where it is known.
    Raises ``MachineUnfit`` where that host is away and on this computer: nobody knows then what a merge would
    change. One that is away on another computer is noted as not seen, and keeps nobody from being maintained.
    """
    try:
        return await ask(other, lambda other: _users_there(host, image, other, known), OTHERS_SECONDS)
    except HypervisorError as error:
        if other.files.computer != host.files.computer:
            return [ImageUser(image=f"a machine of {other.name}", unseen=error.sentence)]
        raise MachineUnfit(
            f"Whether a machine of {other.name} stands on {image[0]} too is not known: {error.sentence}",
            machine=machine,
            code=error.code,
            advice=f"See that the host {other.name} answers, or take it out of the settings.",
        ) from error


async def _users_there(
    host: Host, image: tuple[str, FileIdentity | None], other: Host, known: Users
) -> Sequence[ImageUser]:
    base, at = image
    if base.startswith("/") and not await _is_on(host, base, at, other):
        return ()
    return [user for user in await known.of(other, base) if user.machine or user.unseen]


async def _is_on(host: Host, path: str, at: FileIdentity | None, other: Host) -> bool:
    """Whether another host has the same file at this path; one on another computer is not asked.

    All hosts on this computer have the same one: a server of a hundred asks none of them.
    """
    if other.files.computer != host.files.computer or at is None:
        return False
    return host.files.computer == _THIS_COMPUTER or await other.files.identity(path) == at


def _in_the_way(machine: str, target: str, base: str, user: ImageUser) -> MachineUnfit:
    name = PurePath(base).name
    if user.machine == machine:
        return MachineUnfit(
            f"The disks {target} and {user.target} of {machine} are one image ({base}), "
            "and would each get an undo disk of their own.",
            machine=machine,
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Take one of them out, or give it an image of its own (qemu-img convert).",
        )
    if user.machine and user.image == base:
        what = f"{name} is also the disk {user.target} of {user.machine}"
    elif user.machine:
        what = f"{name} is the base of {user.machine}'s disk {user.target} ({user.image})"
    else:
        what = f"{name} is the base of the image {user.image}"
    return MachineUnfit(
        f"The disk {target} of {machine} cannot be kept or undone alone: {what}, which would change with it.",
        machine=machine,
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"Give {user.machine or user.image} an image of its own (qemu-img convert).",
    )
