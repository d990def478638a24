"""The names of the hosts of a service, by the URIs of its settings."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from innkeeper.errors import ErrorCode, InvalidArgument

#: ``attic=qemu+ssh://10.0.0.7/system``: a name of the administrator's own, and the URI.
_NAMED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,62})=(?P<uri>[a-z]+[+:].*)", re.DOTALL)


def named_hosts(entries: Sequence[str]) -> Mapping[str, str]:
    """The URI of each host by its name: the given one, or the computer's.

    Where one computer has several hosts, those without a given name are told apart by what comes behind it in
    the URI: ``attic-session``. Raises ``InvalidArgument`` where two have the same name, or the same URI.
    """
    given = [
        (match["name"], match["uri"]) if (match := _NAMED.fullmatch(entry)) else ("", entry)
        for entry in entries
    ]
    computers = Counter(_computer(uri) for name, uri in given if not name)
    hosts: dict[str, str] = {}
    for name, uri in given:
        computer = _computer(uri)
        name = name or (computer if computers[computer] == 1 else f"{computer}-{_driver(uri)}")
        if uri in hosts.values():
            raise InvalidArgument(
                f"The setting hypervisors names the host {uri} twice.",
                code=ErrorCode.ERROR_ALREADY_EXISTS,
                advice="Leave one of them out.",
            )
        if name in hosts:
            raise InvalidArgument(
                f"The setting hypervisors has two hosts called {name}: {hosts[name]} and {uri}.",
                code=ErrorCode.ERROR_ALREADY_EXISTS,
                advice=f"Give one of them a name of its own: {name}-2={uri}",
            )
        hosts[name] = uri
    return hosts


def _computer(uri: str) -> str:
    return urlsplit(uri).hostname or socket.gethostname()


def _driver(uri: str) -> str:
    """What tells the hosts of one computer apart: ``system``, ``session`` or ``embed``."""
    parts = urlsplit(uri)
    return re.sub(r"[^A-Za-z0-9]+", "-", parts.path.strip("/")) or parts.scheme.partition("+")[0]


def refuse_unknown_stand_ins(stand_in_for: Sequence[str], hosts: Mapping[str, str]) -> None:
    """Raise ``InvalidArgument`` where a server is to stand in for a host that it has not in its settings."""
    unknown = [each for each in stand_in_for if each not in hosts and each not in hosts.values()]
    if unknown:
        raise InvalidArgument(
            f"The setting stand_in_for names {', '.join(unknown)}, and hypervisors has no such host.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice=f"Name hosts among those of hypervisors: {', '.join(hosts)}.",
        )
