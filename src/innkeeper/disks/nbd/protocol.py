"""The server's side of the NBD protocol: bytes in, bytes out, no sockets.

Source: the NBD protocol document, https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
"""

from __future__ import annotations

import enum
import errno
import struct
from collections.abc import Sequence
from typing import NamedTuple

from innkeeper.errors import DiskError, ErrorCode

GREETING_MAGIC = b"NBDMAGIC"
OPTION_MAGIC = b"IHAVEOPT"
OPTION_REPLY_MAGIC = 0x0003_E889_0455_65A9
REQUEST_MAGIC = 0x2560_9513
SIMPLE_MAGIC = 0x6744_6698
CHUNK_MAGIC = 0x668E_33EF

#: The most that one request may read or write, as QEMU keeps to it.
LONGEST = 32 << 20
LONGEST_OPTION = 64 << 10
ALLOCATION = b"base:allocation"
#: The number we give to ``base:allocation``.
ALLOCATION_ID = 1

REQUEST = struct.Struct(">IHHQQI")
_OPTION = struct.Struct(">8sII")
_OPTION_REPLY = struct.Struct(">QIII")
_SIMPLE = struct.Struct(">IIQ")
_CHUNK = struct.Struct(">IHHQI")
_DATA_CHUNK = struct.Struct(">IHHQIQ")
_HOLE_CHUNK = struct.Struct(">IHHQIQI")


class Option(enum.IntEnum):
    """The options that a client may ask for before the work begins."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Answer(enum.IntEnum):
    """The answers of a server to an option."""

    ACK = 1
    SERVER = 2
    INFO = 3
    META_CONTEXT = 4
    UNSUPPORTED = 0x8000_0001
    INVALID = 0x8000_0003
    UNKNOWN = 0x8000_0006
    TOO_BIG = 0x8000_0009


class Command(enum.IntEnum):
    """The requests that a client may make of the disk."""

    READ = 0
    WRITE = 1
    DISCONNECT = 2
    FLUSH = 3
    TRIM = 4
    CACHE = 5
    WRITE_ZEROES = 6
    BLOCK_STATUS = 7


class Can(enum.IntFlag):
    """The abilities of an export."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    FLUSH = 4
    FUA = 8
    TRIM = 32
    WRITE_ZEROES = 64
    DONT_FRAGMENT = 128
    MULTI_CONNECTION = 256
    CACHE = 1024


READING = Can.HAS_FLAGS | Can.FLUSH | Can.DONT_FRAGMENT | Can.MULTI_CONNECTION | Can.CACHE
WRITING = READING | Can.FUA | Can.TRIM | Can.WRITE_ZEROES

FUA = 1
NO_HOLE = 2
DONT_FRAGMENT = 4
ONE_EXTENT = 8

_CHUNK_DONE = 1
_CHUNK_NONE = 0
_CHUNK_DATA = 1
_CHUNK_HOLE = 2
_CHUNK_STATUS = 5
_CHUNK_ERROR = 0x8001

#: How a stretch without data is told: nobody stores it, and it reads as zero.
HOLE_AND_ZERO = 3


class ProtocolError(Exception):
    """The client breaks the protocol; the connection is over."""


class Export(NamedTuple):
    """The size, name and abilities of an exported disk."""

    name: str
    size_bytes: int
    can: Can


