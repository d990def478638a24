"""A console's log is read where it is a plain file, and asks nobody to wait where it is not."""

from __future__ import annotations

import os
from pathlib import Path

from innkeeper.hypervisor.libvirt.console_logs import read_end, size_of


def test_a_log_that_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    """A collector's pipe, whose other end nobody may have open, held up all other questions to the host."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", Path("/dev/zero")):
        assert (size_of(str(path)), read_end(str(path), 0)) == (None, "")
    (tmp_path / "log").write_bytes(b"panic\xff\n")
    assert (size_of(str(tmp_path / "log")), read_end(str(tmp_path / "log"), 1)) == (
        7,
        "anic\N{REPLACEMENT CHARACTER}\n",
    )
