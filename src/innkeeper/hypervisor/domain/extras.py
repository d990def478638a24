"""Innkeeper's own settings of a machine in its definition's metadata."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping

from lxml import etree

from innkeeper.hypervisor.domain.fields import Attribute, Element, Whole, Words, YesNo, child, written
from innkeeper.machines.configuration import Extras, ParentRecord, Value
from innkeeper.wire.virtual_pc import ShutdownAction, UndoAction, UndoPointKind

#: The namespace of the element, and the prefix it is written with.
NAMESPACE = "urn:innkeeper:machine:1"
PREFIX = "innkeeper"
#: libvirt allows one element of a namespace.
TAG = f"{{{NAMESPACE}}}machine"

_UNDO_ACTION = Words(
    {UndoAction.DISCARD: "discard", UndoAction.KEEP: "keep", UndoAction.COMMIT: "commit"},
    unknown=UndoAction.KEEP,
)
_UNDO_POINT = Words(
    {
        UndoPointKind.POLICY: "policy",
        UndoPointKind.LIVE: "live",
        UndoPointKind.OFF: "off",
        UndoPointKind.MEMORY: "memory",
    },
    unknown=UndoPointKind.POLICY,
)
_SHUTDOWN_ACTION = Words(
    {
        ShutdownAction.SAVE: "save",
        ShutdownAction.TURN_OFF: "turn_off",
        ShutdownAction.SHUTDOWN: "shutdown",
    },
    unknown=ShutdownAction.SAVE,
)

_READ: Mapping[str, Callable[[str], Value]] = {
    "string": str,
    "int": int,
    "bool": lambda text: text == "true",
    "bytes": lambda text: base64.b64decode(text),
}


class ExtrasElement(Element):
    """``<innkeeper:machine>``."""

    undoable = Attribute(".", "undoable", False, YesNo())
    undo_action = Attribute(".", "undo-action", UndoAction.KEEP, _UNDO_ACTION)
    undo_pending = Attribute(".", "undo-pending", False, YesNo())
    undo_exclude = Attribute(".", "undo-exclude")
    merging = Attribute(".", "merging")
    freezing_since = Attribute(".", "freezing-since", 0, Whole())
    held_until = Attribute(".", "held-until", 0, Whole())
    undo_point = Attribute(".", "undo-point", UndoPointKind.POLICY, _UNDO_POINT)
    shutdown_action = Attribute(".", "shutdown-action", ShutdownAction.SAVE, _SHUTDOWN_ACTION)
    made_here = Attribute(".", "made-here", False, YesNo())
    software_reason = Attribute(".", "software-reason")


class ParentElement(Element):
    """``<innkeeper:parent>``: what an image below an undo disk was like."""

    path = Attribute(".", "path")
    size_bytes = Attribute(".", "size", 0, Whole())
    mtime_ns = Attribute(".", "mtime", 0, Whole())
    inode = Attribute(".", "inode", 0, Whole())


def read_extras(domain: etree._Element) -> Extras:
    """Innkeeper's own settings in a definition; all defaults where there are none."""
    node = domain.find(f"metadata/{TAG}")
    if node is None:
        return Extras()
    element = ExtrasElement(node)
    return Extras(
        undoable=element.undoable,
        undo_action=element.undo_action,
        undo_point=element.undo_point,
        undo_pending=element.undo_pending,
        undo_exclude=element.undo_exclude,
        merging=frozenset(int(run) for run in element.merging.split(",") if run.isdecimal()),
        freezing_since=element.freezing_since,
        held_until=element.held_until,
        shutdown_action=element.shutdown_action,
        labels=tuple(each.text or "" for each in node.iterfind(_tag("label"))),
        ignored=_ignored(node),
        values={each.get("key", ""): _value(each) for each in node.iterfind(_tag("value"))},
        parents=tuple(_parent(each) for each in node.iterfind(_tag("parent"))),
        static_macs=frozenset(each.get("address", "") for each in node.iterfind(_tag("static-mac"))),
        immediate_ports=frozenset(int(each.get("id", "0")) for each in node.iterfind(_tag("immediate-port"))),
        made_here=element.made_here,
        software_reason=element.software_reason,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The part of it that every list of machines shows."""

    labels: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    known_parents: tuple[str, ...] = ()
    undoable: bool = False
    undo_pending: bool = False
    undo_exclude: tuple[str, ...] = ()
    undo_point: UndoPointKind = UndoPointKind.POLICY
    freezing_since: int = 0


def read_summary(domain: etree._Element) -> Summary:
    """The summary of a machine's notes."""
    node = domain.find(f"metadata/{TAG}")
    if node is None:
        return Summary()
    element = ExtrasElement(node)
    return Summary(
        labels=tuple(each.text or "" for each in node.iterfind(_tag("label"))),
        ignored=_ignored(node),
        known_parents=tuple(each.get("path", "") for each in node.iterfind(_tag("parent"))),
        undoable=element.undoable,
        undo_pending=element.undo_pending,
        undo_exclude=tuple(each for each in element.undo_exclude.split(",") if each),
        undo_point=element.undo_point,
        freezing_since=element.freezing_since,
    )


def write_extras(domain: etree._Element, extras: Extras) -> None:
    """Note it in the definition."""
    metadata = child(domain, "metadata")
    for stale in metadata.findall(TAG):
        metadata.remove(stale)
    if extras != Extras():
        metadata.append(extras_element(extras))
    elif not len(metadata):
        domain.remove(metadata)


def extras_element(extras: Extras) -> etree._Element:
    """The settings as the element of a definition."""
    node = _bare(extras)
    named = etree.Element(TAG, nsmap={PREFIX: NAMESPACE})
    named.attrib.update(node.attrib)
    for each in node:
        child_node = etree.SubElement(named, _tag(each.tag))
        child_node.attrib.update(each.attrib)
        child_node.text = each.text
    return named


def extras_text(extras: Extras) -> str:
    """The settings for libvirt's call that sets them: libvirt itself puts the namespace on."""
    return written(_bare(extras))


def _note_undo(element: ExtrasElement, extras: Extras) -> None:
    if extras.undo_exclude:
        element.undo_exclude = extras.undo_exclude
    if extras.merging:
        element.merging = ",".join(map(str, sorted(extras.merging)))
    if extras.held_until:
        element.held_until = extras.held_until
    if extras.freezing_since:
        element.freezing_since = extras.freezing_since


def _bare(extras: Extras) -> etree._Element:
    node = etree.Element("machine")
    element = ExtrasElement(node)
    element.undoable = extras.undoable
    element.undo_action = extras.undo_action
    element.undo_pending = extras.undo_pending
    _note_undo(element, extras)
    element.shutdown_action = extras.shutdown_action
    if extras.undo_point is not UndoPointKind.POLICY:
        element.undo_point = extras.undo_point
    if extras.made_here:
        element.made_here = True
    if extras.software_reason:
        element.software_reason = extras.software_reason
    for label in extras.labels:
        etree.SubElement(node, "label").text = label
    for subject in extras.ignored:
        etree.SubElement(node, "ignored").text = subject
    for key, value in sorted(extras.values.items()):
        kind, text = _written(value)
        etree.SubElement(node, "value", key=key, type=kind).text = text
    for parent in extras.parents:
        etree.SubElement(
            node,
            "parent",
            path=parent.path,
            size=str(parent.size_bytes),
            mtime=str(parent.mtime_ns),
            inode=str(parent.inode),
        )
    for mac in sorted(extras.static_macs):
        etree.SubElement(node, "static-mac", address=mac)
    for port in sorted(extras.immediate_ports):
        etree.SubElement(node, "immediate-port", id=str(port))
    return node


def _ignored(node: etree._Element) -> tuple[str, ...]:
    return tuple(each.text for each in node.iterfind(_tag("ignored")) if each.text)


def _tag(name: object) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _value(node: etree._Element) -> Value:
    return _READ.get(node.get("type", "string"), str)(node.text or "")


def _written(value: Value) -> tuple[str, str]:
    if isinstance(value, bool):
        return "bool", "true" if value else "false"
    if isinstance(value, int):
        return "int", str(value)
    if isinstance(value, bytes):
        return "bytes", base64.b64encode(value).decode()
    return "string", value


def _parent(node: etree._Element) -> ParentRecord:
    parent = ParentElement(node)
    return ParentRecord(
        path=parent.path, size_bytes=parent.size_bytes, mtime_ns=parent.mtime_ns, inode=parent.inode
    )
