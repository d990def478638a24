"""Understand the names by which images name what they stand on, as QEMU does."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, unquote

#: Ways in which QEMU writes that what follows is a path.
_PATH_MARKS = ("file:", "host_device:", "host_cdrom:")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OLD_NBD_SOCKET = re.compile(r"nbd:unix:(?P<socket>.*?)(?::exportname=(?P<name>.*))?")
_OLD_NBD = re.compile(r"nbd:(?P<host>\[.*?\]|[^:/]+):(?P<port>\d+)(?::exportname=(?P<name>.*))?")
_RBD = re.compile(r"rbd:(?!//)(?P<name>(?:\\.|[^:@\\])*)(?:@[^:]*)?(?P<options>(?::.*)?)")
#: Drivers that say where bytes are, or change nothing of them, and not how an image is laid out.
_NO_FORMATS = {"", "file", "host_device", "host_cdrom", "throttle", "copy-on-read", "blkdebug", "quorum"}

#: What a name in JSON says that says no more than a path does.
_PLAIN = {"driver", "filename", "file", "file.driver", "file.filename"}

#: What the options of a block driver say, nested, as JSON has them.
Options = Mapping[str, object]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Base:
    """What an image stands on."""

    #: A path, made whole, or an address such as ``nbd://host:10809/name``; another name as it is.
    source: str
    #: ``raw``, ``qcow2`` …; empty where the image does not say.
    format: str = ""


def named_bases(image: str, name: str, image_format: str = "") -> list[Base]:
    """List the files, devices and addresses behind a name that an image has for its base.

    ``image_format`` is the base's format as the image records it beside the name. A name that says nothing
    of a place is given back as it is.
    """
    if name.startswith("json:"):
        try:
            message = json.loads(name.removeprefix("json:"))
        except (ValueError, RecursionError):
            message = None
        found = [*_of_options(image, _nested(message), image_format)] if isinstance(message, dict) else []
        return found or [Base(source=name, format=image_format)]
    mark = next((mark for mark in _PATH_MARKS if name.startswith(mark)), "")
    if not mark and _ADDRESS.match(name):
        return [Base(source=_as_url(name), format=image_format)]
    path = os.path.join(os.path.dirname(image), name.removeprefix(mark))  # noqa: PTH118, PTH120 - as QEMU does
    return [Base(source=path, format=image_format)] if name else []


def plain_base(image: str, name: str, image_format: str = "") -> Base:
    """The one image behind a name, where that name says all there is to say of how it is read.

    A name in JSON with more in it than drivers and a file's name, such as an offset, stays as it is.
    """
    if name.startswith("json:"):
        found = named_bases(image, name, image_format)
        is_plain = not set(re.findall(r'"([^"]*)"\s*:', name)) - _PLAIN
        return found[0] if is_plain and len(found) == 1 else Base(source=name, format=image_format)
    mark = next((mark for mark in _PATH_MARKS if name.startswith(mark)), "")
    if not mark and _ADDRESS.match(name):
        return Base(source=name, format=image_format)
    return next(iter(named_bases(image, name, image_format)), Base(source=""))


def _nested(message: Mapping[str, object]) -> Options:
    """Put ``{"file.filename": …}`` into the form ``{"file": {"filename": …}}``."""
    nested: dict[str, object] = {}
    for key, value in message.items():
        *outer, last = key.split(".")
        place: dict[str, object] = nested
        for part in outer:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                break
            place = inner
        if isinstance(value, dict):
            inside = _nested(value)
            known = place.get(last)
            place[last] = {**known, **inside} if isinstance(known, dict) else inside
        elif isinstance(value, list):
            place[last] = {str(number): _nested({"_": each})["_"] for number, each in enumerate(value)}
        else:
            place[last] = value
    return nested


def _of_options(image: str, options: Options, image_format: str) -> Iterator[Base]:
    driver = _text(options, "driver")
    image_format = image_format if driver in _NO_FORMATS or driver in _ADDRESSES else driver
    if filename := _text(options, "filename"):
        yield from named_bases(image, filename, image_format)
    elif driver in _ADDRESSES and (address := _ADDRESSES[driver](options)):
        yield Base(source=address, format=image_format)
    # The image's own bytes before what lies below it.
    for key in sorted(options, key=lambda key: key != "file"):
        value = options[key]
        if isinstance(value, Mapping) and key != "server":
            yield from _of_options(image, value, image_format if key == "file" else "")


# Addresses


def _text(options: Options, key: str) -> str:
    value = options.get(key)
    return str(value) if isinstance(value, str | int) else ""


def _inner(options: Options, key: str) -> Options:
    value = options.get(key)
    return value if isinstance(value, Mapping) else {}


def _place(server: Options) -> str:
    host, port = _text(server, "host"), _text(server, "port")
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{host}:{port}" if port else host


def _places(options: Options) -> str:
    return ",".join(
        _place(server) for server in _inner(options, "server").values() if isinstance(server, Mapping)
    )


def _nbd(options: Options) -> str:
    server = _inner(options, "server") or options
    name = _text(options, "export")
    if socket := _text(server, "path"):
        return f"nbd+unix:///{name}?socket={quote(socket)}"
    return f"nbd://{_place(server)}/{name}"


def _rbd(options: Options) -> str:
    name = "/".join(filter(None, (_text(options, key) for key in ("pool", "namespace", "image"))))
    places = _places(options)
    return f"rbd://{places}/{name}" if places else f"rbd:{name}"


def _iscsi(options: Options) -> str:
    return f"iscsi://{_text(options, 'portal')}/{_text(options, 'target')}/{_text(options, 'lun') or '0'}"


def _gluster(options: Options) -> str:
    return f"gluster://{_places(options)}/{_text(options, 'volume')}/{_text(options, 'path')}"


def _ssh(options: Options) -> str:
    return f"ssh://{_place(_inner(options, 'server') or options)}/{_text(options, 'path').lstrip('/')}"


def _url(options: Options) -> str:
    return _text(options, "url")


_ADDRESSES: Mapping[str, Callable[[Options], str]] = {
    "nbd": _nbd,
    "rbd": _rbd,
    "iscsi": _iscsi,
    "gluster": _gluster,
    "ssh": _ssh,
    **dict.fromkeys(("http", "https", "ftp", "ftps"), _url),
}


def _as_url(name: str) -> str:
    """Write QEMU's older addresses as URLs."""
    if match := _OLD_NBD_SOCKET.fullmatch(name):
        return f"nbd+unix:///{match['name'] or ''}?socket={quote(match['socket'])}"
    if match := _OLD_NBD.fullmatch(name):
        return f"nbd://{match['host']}:{match['port']}/{match['name'] or ''}"
    if match := _RBD.fullmatch(name):
        monitors = re.search(r":mon_host=((?:\\.|[^:\\])*)", match["options"])
        hosts = re.split(r"[;,]\s*", monitors[1].replace("\\", "")) if monitors else []
        image = re.sub(r"\\(.)", r"\1", match["name"])
        return f"rbd://{','.join(filter(None, hosts))}/{image}" if hosts else f"rbd:{image}"
    return name


