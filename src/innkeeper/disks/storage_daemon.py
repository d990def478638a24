"""Talk to a ``qemu-storage-daemon``: QEMU's work on images, without a machine.

It is told everything over its own standard input, in QMP: no path, no address and no passphrase is on a
command line, and no socket is left behind. Every image is opened by nodes that are described to the end, so
that nothing is probed, and nothing opened that an image names.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from innkeeper.disks import qemu_program
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.progress import UNWATCHED, Cancelled, Watch
from innkeeper.disks.qemu_program import Limits
from innkeeper.errors import DiskError, JsonError
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import JsonObject, as_list, as_object, as_str, get_object, get_str

_ARGUMENTS = ("--chardev", "stdio,id=commands", "--monitor", "chardev=commands")


class StorageDaemon:
    """One daemon, from its start to its end."""

    def __init__(
        self, process: subprocess.Popen[bytes], path: Path, limits: Limits, watch: Watch = UNWATCHED
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._path, self._limits, self._watch = path, limits, watch
        self._input = process.stdin.fileno()
        self._output, self._errors = process.stdout.fileno(), process.stderr.fileno()
        self._heard = {self._output: b"", self._errors: b""}
        self._open = set(self._heard)
        self._until = time.monotonic() + limits.seconds

    @classmethod
    @contextlib.contextmanager
    def started(
        cls,
        path: Path,
        limits: Limits,
        *,
        reach: Reach,
        files: Sequence[int] = (),
        watch: Watch = UNWATCHED,
    ) -> Iterator[Self]:
        """Run a daemon for the block: at its end it has closed every image and ended.

        ``path`` is the image for the sentences of errors, ``reach`` what the daemon may open; ``files`` are
        descriptors that it keeps open for as long as it lives. Whatever is wrong is a ``DiskError``, and ends
        the daemon.
        """
        with qemu_program.started(
            qemu_program.DAEMON, _ARGUMENTS, limits, reach=reach, files=files, stdin=subprocess.PIPE
        ) as process:
            daemon = cls(process, path, limits, watch)
            daemon._next()
            daemon.execute("qmp_capabilities")
            yield daemon
            daemon._quit()

    def execute(self, command: str, arguments: Mapping[str, Json] | None = None) -> Json:
        """Carry out a command; returns what it returns. Raises ``DiskError`` with QEMU's words."""
        self._say({"execute": command, "arguments": dict(arguments or {})})
        while True:
            reply = self._next()
            if "error" in reply:
                raise self.error(get_str(get_object(reply, "error"), "desc"))
            if "return" in reply:
                return reply["return"]

    def error(self, words: str) -> DiskError:
        """The error for what QEMU says is wrong."""
        return DiskError(
            f"{self._path}: {words.rstrip('.')}.", path=str(self._path), code=qemu_program.code_of(words)
        )

    def add_secret(self, name: str, secret: bytes) -> None:
        """Make a secret known by a name."""
        data = base64.b64encode(secret).decode()
        self.execute("object-add", {"qom-type": "secret", "id": name, "data": data, "format": "base64"})

    def jobs(self) -> Sequence[JsonObject]:
        """Every job, with its ``status``, ``current-progress``, ``total-progress`` and ``error``."""
        return as_list(self.execute("query-jobs"), as_object)

    def nodes(self) -> Mapping[str, JsonObject]:
        """What QEMU knows of each node, by the node's name."""
        found = as_list(self.execute("query-named-block-nodes", {"flat": True}), as_object)
        return {as_str(node["node-name"]): node for node in found}

    def wait_for_event(self, seconds: float) -> None:
        """Return when the daemon has told something, or after so long."""
        end = time.monotonic() + seconds
        while not self._has_message and (left := end - time.monotonic()) > 0:
            self._listen(left)
        if self._has_message:
            self._next()

    # Machinery

    @property
    def _has_message(self) -> bool:
        return b"\n" in self._heard[self._output]

    def _quit(self) -> None:
        self.execute("quit")
        with contextlib.suppress(_Ended):
            while True:
                self._next()
        # What it says of closing the images: a bitmap that could not be stored, a write that failed.
        if self._process.wait() or any(b"warning:" not in line for line in self._complaints()):
            raise self._ended()

    def _say(self, message: Mapping[str, Json]) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._input, data) :]
        except BrokenPipeError:
            raise self._ended() from None

    def _next(self) -> JsonObject:
        """The next message, waited for."""
        while not self._has_message:
            self._listen(qemu_program.LOOK_SECONDS)
        line, _, self._heard[self._output] = self._heard[self._output].partition(b"\n")
        try:
            return as_object(json.loads(line))
        except (ValueError, JsonError) as error:
            raise DiskError(
                f"{self._path}: {qemu_program.DAEMON} printed something unexpected.", path=str(self._path)
            ) from error

    def _listen(self, seconds: float) -> None:
        """Take in what is there, or comes so soon; raises where the work is to end."""
        if self._watch.cancel_requested():
            raise Cancelled("The operation was cancelled.", path=str(self._path))
        if time.monotonic() > self._until:
            raise qemu_program.too_long(self._path, self._limits)
        for stream in select.select(list(self._open), [], [], seconds)[0]:
            data = os.read(stream, 65536)
            if not data:
                self._open.discard(stream)
            self._heard[stream] += data
            if len(self._heard[stream]) > qemu_program.MOST_OUTPUT:
                raise DiskError(f"{self._path}: {qemu_program.DAEMON} says too much.", path=str(self._path))
        if self._output not in self._open and not self._has_message:
            raise self._ended()

    def _complaints(self) -> Sequence[bytes]:
        """The lines of its standard error, once it has ended."""
        while self._errors in self._open:
            data = os.read(self._errors, 65536)
            self._heard[self._errors] += data
            if not data:
                self._open.discard(self._errors)
        return self._heard[self._errors].strip().splitlines()

    def _ended(self) -> _Ended:
        status, errors = self._process.wait(), b"\n".join(self._complaints())
        if status == -signal.SIGKILL:
            return _Ended(
                f"{self._path}: {qemu_program.DAEMON} was killed, or took more processor time than it may.",
                path=str(self._path),
            )
        error = qemu_program.failed(qemu_program.DAEMON, self._path, status, errors)
        return _Ended(error.sentence, path=error.path, code=error.code, advice=error.advice)


class _Ended(DiskError):
    """The daemon has ended."""
