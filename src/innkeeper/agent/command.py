"""Run the programs of the guest's operating system, and listen to them while they run."""

import os
import selectors
import signal
import subprocess
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional

#: No questions, no translations: what is parsed is the untranslated text.
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C",
    "LANG": "C",
}

_DIRECTORIES = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_KEPT_OUTPUT_BYTES = 4 * 1024 * 1024

OnLine = Callable[[str], None]


class Answer(NamedTuple):
    """How a program ended, and what it printed, both streams together."""

    code: int
    output: str


class Stopped(Exception):
    """The program was stopped because the host asked for it."""


def environment() -> Dict[str, str]:
    """Return the environment for the guest's programs."""
    merged = dict(os.environ)
    # An early unit has no search path, and dpkg refuses one without the administrator's directories.
    merged["PATH"] = os.pathsep.join([merged.get("PATH", ""), _DIRECTORIES]).lstrip(os.pathsep)
    merged.update(ENVIRONMENT)
    return merged


def ask(argv: List[str], timeout: float = 60.0, extra: Optional[Mapping[str, str]] = None) -> Answer:
    """Run a program and return its answer; 127 where there is none, 124 where it took too long."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment(), **(extra or {})),
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        return Answer(124, "it did not end in time")
    except OSError as exc:
        return Answer(127, str(exc))
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"))


def begin(argv: List[str]) -> bool:
    """Start a program that goes on by itself, also when the agent ends; whether it could be started."""
    try:
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
    except OSError:
        return False
    return True


class Conversation:
    """A program that runs, its output by lines, and a channel for its status where it has one."""

    def __init__(self, on_output: OnLine, must_stop: Callable[[], bool]) -> None:
        self._on_output = on_output
        self._must_stop = must_stop
        self._kept: List[str] = []
        self._kept_bytes = 0

    def run(
        self, argv: List[str], on_status: Optional[OnLine] = None, extra: Optional[Mapping[str, str]] = None
    ) -> Answer:
        """Run to the end; ``{status_fd}`` in an argument becomes the number of the status channel.

        Raises ``Stopped`` when ``must_stop`` said so before the end.
        """
        status_read, status_write = os.pipe()
        try:
            process = subprocess.Popen(
                [word.replace("{status_fd}", str(status_write)) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(status_write,),
                env=dict(environment(), **(extra or {})),
                start_new_session=True,
            )
        except OSError as exc:
            os.close(status_read)
            return Answer(127, str(exc))
        finally:
            os.close(status_write)
        return self._follow(process, status_read, on_status or (lambda line: None))

    def _follow(self, process: "subprocess.Popen[bytes]", status_read: int, on_status: OnLine) -> Answer:
        assert process.stdout is not None
        output = process.stdout.fileno()
        readers = {output: _Lines(self._take_output), status_read: _Lines(on_status)}
        stopped = False
        with process, selectors.DefaultSelector() as selector:
            for fd in readers:
                selector.register(fd, selectors.EVENT_READ)
            # A daemon the program leaves behind may keep the pipes open: the program's end is enough.
            while selector.get_map() and (process.poll() is None or selector.select(0)):
                for key, _ in selector.select(0.5):
                    if not readers[key.fd].read(key.fd):
                        selector.unregister(key.fd)
                if not stopped and self._must_stop():
                    stopped = True
                    os.killpg(process.pid, signal.SIGTERM)
            code = process.wait()
        os.close(status_read)
        if stopped and code != 0:
            raise Stopped
        return Answer(code, "\n".join(self._kept))

    def _take_output(self, line: str) -> None:
        self._kept_bytes += len(line)
        if self._kept_bytes <= _KEPT_OUTPUT_BYTES:
            self._kept.append(line)
        self._on_output(line)


class _Lines:
    """Cuts what a program writes into lines."""

    def __init__(self, on_line: OnLine) -> None:
        self._on_line = on_line
        self._rest = b""

    def read(self, fd: int) -> bool:
        """Read once; ``False`` at the end."""
        data = os.read(fd, 64 * 1024)
        if not data:
            if self._rest:
                self._on_line(self._rest.decode("utf-8", "replace"))
            return False
        # Progress bars end their lines with a carriage return.
        lines = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop()[-64 * 1024 :]
        for line in lines:
            if line.strip():
                self._on_line(line.decode("utf-8", "replace"))
        return True
