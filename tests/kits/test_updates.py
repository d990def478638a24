"""Updates by a kit: what they print, who takes turns, and which packages they may name."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from innkeeper.agent.backends.cause import cause
from innkeeper.channels.kits.session import KitSession
from innkeeper.channels.ports import GuestOutput, TaskStateChanged
from innkeeper.errors import AgentError
from innkeeper.wire.states import UpdateStatus
from tests.agent.rig import appears, ended
from tests.kits.rig import KIT_DIRECTORY, SHELLS, LocalCommands, session_with

_APT = """#!/bin/sh
echo "$*" >>"$INNKEEPER_ROOT/called"
case "$*" in
*--print-uris*) echo "'file:/srv/repo/InRelease' x 0" ;;
*update) echo "Hit:1 file:/srv/repo ./ Release" ;;
esac
"""
_DPKG_QUERY = """#!/bin/sh
printf 'hello\\t1.0\\tinstalled\\nlibc6:amd64\\t2.36\\tinstalled\\ng++\\t12\\tinstalled\\n'
"""


@pytest.fixture(params=SHELLS)
def commands(tmp_path: Path, request: pytest.FixtureRequest) -> LocalCommands:
    """A guest whose updates are scripts."""
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")
    (tmp_path / "etc/innkeeper/agent/update.d").mkdir(parents=True)
    environment = {**os.environ, "INNKEEPER_BACKEND": "scripts"}
    return LocalCommands(tmp_path, environment, SHELLS[request.param])


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _update_by(commands: LocalCommands, script: str) -> None:
    _program(commands.root / "etc/innkeeper/agent/update.d/one", f"#!/bin/sh\n{script}\n")


async def test_all_that_an_update_prints_is_told_before_its_end(commands: LocalCommands) -> None:
    """More than one answer takes, up to the half line that it ends with; whoever looks at it meanwhile."""
    _update_by(commands, "seq -f 'line %.0f of what is told at the end' 1 6000; printf 'the last'")
    session = await session_with(commands)
    messages = session.messages()
    await session.start_task("", "u1", b"")
    lines: list[str] = []
    polled: list[UpdateStatus] = []

    async def poll() -> None:
        while not polled or not polled[-1].is_final:
            task = await session.task("u1")
            assert task is not None
            polled.append(task.status)
            if task.status.is_final:
                assert lines[-1:] == ["the last"], "its end was known before its last words"
            await asyncio.sleep(0.02)

    async with asyncio.timeout(60):
        first = asyncio.ensure_future(anext(messages))
        polling = asyncio.ensure_future(poll())
        message = await first
        while not (isinstance(message, TaskStateChanged) and message.task.status.is_final):
            if isinstance(message, GuestOutput):
                lines.append(message.text)
            message = await anext(messages)
        await polling
    assert len(lines) == 6001
    assert (lines[0], lines[5999]) == (
        "line 1 of what is told at the end",
        "line 6000 of what is told at the end",
    )


async def _over(commands: LocalCommands) -> KitSession:
    """A session whose update has ended, and printed more than one answer takes; nobody has heard of it."""
    _update_by(commands, "seq -f 'line %.0f of what is told at the end' 1 3000; printf 'the last'")
    session = await session_with(commands)
    await session.start_task("", "u1", b"")
    async with asyncio.timeout(60):
        while not [*(commands.root / KIT_DIRECTORY).glob("updates/*/update/end")]:
            await asyncio.sleep(0.05)
    return session


async def test_an_end_is_known_and_its_last_words_follow(commands: LocalCommands) -> None:
    """Of a guest whose qemu-guest-agent was stopped by the update itself, and is back later."""
    session = await _over(commands)
    commands.answers_left = 1
    lines: list[str] = []
    async with asyncio.timeout(60):
        async for message in session.messages():
            if isinstance(message, GuestOutput):
                lines.append(message.text)
            elif isinstance(message, TaskStateChanged) and message.task.status.is_final:
                assert message.task.status is UpdateStatus.SUCCESS
                break
        else:
            pytest.fail("its end was known, and not told")
    assert 0 < len(lines) < 3001
    with pytest.raises(AgentError, match="not connected"):
        await anext(session.last_words("u1"))
    commands.answers_left, commands.is_silent = None, False
    lines += [line async for line in session.last_words("u1")]
    assert (len(lines), lines[-1]) == (3001, "the last")
    assert [line async for line in session.last_words("u1")] == []


async def test_another_session_tells_the_last_words(commands: LocalCommands) -> None:
    """The first was lost before the end: by the guest's own note, nothing that was told is repeated."""
    await _over(commands)
    other = await session_with(commands)
    task = await other.task("u1")
    assert task is not None
    assert task.status is UpdateStatus.SUCCESS
    lines = [line async for line in other.last_words("u1")]
    assert (len(lines), lines[-1]) == (3001, "the last")


