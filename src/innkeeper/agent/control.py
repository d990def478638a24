"""The agent's control socket for programs in the guest: one line of JSON each way."""

import base64
import json
import os
import socket
from typing import TYPE_CHECKING, Callable, Dict, Optional, cast

from innkeeper.agent.booking import MAX_CONTEXT_BYTES, booking, deletion
from innkeeper.agent.loop import Loop
from innkeeper.agent.parameters import Parameters
from innkeeper.agent.plugin import PluginError
from innkeeper.wire.session import Message

if TYPE_CHECKING:
    from innkeeper.agent.service import Agent

_MAX_LINE_BYTES = 2 * MAX_CONTEXT_BYTES
_MAX_CLIENTS = 32
#: How many bookings may wait for the host at once.
MAX_WAITING_BOOKINGS = 64


class Control:
    """The socket; only root may open it."""

    def __init__(self, loop: Loop, path: str, agent: "Agent") -> None:
        self._loop = loop
        self._path = path
        self._agent = agent
        self._clients: Dict[int, "_Client"] = {}
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        if os.path.exists(path):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX)
        old_mask = os.umask(0o177)
        try:
            self._listener.bind(path)
        finally:
            os.umask(old_mask)
        self._listener.listen(8)
        self._listener.setblocking(False)
        loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Close the socket and whoever speaks over it."""
        for client in list(self._clients.values()):
            client.close()
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()
        try:
            os.unlink(self._path)
        except OSError:
            pass  # At the guest's shutdown the file system may be read-only already.

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        if len(self._clients) >= _MAX_CLIENTS:
            connection.close()
            return
        fd = connection.fileno()
        self._clients[fd] = _Client(self._loop, connection, self._answer, lambda: self._clients.pop(fd, None))

    def _answer(self, request: Message, reply: Callable[[Message], None]) -> None:
        try:
            if request.get("do") == "book":
                self._agent.book(_booking(request), reply)
            elif request.get("do") == "unbook":
                self._agent.book(deletion(str(request["identifier"])), reply)
            elif request.get("do") in ("get_parameter", "set_parameter", "parameters"):
                reply(_parameters(self._agent.parameters, request))
            elif request.get("do") == "status":
                reply(self._agent.status())
            else:
                reply({"error": "The agent does not know this request."})
        except PluginError as exc:
            reply({"error": str(exc)})
        except (KeyError, ValueError, TypeError) as exc:
            reply({"error": f"The request cannot be read: {exc!r}"})


class _Client:
    """One program that asks one thing."""

    def __init__(
        self,
        loop: Loop,
        connection: socket.socket,
        on_request: Callable[[Message, Callable[[Message], None]], None],
        on_close: Callable[[], object],
    ) -> None:
        self._loop = loop
        self._connection: Optional[socket.socket] = connection
        self._on_request = on_request
        self._on_close = on_close
        self._line = b""
        connection.setblocking(False)
        loop.watch(connection.fileno(), self._read)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._loop.unwatch(self._connection.fileno())
            self._on_close()
            self._connection.close()
            self._connection = None

    def _read(self) -> None:
        assert self._connection is not None
        try:
            data = self._connection.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._line += data
        if not data or len(self._line) > _MAX_LINE_BYTES:
            self.close()
        elif self._line.endswith(b"\n"):
            line, self._line = self._line, b""
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            request = json.loads(line.decode())
        except ValueError:
            request = None
        if isinstance(request, dict):
            self._on_request(request, self._reply)
        else:
            self.close()

    def _reply(self, message: Message) -> None:
        if self._connection is not None:
            try:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                pass  # It has gone; the booking stands all the same.
            self.close()


def _parameters(parameters: Parameters, request: Message) -> Message:
    """What a program of this guest asks of the named values."""
    if request["do"] == "get_parameter":
        return {"value": parameters.get(str(request["name"]))}
    if request["do"] == "set_parameter":
        value = request["value"]
        parameters.set_by_guest(str(request["name"]), None if value is None else str(value))
        return {}
    return {"parameters": parameters.values()}


def _booking(request: Message) -> Message:
    start, end, deadline = (int(cast(int, request.get(name) or 0)) for name in ("start", "end", "deadline"))
    context = base64.b64decode(str(request.get("context") or ""))
    label, identifier = str(request.get("label") or ""), str(request["identifier"])
    return booking(start, end, deadline, label, identifier, context)


def ask_agent(path: str, request: Message, timeout: float) -> Optional[Message]:
    """Ask the running agent (from another process); ``None`` when it has no answer in time.

    Raises ``OSError`` where no agent listens.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(path)
        connection.sendall(json.dumps(request).encode() + b"\n")
        line = b""
        try:
            while not line.endswith(b"\n"):
                data = connection.recv(64 * 1024)
                if not data:
                    return None
                line += data
        except socket.timeout:
            return None
    return cast(Message, json.loads(line.decode()))
