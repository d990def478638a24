"""Screens, keyboards and consoles at the command line."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.serving import INNKEEPER, Service


def test_a_screenshot_is_written(service: Service, tmp_path: Path) -> None:
    """To the file that was named; a refusal leaves none."""
    file = tmp_path / "shot.png"
    done = service.run("machine", "screenshot", "web-1", str(file), "--width", "100", "--json")
    assert (done.code, json.loads(done.out)["bytes"]) == (0, file.stat().st_size)
    assert file.read_bytes().startswith(b"\x89PNG")
    refused = service.run("machine", "screenshot", "old-1", str(tmp_path / "none.png"))
    assert (refused.code, list(tmp_path.iterdir())) == (4, [file])
    assert "machine start old-1" in refused.err
    assert service.run("machine", "screenshot", "web-1", str(tmp_path / "no/where.png")).code == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("type", "web-1", "hello", "--enter"), 0),
        (("type", "web-1", "héllo"), 2),
        (("type", "old-1", "hello"), 4),
        (("type", "nobody", "hello"), 3),
        (("keys", "web-1", "shift+a", "F2", "Key_Tab", "HOLD"), 0),
        (("keys", "web-1", "DOWN,Key_LeftAlt,Key_Tab,UP,Key_LeftAlt"), 0),
        (("keys", "web-1", "hyper+x"), 2),
        (("keys", "web-1", "DOWN,"), 2),
    ],
)
def test_keys_are_pressed_or_refused(service: Service, words: tuple[str, ...], code: int) -> None:
    """By the table of exit codes."""
    assert service.run("machine", *words).code == code


def test_a_display_says_where_it_is(service: Service) -> None:
    """And why there is none."""
    assert "unix:" in service.run("machine", "console", "web-1", "--vnc").out
    refused = service.run("machine", "console", "old-1", "--vnc")
    assert (refused.code, "saved" in refused.err) == (4, True)


def test_a_console_takes_standard_input(service: Service) -> None:
    """Where nobody sits at a terminal."""
    done = subprocess.run(
        [*INNKEEPER, "--socket", str(service.socket), "machine", "console", "web-1"],
        input=b"abc",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"login:" in done.stdout
    assert b"abc" in done.stdout


def test_a_terminal_sits_at_a_console_until_it_is_left(service: Service) -> None:
    """Keys go as they are typed, and the terminal is as it was afterwards."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    sitting = subprocess.Popen(
        [*INNKEEPER, "--socket", str(service.socket), "machine", "console", "web-1"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    )
    try:
        _until(ours, b"login:")
        os.write(ours, b"x\x03")
        _until(ours, b"x")
        os.write(ours, b"\x1d")
        assert sitting.wait(timeout=30) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        sitting.kill()
        os.close(ours)
        os.close(theirs)


def _until(terminal: int, words: bytes) -> None:
    fcntl.fcntl(terminal, fcntl.F_SETFL, os.O_NONBLOCK)
    seen, deadline = b"", time.monotonic() + 30
    while words not in seen:
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(terminal, 4096)
        except BlockingIOError:
            time.sleep(0.01)
