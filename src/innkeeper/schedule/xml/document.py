"""The document around a definition: encoding, root, version."""

from __future__ import annotations

import re
from collections.abc import Mapping

from innkeeper.errors import ErrorCode
from innkeeper.schedule.xml import encoding as encodings
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.schedule.xml.markup import Tag, render
from innkeeper.schedule.xml.node import NAMESPACE, Node, parse

_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.[0-9]{1,8}){0,2}")
_NEWEST = 6


def opened(data: bytes | str, findings: Findings) -> Node:
    """Return the root of a task definition. Raises ``ScheduleError`` for what is none at all."""
    if isinstance(data, bytes):
        decoded, encoding = encodings.decode(data)
        text = encodings.checked(decoded)
        declared = encodings.misdeclared(text, encoding)
    else:
        text, encoding, declared = encodings.checked(data), "", None
    stripped = text.lstrip(" \t\n")
    root = parse(stripped)
    if declared is not None:
        findings.add(
            root,
            ErrorCode.SCHED_E_MALFORMEDXML,
            f"the file says that its encoding is {declared}, and is {encoding}",
            value=declared,
            forgiven=True,
        )
    if stripped != text:
        findings.add(
            root, ErrorCode.SCHED_E_MALFORMEDXML, "white space stands before the XML", value="", forgiven=True
        )
    _check_root(root, findings)
    findings.minor = _minor(root, findings)
    return root


def _check_root(root: Node, findings: Findings) -> None:
    if root.namespace != NAMESPACE:
        findings.add(
            root, ErrorCode.SCHED_E_NAMESPACE, "it is not in the namespace of tasks", value=root.namespace
        )
    elif root.name != "Task":
        findings.unexpected(root, "the root of a definition is Task", forgiven=False)
    findings.raise_first(strict=False)


def _minor(root: Node, findings: Findings) -> int:
    version = root.attributes.get("version")
    if version is None:
        return 2
    match = _VERSION.fullmatch(version)
    if match is None:
        _bad_version(
            root, findings, ErrorCode.SCHED_E_INVALIDVALUE, "it is not a version such as 1.2", version
        )
        return _NEWEST
    major, minor = int(match.group(1)), int(match.group(2))
    if major != 1 or minor > _NEWEST:
        code = ErrorCode.SCHED_E_UNKNOWN_OBJECT_VERSION
        _bad_version(root, findings, code, f"versions 1.0 to 1.{_NEWEST} are known", version)
        return _NEWEST
    return minor


def _bad_version(root: Node, findings: Findings, code: ErrorCode, sentence: str, version: str) -> None:
    findings.add(root, code, sentence, name="version", value=version)


def closed(task: Tag, version: str, prefixes: Mapping[str, str], encoding: Encoding | None) -> str:
    """Return the text of a whole document; its declaration names ``encoding``, or none."""
    declared = "" if encoding is None else f' encoding="{encoding.value.upper()}"'
    attributes = {"version": version, "xmlns": NAMESPACE}
    attributes |= {f"xmlns:{prefix}": uri for prefix, uri in prefixes.items()}
    root = Tag(name=task.name, attributes=attributes | dict(task.attributes), children=task.children)
    return f'<?xml version="1.0"{declared}?>\n' + render(root)
