"""Disks of every kind that libvirt's grammar knows, for tests of what becomes of their definitions."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lxml import etree

from tests.hypervisor.grammar import Grammar

#: libvirt's grammar of a domain, as it is installed.
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")
#: What every disk of a test has, beside its source.
_ALWAYS = ("disk", "disk/driver/@name", "disk/driver/@type", "disk/target/@bus")
#: How a disk says where its content is.
_SOURCES: Sequence[Sequence[str]] = (
    ("@type", "source/@file"),
    ("@type", "source/@dev"),
    ("@type", "source/@pool", "source/@volume"),
    ("@type", "source/@protocol", "source/@name", "source/host/@name"),
)
#: Attributes each of which makes a source one of a kind.
_PLACES = (
    "file",
    "dev",
    "dir",
    "pool",
    "volume",
    "protocol",
    "namespace",
    "path",
    "managed",
    "startupPolicy",
)
_NOTHING: frozenset[str] = frozenset()
#: Texts where libvirt takes few of those that the grammar does, or where any is as good: by the path's end.
_PINNED: Mapping[str, Sequence[str]] = {
    "disk/@device": ("disk",),
    "disk/driver/@name": ("qemu",),
    "disk/driver/@type": ("qcow2", "raw"),
    "disk/driver/@iothread": ("1",),
    "disk/driver/@cache": ("none", "directsync"),
    "disk/target/@bus": ("virtio", "virtio", "scsi", "sata", "usb"),
    "disk/boot/@order": ("1",),
    "disk/alias/@name": ("ua-1", "ua-data"),
    "format/@type": ("qcow2", "raw"),
    "encryption/@format": ("luks",),
    "encryption/cipher/@size": ("256",),
    "auth/secret/@type": ("ceph",),
    "secret/@uuid": ("a9f7ab3f-1d2b-4f6c-8b5a-0d1e2f3a4b5c",),
    "max_size/@unit": ("bytes", "KiB", "MiB"),
    "source/@name": ("pool/image",),
    "source/@namespace": ("1",),
    "source/@mode": ("client",),
    "host/@name": ("far.example", "192.0.2.7"),
    "host/@port": ("7777",),
    "address/@domain": ("0x0000",),
    "address/@bus": ("0x00", "0"),
    "address/@slot": ("0x0a",),
    "address/@function": ("0x0",),
    "address/@controller": ("0",),
    "address/@target": ("0",),
    "address/@unit": ("0", "1"),
}
#: What libvirt wants to see beside another part, within the element around it.
_TOGETHER: Mapping[str, Sequence[str]] = {
    "reservations": ("reservations/@managed",),
    "cookies": ("cookies/cookie/@name",),
    "snapshot": ("@name", "@protocol"),
    "config": ("@name", "@protocol"),
    "identity": ("@name", "@protocol"),
    "auth": ("@name", "@protocol"),
}
#: The first name of a disk on each bus.
_NAMES: Mapping[str, str] = {"ide": "hda", "fdc": "fda", "virtio": "vda", "xen": "xvda"}


@functools.cache
def grammar() -> Grammar:
    """The grammar, read once."""
    return Grammar(SCHEMA, _PINNED)


@functools.cache
def parts() -> Sequence[str]:
    """Every element and attribute that the grammar knows in a disk, by its path."""
    return grammar().parts("disk")


def disk(wanted: frozenset[str], chance: random.Random) -> str:
    """A ``<disk>`` with these parts of the grammar, together as far as it allows; the rest is chance."""
    needed = set(wanted) | set(_ALWAYS)
    for each in wanted:
        steps = each.split("/")
        needed.update("/".join(steps[:level]) for level in range(1, len(steps)))
        needed.update(_beside(steps))
    for level in [part for part in needed if part.rpartition("/")[2] in ("disk", "backingStore")]:
        needed.update(_source(level, wanted, chance))
    node = grammar().write("disk", frozenset(needed), chance)
    target = node.find("target")
    if target is not None:
        target.set("dev", _NAMES.get(target.get("bus", ""), "sda"))
    return etree.tostring(node, encoding="unicode")


def _source(level: str, wanted: frozenset[str], chance: random.Random) -> frozenset[str]:
    """A place for the content of this image, unless what is wanted says one."""
    kinds = [frozenset(f"{level}/{part}" for part in kind) for kind in _SOURCES]
    said = frozenset(f"{level}/source/@{name}" for name in _PLACES) & wanted
    return next((kind for kind in kinds if kind & said), _NOTHING if said else chance.choice(kinds))


def _beside(steps: Sequence[str]) -> set[str]:
    """The parts without which libvirt refuses the one at the end of these steps."""
    found: set[str] = set()
    for name, others in _TOGETHER.items():
        if name in steps:
            above = steps[: steps.index(name)]
            found.update("/".join([*above, other]) for other in others)
    return found


def parts_of(disk: str) -> Iterator[str]:
    """The parts of the grammar that a disk has."""
    yield from _parts_within(etree.fromstring(disk), "disk")


def _parts_within(node: etree._Element, path: str) -> Iterator[str]:
    yield path
    yield from (f"{path}/@{name!s}" for name in node.attrib)
    for each in node:
        yield from _parts_within(each, f"{path}/{each.tag}")
