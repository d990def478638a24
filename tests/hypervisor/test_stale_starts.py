"""What a kill leaves half begun in an embedded driver is cleared away, and nothing else."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.hypervisor.libvirt.stale_starts import clear_stale_starts

_HOLD = """
import fcntl, sys, time
lock = open(sys.argv[1], "r+")
fcntl.lockf(lock, fcntl.LOCK_EX)
print(flush=True)
time.sleep(600)
"""


_TRY = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(1)
"""


class Root:
    """The files of an embedded driver, and processes that could be its QEMUs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "run" / "qemu"
        self.run.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def machine(self, name: str, *, pid: str, words: str) -> subprocess.Popen[bytes]:
        """A machine's status and process; ``pid`` as the status has it."""
        status = f"<!-- made by libvirt -->\n<domstatus state='paused' reason='starting up' pid='{pid}'>\n"
        (self.run / f"{name}.xml").write_text(status)
        return self.process(self.run / f"{name}.pid", words)

    def process(self, pid_file: Path, words: str) -> subprocess.Popen[bytes]:
        """A process with these words in its command line."""
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", words])
        self.processes.append(process)
        # For a moment after exec the kernel knows no command line yet.
        while words.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        pid_file.parent.mkdir(parents=True, exist_ok=True)
        pid_file.write_text(f"{process.pid}\n")
        return process


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    """An embedded driver that nobody uses."""
    root = Root(tmp_path)
    yield root
    for process in root.processes:
        process.kill()
        process.wait()


def test_a_start_without_a_process_is_forgotten_and_its_qemu_ended(root: Root) -> None:
    """Whether QEMU was there already or not."""
    process = root.machine("half", pid="0", words="guest=half,debug-threads=on")
    clear_stale_starts(root.path)
    assert process.wait(10) == -9
    assert not (root.run / "half.xml").exists()


def test_a_machine_that_runs_is_left_alone(root: Root) -> None:
    """And so is a process that only has the number that QEMU once had."""
    runs = root.machine("runs", pid="77", words="guest=runs,debug-threads=on")
    other = root.machine("half", pid="0", words="something else")
    clear_stale_starts(root.path)
    assert (runs.poll(), other.poll()) == (None, None)
    assert (root.run / "runs.xml").exists()


def test_a_question_to_qemu_that_nobody_reads_is_ended(root: Root) -> None:
    """With its directory."""
    question = root.path / "lib" / "qemu" / "qmp-ABC123"
    process = root.process(question / "qmp.pid", f"unix:{question}/qmp.monitor")
    clear_stale_starts(root.path)
    assert process.wait(10) == -9
    assert not question.exists()


def test_a_number_of_before_that_is_ours_now_is_no_use_of_the_driver(root: Root) -> None:
    """In a container each start of the service has the same number."""
    root.machine("half", pid="0", words="guest=half,debug-threads=on")
    (root.run / "driver.pid").write_text(f"{os.getpid()}\n")
    clear_stale_starts(root.path)
    assert not (root.run / "half.xml").exists()


def test_a_driver_of_this_process_is_not_touched_and_keeps_its_lock(root: Root) -> None:
    """A file that is opened and closed by the way would give the lock up."""
    root.machine("half", pid="0", words="guest=half,debug-threads=on")
    lock = root.run / "driver.pid"
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        clear_stale_starts(root.path)
        held = subprocess.run([sys.executable, "-c", _TRY, str(lock)], check=False)
    assert held.returncode == 1
    assert (root.run / "half.xml").exists()


def test_a_driver_in_use_is_not_touched(root: Root) -> None:
    """By another process, which may be about to write the number."""
    process = root.machine("half", pid="0", words="guest=half,debug-threads=on")
    lock = root.run / "driver.pid"
    lock.write_text("1\n")
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(lock)], stdout=subprocess.PIPE)
    root.processes.append(holder)
    assert holder.stdout is not None
    with holder.stdout:
        holder.stdout.readline()
    clear_stale_starts(root.path)
    assert process.poll() is None
    assert (root.run / "half.xml").exists()