async def test_whoever_hears_no_more_messages_is_told_of_the_end(commands: LocalCommands) -> None:
    """A loop over messages that was left holds nothing back."""
    _update_by(commands, "echo once; until [ -e $INNKEEPER_ROOT/go ]; do sleep 0.1; done")
    session = await session_with(commands)
    await session.start_task("", "u1", b"")
    async for message in session.messages():
        if isinstance(message, GuestOutput):
            break
    (commands.root / "go").touch()
    assert (await ended(session, "u1")).status is UpdateStatus.SUCCESS


async def test_updates_take_turns(commands: LocalCommands) -> None:
    """Whichever service has begun them: the second one says that it waits."""
    _update_by(
        commands,
        'echo "$INNKEEPER_IDENTIFIER" >>$INNKEEPER_ROOT/ran\n'
        "until [ -e $INNKEEPER_ROOT/go ]; do sleep 0.1; done",
    )
    first, second = await session_with(commands), await session_with(commands)
    await first.start_task("", "u1", b"")
    await appears(commands.root / "ran", 20)
    messages = second.messages()
    await second.start_task("", "u2", b"")
    async for message in messages:
        if isinstance(message, GuestOutput) and message.text == "Waiting for another update of this guest":
            break
    assert (commands.root / "ran").read_text() == "u1\n"
    (commands.root / "go").touch()
    assert (await ended(second, "u2")).status is UpdateStatus.SUCCESS
    assert (await ended(first, "u1")).status is UpdateStatus.SUCCESS
    assert (commands.root / "ran").read_text() == "u1\nu2\n"


async def test_an_update_that_waits_for_its_turn_can_be_cancelled(commands: LocalCommands) -> None:
    """It has changed nothing."""
    _update_by(commands, "touch $INNKEEPER_ROOT/ran; until [ -e $INNKEEPER_ROOT/go ]; do sleep 0.1; done")
    session = await session_with(commands)
    await session.start_task("", "u1", b"")
    await appears(commands.root / "ran", 20)
    await session.start_task("", "u2", b"")
    await session.cancel_task("u2")
    task = await ended(session, "u2")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    (commands.root / "go").touch()
    assert (await ended(session, "u1")).status is UpdateStatus.SUCCESS


async def test_the_turn_of_a_dead_worker_is_free(commands: LocalCommands) -> None:
    """It was killed, or its guest went down."""
    _update_by(commands, "true")
    session = await session_with(commands)
    (commands.root / KIT_DIRECTORY / "turn").write_text("4194305 7 boot-1\n")
    await session.start_task("", "u1", b"")
    assert (await ended(session, "u1")).status is UpdateStatus.SUCCESS
    # The worker gives it back after it has told its end.
    async with asyncio.timeout(20):
        while (commands.root / KIT_DIRECTORY / "turn").exists():
            await asyncio.sleep(0.02)


async def test_a_worker_of_a_former_kit_has_its_turn(commands: LocalCommands) -> None:
    """It knows nothing of turns, and is waited for."""
    _update_by(commands, "true")
    session = await session_with(commands)
    former = commands.root / KIT_DIRECTORY / "updates/0/update"
    former.mkdir(parents=True)
    worker = await asyncio.create_subprocess_exec("sleep", "100")
    began = (Path(f"/proc/{worker.pid}/stat").read_text()).rpartition(") ")[2].split()[19]
    (former / "pid").write_text(f"{worker.pid} {began} boot-1\n")
    messages = session.messages()
    await session.start_task("", "u1", b"")
    async for message in messages:
        if isinstance(message, GuestOutput):
            break
    worker.kill()
    await worker.wait()
    assert (await ended(session, "u1")).status is UpdateStatus.SUCCESS


