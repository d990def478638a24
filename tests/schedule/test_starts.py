"""What was begun is known after a kill, and is never taken for what was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.schedule.running import spawning
from innkeeper.schedule.running import starts as module
from innkeeper.schedule.running.starts import MappedStarts, MemoryStarts

A, B, C = (f"{{0000000{n}-0000-0000-0000-000000000000}}" for n in range(3))


def test_unknown_may_have_begun(tmp_path: Path) -> None:
    """Only what was intended here and not begun certainly has not; the two kinds agree."""
    for starts in (MemoryStarts(), MappedStarts.open(tmp_path / "starts")):
        starts.intend(A)
        starts.intend(B)
        starts.begin(B)
        assert [starts.may_have_begun(each) for each in (A, B, C)] == [False, True, True]
        starts.forget(A)
        assert starts.may_have_begun(A)


def test_a_kill_takes_nothing_along(tmp_path: Path) -> None:
    """A process that is killed with -9 right after its notes leaves them to the next one."""
    path = tmp_path / "starts"
    program = (
        "import os, signal; from pathlib import Path\n"
        "from innkeeper.schedule.running.starts import MappedStarts\n"
        f"s = MappedStarts.open(Path({str(path)!r})); s.intend({A!r}); s.intend({B!r}); s.begin({B!r})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    again = MappedStarts.open(path)
    assert [again.may_have_begun(each) for each in (A, B)] == [False, True]
    again.keep({B: None})
    assert again.may_have_begun(A), "it is forgotten, and counts as begun"
    again.close()


def test_a_sign_tells_of_one_instance_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one of its slot has not begun with it; and one that a program has made is believed."""
    monkeypatch.setattr(module, "_SLOTS", 2)
    monkeypatch.setattr(module, "_CLEARED_TOGETHER", 1)
    path = tmp_path / "starts"
    first = MappedStarts.open(path)
    for _ in range(5):
        first.intend(A)
        touch(first.sign(A))
        first.forget(A)
        module._CLEANER.submit(lambda: None).result()
    first.intend(B)
    first.intend(C)
    touch(first.sign(C))
    assert first.sign(A) is None, "there is no slot of it"
    again = MappedStarts.open(path)
    assert [again.may_have_begun(each) for each in (B, C)] == [False, True]
    again.forget(C)
    again.intend(A)
    assert not MappedStarts.open(path).may_have_begun(A), "the sign was taken back when it was read"
    assert len(list((tmp_path / "starts.signs").iterdir())) <= 2


def touch(sign: bytes | None) -> None:
    """Make a sign as a program does that is started with one."""
    assert sign is not None
    pid = spawning.spawn(["true"], output=1, directory="/", environment={}, sign=sign)
    assert os.waitpid(pid, 0)[1] == 0


def test_after_the_computer_has_started_all_may_have_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut may have taken notes along: none is believed."""
    path = tmp_path / "starts"
    first = MappedStarts.open(path)
    first.intend(A)
    first.close()
    boot = tmp_path / "boot_id"
    boot.write_text("another boot")
    monkeypatch.setattr(module, "_BOOT_ID", boot)
    assert MappedStarts.open(path).may_have_begun(A)


def test_a_full_or_broken_file_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More instances than places, or rubbish in the file: what cannot be noted may have begun."""
    monkeypatch.setattr(module, "_SLOTS", 2)
    path = tmp_path / "starts"
    path.write_bytes(os.urandom(100))
    starts = MappedStarts.open(path)
    for each in (A, B, C):
        starts.intend(each)
    assert [starts.may_have_begun(each) for each in (A, B, C)] == [False, False, True]
    starts.forget(A)
    starts.intend(C)
    assert not starts.may_have_begun(C)
