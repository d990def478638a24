"""Names of host pipes, and their Unix sockets."""

from __future__ import annotations

import dataclasses
import hashlib
from urllib.parse import quote

from innkeeper.errors import ErrorCode, InvalidArgument

PREFIX = "\\\\.\\pipe\\"
#: The longest name, prefix and all.
MAX_CHARS = 256
#: The longest path of a Unix socket on Linux.
MAX_SOCKET_PATH_BYTES = 107
_DIGEST_CHARS = 24


@dataclasses.dataclass(frozen=True, slots=True)
class PipeName:
    r"""The name of a named pipe, ``\\.\pipe\NAME``; two that differ in case alone are the same pipe."""

    #: As it was given, prefix and all.
    text: str

    @property
    def name(self) -> str:
        """The name after the prefix."""
        return self.text[len(PREFIX) :]

    @property
    def key(self) -> str:
        """The name without regard to case, for comparisons."""
        return self.name.casefold()

    def file_name(self, room: int) -> str:
        """Return the file name of the pipe's socket, of at most ``room`` bytes (at least 32).

        The name in small letters, with ``%`` escapes; a longer one is cut, and a digest keeps it apart.
        """
        escaped = quote(self.key, safe=" +,=@~").replace(" ", "%20")
        if escaped.startswith("."):
            escaped = "%2E" + escaped[1:]
        if len(escaped) <= room:
            return escaped
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:_DIGEST_CHARS]
        return f"{escaped[: room - _DIGEST_CHARS - 1]}~{digest}"


def parse_pipe_name(text: str) -> PipeName:
    r"""Parse ``\\.\pipe\NAME``. Raises ``InvalidArgument`` (E_INVALIDARG) by the documented rules."""
    if len(text) > MAX_CHARS:
        raise _unfit(f"has {len(text)} characters, and {MAX_CHARS} are allowed")
    if text[: len(PREFIX)].casefold() != PREFIX:
        raise _unfit(f"does not begin with {PREFIX}")
    name = text[len(PREFIX) :]
    if not name:
        raise _unfit("names nothing after its prefix")
    if "\\" in name:
        raise _unfit("has a backslash in its name")
    if not name.isprintable():
        raise _unfit("has characters that cannot be printed")
    return PipeName(PREFIX + name)


def _unfit(why: str) -> InvalidArgument:
    return InvalidArgument(
        f"The name of the pipe {why}.",
        code=ErrorCode.E_INVALIDARG,
        advice=f"Write for example {PREFIX}web-1-psql: any printable characters but a backslash.",
    )
