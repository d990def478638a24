"""The local door: a Unix socket."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError
from innkeeper.server.settings import Settings

_BACKLOG = 512


@contextlib.contextmanager
def local_door(settings: Settings) -> Iterator[socket.socket]:
    """Listen on the Unix socket with the settings' permissions; it is removed at the end."""
    path = settings.socket
    _refuse_taken(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        door = _bound(path)
    except OSError as error:
        raise InvalidArgument(
            f"The service cannot listen on {path}: {error.strerror}.",
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Name another socket, with --socket or INNKEEPER_SOCKET.",
        ) from error
    try:
        _admit(path, settings)
        door.listen(_BACKLOG)
        yield door
    finally:
        door.close()
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket:
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    former = os.umask(0o177)  # nobody else gets in between bind and chmod
    try:
        door.bind(str(path))
    except OSError:
        door.close()
        raise
    finally:
        os.umask(former)
    return door


def _admit(path: Path, settings: Settings) -> None:
    """Set the permissions of the socket; who connects is checked at every connection."""
    if settings.socket_group is not None:
        os.chown(path, -1, _group_id(settings.socket_group))
        path.chmod(0o660)
    if settings.socket_users:
        path.chmod(0o666)


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise InvalidArgument(
            f"There is no group “{name}”, which the setting “socket_group” names.",
            advice=f"Create it (groupadd {name}), or name another group.",
        ) from error


def _refuse_taken(path: Path) -> None:
    """Refuse a socket that another service answers on; one that a crash left behind is free."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        reason = probe.connect_ex(str(path))
    if reason in (0, errno.EAGAIN):
        raise ServiceError(
            f"Another service listens at {path} already.",
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Use that one, stop it, or name another socket with --socket.",
        )