class Request(NamedTuple):
    """One request for the disk; a write's data follows it."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int


class Handshake:
    """The negotiation before the work: fixed newstyle, with structured replies and one meta context."""

    greeting = GREETING_MAGIC + OPTION_MAGIC + struct.pack(">H", 3)

    def __init__(self, export: Export) -> None:
        self.export = export
        #: The client takes replies in chunks.
        self.structured = False
        #: The client wants to know where the holes are.
        self.wants_status = False
        #: The talk is over and the work begins.
        self.is_done = False
        #: The client has said good-bye.
        self.is_over = False
        #: Bytes that came after the last option.
        self.rest = b""
        self._flags: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the client and return the bytes to answer; raises ``ProtocolError``."""
        self.rest += data
        answers = []
        while not self.is_done and not self.is_over:
            answer = self._step()
            if answer is None:
                break
            answers.append(answer)
        return b"".join(answers)

    def _step(self) -> bytes | None:
        """Handle what is complete: the client's flags, or one option; ``None`` where more is needed."""
        if self._flags is None:
            if len(self.rest) < 4:
                return None
            self._flags = int.from_bytes(self.rest[:4], "big")
            if self._flags & ~3 or not self._flags & 1:
                raise ProtocolError("the client does not speak fixed newstyle")
            self.rest = self.rest[4:]
            return b""
        if len(self.rest) < _OPTION.size:
            return None
        magic, option, length = _OPTION.unpack_from(self.rest)
        if magic != OPTION_MAGIC or length > LONGEST_OPTION:
            raise ProtocolError("the client sent something that is not an option")
        if len(self.rest) < _OPTION.size + length:
            return None
        data = self.rest[_OPTION.size : _OPTION.size + length]
        self.rest = self.rest[_OPTION.size + length :]
        return self._answer(option, data)

    def _answer(self, option: int, data: bytes) -> bytes:
        handlers = {
            Option.EXPORT_NAME: self._export_name,
            Option.ABORT: self._abort,
            Option.LIST: self._list,
            Option.INFO: self._info,
            Option.GO: self._go,
            Option.STRUCTURED_REPLY: self._structured,
            Option.LIST_META_CONTEXT: self._meta_context,
            Option.SET_META_CONTEXT: self._meta_context,
        }
        handler = handlers.get(option)  # type: ignore[call-overload]  # a number no member has is no option of ours
        if handler is None:
            return _reply(option, Answer.UNSUPPORTED)
        return bytes(handler(option, data))

    def _export_name(self, option: int, data: bytes) -> bytes:
        if data.decode("utf-8", "replace") not in {"", self.export.name}:
            raise ProtocolError("the client wants an export there is not")
        self.is_done = True
        padding = b"" if (self._flags or 0) & 2 else bytes(124)
        return struct.pack(">QH", self.export.size_bytes, self.export.can) + padding

    def _abort(self, option: int, data: bytes) -> bytes:
        self.is_over = True
        return _reply(option, Answer.ACK)

    def _list(self, option: int, data: bytes) -> bytes:
        if data:
            return _reply(option, Answer.INVALID)
        name = self.export.name.encode()
        return _reply(option, Answer.SERVER, struct.pack(">I", len(name)) + name) + _reply(option, Answer.ACK)

    def _info(self, option: int, data: bytes) -> bytes:
        if len(data) < 6:
            return _reply(option, Answer.INVALID)
        length = int.from_bytes(data[:4], "big")
        if len(data) < 4 + length + 2:
            return _reply(option, Answer.INVALID)
        if data[4 : 4 + length].decode("utf-8", "replace") not in {"", self.export.name}:
            return _reply(option, Answer.UNKNOWN)
        export = struct.pack(">HQH", 0, self.export.size_bytes, self.export.can)
        blocks = struct.pack(">HIII", 3, 1, 4096, LONGEST)
        return b"".join(
            (
                _reply(option, Answer.INFO, export),
                _reply(option, Answer.INFO, blocks),
                _reply(option, Answer.ACK),
            )
        )

    def _go(self, option: int, data: bytes) -> bytes:
        answer = self._info(option, data)
        # Only the good answer ends with ACK; on a bad one the talk goes on.
        self.is_done = answer.endswith(_reply(option, Answer.ACK))
        return answer

    def _structured(self, option: int, data: bytes) -> bytes:
        if data:
            return _reply(option, Answer.INVALID)
        self.structured = True
        return _reply(option, Answer.ACK)

    def _meta_context(self, option: int, data: bytes) -> bytes:
        if not self.structured:
            return _reply(option, Answer.INVALID)
        try:
            name, queries = _queries(data)
        except (struct.error, ValueError):
            return _reply(option, Answer.INVALID)
        if name not in {b"", self.export.name.encode()}:
            return _reply(option, Answer.UNKNOWN)
        listing = option == Option.LIST_META_CONTEXT
        wanted = ALLOCATION in queries or (listing and (not queries or b"base:" in queries))
        if not listing:
            self.wants_status = wanted
        found = struct.pack(">I", 0 if listing else ALLOCATION_ID) + ALLOCATION
        return (_reply(option, Answer.META_CONTEXT, found) if wanted else b"") + _reply(option, Answer.ACK)