async def test_a_program_that_prints_without_end_fills_nothing(commands: LocalCommands) -> None:
    """Of twenty megabytes without a line's end the last are kept, for the cause, and one is passed on."""
    _update_by(commands, "head -c 20000000 /dev/zero | tr '\\000' x; printf '\\nERROR: the cause\\n'; exit 1")
    session = await session_with(commands)
    await session.start_task("", "u1", b"")
    task = await ended(session, "u1")
    assert task.text == "one failed (exit code 1): ERROR: the cause"
    [log] = (commands.root / KIT_DIRECTORY).glob("updates/*/update/log")
    assert log.stat().st_size < 4_000_000


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        (["tar: No space left on device", "fork: Cannot allocate memory"], "fork: Cannot allocate memory"),
        (["Killed", "cp: Input/output error"], "cp: Input/output error"),
        (["Segmentation fault", "rm: Read-only file system", "done"], "rm: Read-only file system"),
        (["Segmentation fault", "done"], "Segmentation fault"),
        (
            [
                "x: Read-only file system",
                "x: Input/output error",
                "dpkg: error processing package x (-a):",
                "1",
            ],
            "dpkg: error processing package x (-a): 1; it said: x: Input/output error",
        ),
    ],
)
async def test_what_explains_the_rest_is_the_cause(
    commands: LocalCommands, printed: Sequence[str], said: str
) -> None:
    """Whatever was printed first; the task agent ranks the same."""
    _update_by(commands, "".join(f"echo '{line}'\n" for line in printed) + "exit 1")
    session = await session_with(commands)
    await session.start_task("", "u1", b"")
    assert (await ended(session, "u1")).text == f"one failed (exit code 1): {said}"
    assert cause("\n".join(printed)) == said


@pytest.mark.parametrize(
    "name",
    [
        "hello-",
        "-hello",
        "hello/stable",
        "hello=1.0",
        "$(touch x)",
        "a;b",
        "a b",
        "*",
        "@core",
        "~i",
        "a\nb",
        "",
    ],
)
async def test_a_word_that_is_no_name_of_a_package_is_refused(commands: LocalCommands, name: str) -> None:
    """Nothing is begun by it: apt would remove what ends in a dash."""
    session = await session_with(commands)
    with pytest.raises(AgentError, match="The context names"):
        await session.start_task("", "u1", json.dumps({"packages": [name]}).encode())
    assert list((commands.root / KIT_DIRECTORY / "updates").glob("*/update/request")) == []


@pytest.mark.parametrize(
    ("names", "asked", "text"),
    [
        (["hello", "nowhere"], ["hello"], "Nothing was updated; not installed: nowhere."),
        (["hello+", "hel."], [], "Nothing was updated; not installed: hello+, hel.."),
        (["g++", "libc6", "hello:amd64"], ["g++", "libc6", "hello:amd64"], "Nothing had to be updated."),
    ],
)
async def test_only_packages_that_are_installed_are_named_to_a_package_manager(
    commands: LocalCommands, names: Sequence[str], asked: Sequence[str], text: str
) -> None:
    """It takes other words for patterns; and where none is left, it is not asked to update everything."""
    _program(commands.root / "bin/apt-get", _APT)
    _program(commands.root / "bin/dpkg-query", _DPKG_QUERY)
    _program(commands.root / "bin/dpkg", "#!/bin/sh\n")
    environment = {"INNKEEPER_BACKEND": "apt", "PATH": f"{commands.root}/bin:{os.environ['PATH']}"}
    guest = LocalCommands(commands.root, {**os.environ, **environment}, commands.shell)
    session = await session_with(guest)
    await session.start_task("", "u1", json.dumps({"packages": names}).encode())
    task = await ended(session, "u1")
    assert (task.status, task.text) == (UpdateStatus.SUCCESS, text)
    called = commands.root / "called"
    calls = called.read_text().splitlines() if called.exists() else []
    assert {call.partition(" install -- ")[2] for call in calls if " install -- " in call} == (
        {" ".join(asked)} if asked else set()
    )
    assert not any("upgrade" in call.replace("--only-upgrade", "") for call in calls)


async def test_packages_that_nobody_can_list_are_not_taken_as_absent(commands: LocalCommands) -> None:
    """A package database that is locked or broken is no guest without anything to do."""
    _program(commands.root / "bin/apt-get", _APT)
    _program(commands.root / "bin/dpkg-query", "#!/bin/sh\nexit 2\n")
    _program(commands.root / "bin/dpkg", "#!/bin/sh\n")
    environment = {"INNKEEPER_BACKEND": "apt", "PATH": f"{commands.root}/bin:{os.environ['PATH']}"}
    guest = LocalCommands(commands.root, {**os.environ, **environment}, commands.shell)
    session = await session_with(guest)
    await session.start_task("", "u1", json.dumps({"packages": ["hello"]}).encode())
    task = await ended(session, "u1")
    assert (task.status, task.unchanged) == (UpdateStatus.FAILED, True)
    assert task.text.startswith("The installed packages cannot be read")
