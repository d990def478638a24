"""What takes bytes from outside, a function each: it reads them or refuses them, and does nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import inspect
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers

from innkeeper import disks
from innkeeper.channels import guest_statements, health_statements, statements
from innkeeper.channels.statements import Unbelievable
from innkeeper.disks import footer, header
from innkeeper.disks.create import create_dynamic
from innkeeper.errors import InnkeeperError, InvalidArgument
from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.schedule.events.record import Facts, Level, record
from innkeeper.schedule.events.xpath import XPath
from innkeeper.schedule.events.xpath_parser import XPathError
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.security import sddl
from innkeeper.server.http.checked_text import check_json
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.forwarded import Forwarded
from innkeeper.server.http.problems import malformed, response_of
from innkeeper.server.http.proxies import proxies_of
from innkeeper.wire import (
    bulk,
    channels,
    commands,
    configuration,
    guest_os,
    host,
    identity,
    keyboard,
    messages,
    schedule,
)
from innkeeper.wire import (
    disks as disk_wire,
)
from innkeeper.wire.frames import Decoded, Decoder
from innkeeper.wire.session import NONCE_BYTES, HostSession

_HERE = Path(__file__).parent
_NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)

Work = Callable[[bytes], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One door for bytes."""

    name: str
    #: Raises where the bytes did what they must not.
    work: Work
    #: What is changed to find more; the kept corpus comes to it.
    seeds: Sequence[bytes]

    @property
    def corpus(self) -> Path:
        """Where the inputs lie that once found something."""
        return _HERE / "corpus" / self.name

    def all_seeds(self) -> list[bytes]:
        """The seeds and the kept corpus."""
        kept = sorted(self.corpus.iterdir()) if self.corpus.is_dir() else []
        return [*self.seeds, *(file.read_bytes() for file in kept)]


def _frames(data: bytes) -> None:
    """Cut anywhere, the same frames; and a session takes them, before and after its begin."""
    assert _decoded(data, len(data) or 1) == _decoded(data, 7)
    for begun in (False, True):
        session = HostSession()
        nonce = bytes(NONCE_BYTES)
        session.begin(nonce, {"protocol": 1})
        if begun:
            session.is_begun = True
        session.receive(data)


def _decoded(data: bytes, size: int) -> list[Decoded]:
    decoder = Decoder()
    pieces = (decoder.feed(data[at : at + size]) for at in range(0, len(data), size))
    return [decoded for piece in pieces for decoded in piece]


_READERS: tuple[Callable[[dict[str, object]], object], ...] = (
    statements.read_hello,
    statements.read_task,
    statements.read_preparation,
    statements.read_notice,
    statements.read_told,
    statements.read_may_reach,
    guest_statements.read_facts,
    guest_statements.read_sessions,
    guest_statements.read_updates,
    guest_statements.read_count,
    guest_statements.read_parameters,
    health_statements.read_health,
    health_statements.read_effect,
    lambda message: health_statements.read_evidence(message, ["shop.service"]),
)


def _guest(data: bytes) -> None:
    """Whatever a guest says in JSON is read, or is not believed."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(data)
        if isinstance(message, dict):
            for read in _READERS:
                _read_statement(read, message)


def _read_statement(read: Callable[[dict[str, object]], object], message: dict[str, object]) -> None:
    try:
        read(message)
    except Unbelievable:
        pass
    except ValueError as error:  # of which Unbelievable is one: no other may pass for it
        raise AssertionError(f"{read}: {error!r}") from error


_MODULES = (
    bulk,
    channels,
    commands,
    configuration,
    disk_wire,
    guest_os,
    host,
    identity,
    keyboard,
    messages,
    schedule,
)


@functools.cache
def _bodies() -> tuple[type[BaseModel], ...]:
    found = [
        each
        for module in _MODULES
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseModel) and each.__name__.endswith("Request")
    ]
    return tuple(dict.fromkeys(found))


def _body(data: bytes) -> None:
    """Every body that a route takes is valid, and can be written again, or is refused with a problem."""
    try:
        value = json.loads(data)  # as routes read it
    except (ValueError, RecursionError):
        return
    try:
        check_json(data)
    except InvalidArgument as refused:
        response_of(refused)
        return
    for body in _bodies():
        _read_body(body, value)


def _read_body(body: type[BaseModel], value: object) -> None:
    try:
        read = body.model_validate(value)
    except ValidationError as error:
        malformed(RequestValidationError(error.errors()))
    except InnkeeperError as error:
        response_of(error)
    else:
        read.model_dump_json(context=identity.REVEALED).encode()


def _head(data: bytes) -> None:
    """Whatever a proxy, or somebody who says to be one, writes of the caller."""
    proxies, crowd = proxies_of(["127.0.0.0/8"]), Crowd(most=1, most_from_one=1)
    for name in (b"forwarded", b"x-forwarded-for", b"x-forwarded-proto"):
        header = "Forwarded" if name == b"forwarded" else "X-Forwarded-For"
        scope = {"type": "http", "scheme": "http", "client": ("127.0.0.1", 1), "headers": [(name, data)]}
        assert Headers(scope=scope) is not None
        with contextlib.suppress(InvalidArgument):
            Forwarded(_nothing, proxies, crowd, header)._caller(scope)


async def _nothing(*_: object) -> None:
    """No application."""


def _task_xml(data: bytes) -> None:
    """A task's definition is read and can be written, or is refused."""
    with contextlib.suppress(InnkeeperError):
        TaskDefinition.from_xml(data).to_xml()


