"""Record what a release keeps, for the releases after it: run once with that release's own code.

    PYTHONPATH=<the release's src> python record.py DIRECTORY

Its service is started with simulated machines, given something of everything to keep, and killed (-9) in
the middle of an update run. DIRECTORY gets an archive of the state directory for each moment.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

#: Where the service keeps its state while it is recorded. Journals have this path in them.
HOME = Path("/tmp/innkeeper-sample")
MACHINE = "web-1"
IDENTIFIER = "2026-11"
SPEED = 60
SETTINGS = "[policy]\nsoak_seconds = 10.0\nhealth_seconds = 10.0\nlook_seconds = 5.0\n"
#: What a killed process leaves, and no restart reads.
_LEFT_OUT = (".sock", ".lock", "-shm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moment:
    """When the service is killed."""

    name: str
    #: The step of the run's journal.
    step: str
    #: Real seconds after its beginning; ``None`` for when its action is done and not recorded.
    after: float | None = None
    #: How the update goes.
    behaviour: str = "needs_reboot"


MOMENTS = (
    Moment(name="before-the-undo-point", step="baseline"),
    Moment(name="at-the-undo-point", step="undo point"),
    Moment(name="in-the-update", step="update", after=0.25),
    Moment(name="in-the-reboot", step="reboot", after=0.15),
    Moment(name="in-the-merge", step="merge", after=0.03),
    Moment(name="in-the-report", step="report"),
    Moment(name="in-the-roll-back", step="discard", behaviour="bad"),
    Moment(name="in-the-report-of-a-roll-back", step="report", behaviour="bad"),
)


def main() -> None:
    """Record every moment, or be the service that is recorded."""
    if sys.argv[1] == "serve":
        _serve(sys.argv[2], None if sys.argv[3] == "done" else float(sys.argv[3]))
    else:
        for moment in MOMENTS:
            _record(moment, Path(sys.argv[1]))


def _record(moment: Moment, directory: Path) -> None:
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir()
    after = "done" if moment.after is None else str(moment.after)
    command = [sys.executable, __file__, "serve", moment.step, after]
    with (HOME / "service.log").open("wb") as log:
        service = subprocess.Popen(command, stdout=log, stderr=log, env=_environment())
    try:
        _until_it_answers()
        _fill(moment.behaviour)
        ended = service.wait(60)
    finally:
        service.kill()
    assert ended == -signal.SIGKILL, (HOME / "service.log").read_text()
    _archive(directory / f"{moment.name}.tar.xz")


def _fill(behaviour: str) -> None:
    """Something of everything that is kept, and the booking whose run is recorded."""
    (HOME / "password").write_text("correct horse battery staple\n")
    (HOME / "context").write_text(behaviour)
    _innkeeper("user", "add", "ana", "--role", "operator", "--password-file", str(HOME / "password"))
    _innkeeper("user", "token", "add", "night", "--days", "0")
    _innkeeper(
        "schedule", "add", "\\Nightly\\Trim", "--daily", "02:00", "--zone", "Europe/Paris", "--", "/bin/true"
    )
    _innkeeper(
        "schedule",
        "add",
        "\\Weekend\\Save",
        "--weekly",
        "sat,sun",
        "--at",
        "23:30",
        "--operation",
        "save",
        "--on",
        "db-1",
    )
    _innkeeper("schedule", "run", "\\Nightly\\Trim")
    _innkeeper("machine", "label", "db-1", "add", "attic")
    _innkeeper("machine", "pause", "db-1")
    _innkeeper(
        "window", "add", "nights", "--days", "daily", "--at", "22:00", "--for", "4h", "--machines", "old-*"
    )
    _innkeeper("update", "book", "old-1", "--identifier", "later", "--label", "Later")
    _innkeeper("window", "add", "now", "--now", "--for", "20h", "--machines", MACHINE)
    _innkeeper(
        "update",
        "book",
        MACHINE,
        "--identifier",
        IDENTIFIER,
        "--label",
        "Security",
        "--context",
        str(HOME / "context"),
    )


def _innkeeper(*arguments: str, check: bool = True) -> int:
    command = [sys.executable, "-c", "from innkeeper.cli import main; main()", *arguments]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{arguments}: {done.stdout}{done.stderr}{(HOME / 'service.log').read_text()}")
    return done.returncode


def _until_it_answers() -> None:
    for _ in range(100):
        if _innkeeper("machine", "list", check=False) == 0:
            return
        time.sleep(0.1)
    raise SystemExit((HOME / "service.log").read_text())


def _environment() -> dict[str, str]:
    return {**os.environ, "INNKEEPER_SOCKET": str(HOME / "innkeeper.sock"), "TZ": "UTC", "HOME": str(HOME)}


def _archive(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:xz") as archive:
        for file in sorted((HOME / "state").rglob("*")):
            if file.is_file() and not file.name.endswith(_LEFT_OUT):
                member = archive.gettarinfo(file, str(file.relative_to(HOME / "state")))
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                with file.open("rb") as content:
                    archive.addfile(member, content)
    print(path.name, path.stat().st_size)


# In the process that is killed


def _serve(step: str, after: float | None) -> None:
    from innkeeper.cli import main as innkeeper
    from innkeeper.store.run import Run

    do = Run.run

    async def run(self: Run, name: str, action: Callable[[], Awaitable[object]]) -> object:
        async def mortal() -> object:
            if name != step:
                return await action()
            if after is not None:
                asyncio.get_running_loop().call_later(after, _die)
            result = await action()
            _die()
            return result

        return await do(self, name, mortal)  # type: ignore[arg-type]

    Run.run = run  # type: ignore[assignment,method-assign]  # the only way in between action and record
    settings, state = HOME / "settings.toml", HOME / "state"
    settings.write_text(SETTINGS)
    arguments = f"serve --fake 3 --speed {SPEED} --state-dir {state} --config {settings}"
    sys.argv = ["innkeeper", *arguments.split()]
    innkeeper()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