def _reply(option: int, answer: Answer, data: bytes = b"") -> bytes:
    return _OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, answer, len(data)) + data


def _queries(data: bytes) -> tuple[bytes, list[bytes]]:
    """Parse the data of a meta context option: the export's name and the queries."""

    def text(at: int) -> tuple[bytes, int]:
        (length,) = struct.unpack_from(">I", data, at)
        if at + 4 + length > len(data):
            raise ValueError("a string runs past the option")
        return data[at + 4 : at + 4 + length], at + 4 + length

    name, at = text(0)
    (count,) = struct.unpack_from(">I", data, at)
    at, queries = at + 4, []
    for _ in range(count):
        query, at = text(at)
        queries.append(query)
    return name, queries


def parse_request(data: bytes) -> Request:
    """Parse the 28 bytes of a request; raises ``ProtocolError``."""
    magic, flags, command, cookie, offset, length = REQUEST.unpack(data)
    if magic != REQUEST_MAGIC:
        raise ProtocolError("the client sent something that is not a request")
    return Request(flags, command, cookie, offset, length)


def simple_reply(cookie: int, error: int = 0) -> bytes:
    """Encode that a request is done, or the error it met; read data follows."""
    return _SIMPLE.pack(SIMPLE_MAGIC, error, cookie)


def done_chunk(cookie: int) -> bytes:
    """Encode the end of a reply in chunks."""
    return _CHUNK.pack(CHUNK_MAGIC, _CHUNK_DONE, _CHUNK_NONE, cookie, 0)


def data_chunk(cookie: int, offset: int, length: int, *, last: bool) -> bytes:
    """Encode the head of a stretch of data, which follows."""
    return _DATA_CHUNK.pack(CHUNK_MAGIC, last, _CHUNK_DATA, cookie, length + 8, offset)


def hole_chunk(cookie: int, offset: int, length: int, *, last: bool) -> bytes:
    """Encode a stretch that reads as zero."""
    return _HOLE_CHUNK.pack(CHUNK_MAGIC, last, _CHUNK_HOLE, cookie, 12, offset, length)


def error_chunk(cookie: int, error: int) -> bytes:
    """Encode an error that ends a reply in chunks."""
    return _CHUNK.pack(CHUNK_MAGIC, _CHUNK_DONE, _CHUNK_ERROR, cookie, 6) + struct.pack(">IH", error, 0)


def status_chunk(cookie: int, extents: Sequence[tuple[int, bool]]) -> bytes:
    """Encode stretches of data and holes, as (length, is data), and the end of the reply."""
    body = b"".join(struct.pack(">II", length, 0 if data else HOLE_AND_ZERO) for length, data in extents)
    head = _CHUNK.pack(CHUNK_MAGIC, _CHUNK_DONE, _CHUNK_STATUS, cookie, 4 + len(body))
    return head + struct.pack(">I", ALLOCATION_ID) + body


def refusal(request: Request, export: Export) -> int:
    """Return the error of a request that must not be carried out; 0 where there is none."""
    if request.command in {Command.FLUSH, Command.DISCONNECT}:
        return 0
    changes = request.command in {Command.WRITE, Command.TRIM, Command.WRITE_ZEROES}
    if changes and Can.READ_ONLY in export.can:
        return errno.EPERM
    if request.offset + request.length > export.size_bytes:
        return errno.ENOSPC if changes else errno.EINVAL
    if request.command == Command.READ and request.length > LONGEST:
        return errno.EOVERFLOW
    return 0 if request.command in set(Command) else errno.EINVAL


def error_number(error: DiskError) -> int:
    """Return the protocol's number for an error of the disk."""
    return {ErrorCode.ERROR_DISK_FULL: errno.ENOSPC, ErrorCode.VM_E_FILE_READ_ONLY: errno.EPERM}.get(
        error.code, errno.EIO
    )