# Two addresses of one image


#: The names of the computer itself.
_LOOPBACK = {"localhost", "localhost.localdomain", "localhost4", "localhost6", "ip6-localhost", "::1"}
_URL = re.compile(r"(?P<protocol>[a-z][a-z0-9+.-]*)://(?P<places>[^/]*)/*(?P<name>.*)", re.DOTALL)
#: Ports of monitors: one cluster answers on several, and libvirt leaves them out.
_WITHOUT_PORTS = {"rbd"}
_PORTS = {
    "nbd": "10809",
    "iscsi": "3260",
    "http": "80",
    "https": "443",
    "ftp": "21",
    "ftps": "990",
    "ssh": "22",
}


def address_keys(address: str) -> set[tuple[str, str, str]]:
    """Return what an address is known by, one key for each of its hosts; nothing for what is no address.

    Two addresses lead to one image where they share a key, whatever the order of their hosts.
    """
    match = _URL.fullmatch(_as_url(address))
    if match is None:
        return set()
    protocol, _, transport = match["protocol"].partition("+")
    name = match["name"]
    if transport == "unix":
        name, _, query = name.partition("?")
        socket = next((part for part in query.split("&") if part.startswith("socket=")), "")
        return {(protocol, f"unix:{unquote(socket.removeprefix('socket='))}", unquote(name))}
    if protocol == "nbd":
        name = name.partition("?")[0]
    if protocol == "iscsi" and "/" not in name:
        name = f"{name}/0"
    places = match["places"].rpartition("@")[2].split(",")
    return {(protocol, _known_place(place, protocol), unquote(name)) for place in places}


def _known_place(place: str, protocol: str) -> str:
    """Return a host and port in the one form that two of the same have."""
    host, colon, port = place.rpartition(":")
    if not colon or not port.isdecimal() or place.endswith("]"):
        host, port = place, _PORTS.get(protocol, "")
    host = host.strip("[]").lower()
    if host in _LOOPBACK or host.startswith("127."):
        host = "localhost"
    return host if protocol in _WITHOUT_PORTS else f"{host}:{port}"