_EVENT = record(
    Facts(
        id="7",
        at=_NOON,
        provider="sshd",
        event_id=4624,
        level=Level.ERROR,
        channel="Security",
        computer="host-1",
        data={"TargetUserName": "ana", "LogonType": "10"},
    )
).tree


def _xpath(data: bytes) -> None:
    """A query selects, or is none."""
    with contextlib.suppress(XPathError):
        XPath(data.decode("utf-8", "surrogateescape")).matches(_EVENT, _NOON)


def _sddl(data: bytes) -> None:
    """What was read is written so that it reads the same."""
    with contextlib.suppress(InnkeeperError):
        found = sddl.parse(data.decode("utf-8", "surrogateescape"))
        assert sddl.parse(found.text()).text() == found.text()


def _libvirt_xml(data: bytes) -> None:
    """A machine's definition is read, or is refused."""
    with contextlib.suppress(InnkeeperError):
        configuration_of(data.decode("utf-8", "surrogateescape"))


def _vhd(data: bytes) -> None:
    """An image that somebody wrote is opened and read, or is refused; its checksums may be right."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, image in enumerate((data, _sealed(data))):
            path = Path(folder) / f"{number}.vhd"
            path.write_bytes(image)
            with contextlib.suppress(InnkeeperError), disks.open(path) as disk:
                disk.read_into(bytearray(1 << 16), 0)


def _sealed(data: bytes) -> bytes:
    """Return it with the checksums that its author would have written."""
    sealed = bytearray(data)
    places = ((0, footer), (512, header), (len(data) - 512, footer))
    for begin, part in places:
        size = part.HEADER_BYTES if part is header else 512
        if 0 <= begin <= len(data) - size:
            whole = bytes(sealed[begin : begin + size])
            right = footer.checksum(whole, part.CHECKSUM_AT).to_bytes(4, "big")
            sealed[begin + part.CHECKSUM_AT : begin + part.CHECKSUM_AT + 4] = right
    return bytes(sealed)


def _vhd_seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "seed.vhd"
        create_dynamic(path, 3 << 20)
        return [path.read_bytes()]


def _files(*names: str) -> list[bytes]:
    return [(_HERE.parent / name).read_bytes() for name in names]


_GUEST_SEEDS = (
    b'{"protocol":1,"agent_version":"1","boot_id":"b","plugin_name":"apt","os_name":"x","tasks":[]}',
    b'{"tell":"delete_schedule","identifier":"u","boot_id":"b","seq":1}',
    b'{"identifier":"u","status":3,"percent":5,"text":"","packages":[["a","1","2"]]}',
    b'{"health":{"boot_id":"b","uptime":1.5,"units":[],"listeners":[],"mounts":[],"reboot_required":false}}',
    b'{"sessions":[{"user":"ana","since":1}],"count":1,"parameters":{"a":{"value":"b","revision":1}}}',
)
_BODY_SEEDS = (
    b'{"name":"web-1","machines":["all"],"opens_at":"22:00","duration_seconds":3600,"weekdays":["monday"]}',
    b'{"user":"ana","domain":"local","password":"x"}',
    b'{"select":"*","add":["web","\\ud83d\\ude00"],"remove":[]}',
    b'{"name":"ci","scope":[{"role":"viewer","reach":"machine","name":"web-1"}],"days":1}',
)
_SDDL_SEEDS = (
    b"O:BAG:SYD:PAI(D;;FX;;;BG)(A;OICI;FRFX;;;AU)(A;;0x1200a9;;;S-1-22-1-1000)",
    b"O:BAG:BAD:AI(A;;GA;;;BA)S:(AU;SAFA;FA;;;WD)",
)
_XPATH_SEEDS = (
    b"*[System[(EventID=1 or EventID=4624) and Level <= 2]]",
    b"*[EventData[Data[@Name='TargetUserName'] and (Data='ana')]]",
    b"*[System[TimeCreated[timediff(@SystemTime) <= 60000]]]",
    b"*[EventData[Data[position()=1]='ana']]",
)


def targets() -> Mapping[str, Target]:
    """All targets, by name."""
    frames = (bytes.fromhex("0000000003") + bytes(7), b"\xff" * 80, bytes(12))
    made = (
        Target(name="frames", work=_frames, seeds=frames),
        Target(name="guest", work=_guest, seeds=_GUEST_SEEDS),
        Target(name="body", work=_body, seeds=_BODY_SEEDS),
        Target(
            name="head", work=_head, seeds=(b'for=192.0.2.1;proto=https, for="[2001:db8::1]:4711"', b"::1")
        ),
        Target(name="task-xml", work=_task_xml, seeds=_files("schedule/xml/nightly.xml")),
        Target(name="xpath", work=_xpath, seeds=_XPATH_SEEDS),
        Target(name="sddl", work=_sddl, seeds=_SDDL_SEEDS),
        Target(name="vhd", work=_vhd, seeds=_vhd_seeds()),
        Target(
            name="libvirt-xml",
            work=_libvirt_xml,
            seeds=_files("hypervisor/definitions/plain.xml", "hypervisor/definitions/rich.xml"),
        ),
    )
    return {target.name: target for target in made}
