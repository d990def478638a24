"""Run the agent on other Pythons: ``python -m tests.agent.pythons [NAME …]``.

Those of pyenv and of the search path, and those of other Debian suites and architectures, which are
downloaded once and run where they lie. Each runs the checks of ``checked_inside.py``, then the tests that
speak with an agent in a process. It ends with a table; the exit code is 1 where one of them is not well.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from innkeeper.machines.guest.bundle import agent_bundle

_OLDEST, _NEWEST = 6, 20
_HERE = Path(__file__).parent
#: The tests whose agent is a process of its own, with a session over a socket.
_TESTS = ("test_service", "test_booking", "test_channels", "test_health", "test_guest", "test_waiting")
_ARCHIVE = "deb http://deb.debian.org/debian {suite} main"
#: Debian's suites and architectures that this computer's kernel can run.
_DEBIANS = (
    ("bullseye", "amd64"), ("trixie", "amd64"), ("forky", "amd64"), ("bookworm", "i386"), ("trixie", "i386"),
)  # fmt: skip
#: Becomes root of the first argument, with what is this computer's own, in the folder of the caller.
_ENTER = """\
#!/bin/sh
exec unshare -rm sh -c 'root={root}
for at in dev proc tmp var/tmp; do mount --rbind /$at "$root/$at" || exit 99; done
exec chroot "$root" sh -c '\\''cd "$0" 2>/dev/null; exec python3 "$@"'\\'' "$PWD" "$@"' enter "$@"
"""
_SECONDS = 600


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Python:
    """One that is tried."""

    name: str
    program: Path


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What came of it."""

    python: Python
    version: str
    is_well: bool
    seconds: float
    last_line: str


def main() -> int:
    """Try each; 0 only where all are well."""
    arguments = _arguments()
    pythons = [
        one for one in _all(Path(arguments.place)) if not arguments.names or one.name in arguments.names
    ]
    tried = []
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "innkeeper-agent.pyz"
        bundle.write_bytes(agent_bundle())
        for python in pythons:
            tried.append(_try(python, bundle))
            print(_line(tried[-1]), flush=True)
    print(_table(tried))
    return int(not tried or not all(one.is_well for one in tried))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.agent.pythons", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, as 3.6 or trixie-i386")
    parser.add_argument("--place", default="/var/tmp/inn-pythons", help="where Debian's are unpacked")
    return parser.parse_args()


def _all(place: Path) -> Iterator[Python]:
    for minor in range(_OLDEST, _NEWEST):
        program = _found(f"3.{minor}")
        if program is not None:
            yield Python(name=f"3.{minor}", program=program)
    for suite, architecture in _DEBIANS:
        program = _of_debian(place, suite, architecture)
        if program is not None:
            yield Python(name=f"{suite}-{architecture}", program=program)


def _found(version: str) -> Path | None:
    """The interpreter of pyenv, or of the search path."""
    versions = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    try:
        of_pyenv = sorted(versions.glob(f"{version}.*/bin/python3"))
    except PermissionError:  # another user's
        of_pyenv = []
    on_path = shutil.which(f"python{version}")
    return of_pyenv[-1] if of_pyenv else Path(on_path) if on_path else None


def _of_debian(place: Path, suite: str, architecture: str) -> Path | None:
    """A program that runs the Python of a suite in its own root, with nothing of it installed."""
    root = place / f"{suite}-{architecture}"
    if not root.exists():
        place.mkdir(parents=True, exist_ok=True)
        archive = place / f"{root.name}.tar"
        made = subprocess.run(
            [
                "mmdebstrap", "--mode=unshare", "--variant=extract", f"--architectures={architecture}",
                "--hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr",
                "--include=python3,dash,coreutils,sed,grep,procps",
                '--aptopt=Acquire::Check-Valid-Until "false"',
                suite, str(archive), _ARCHIVE.format(suite=suite),
            ],
            capture_output=True, text=True, env=os.environ | {"TMPDIR": "/var/tmp"}, check=False,
        )  # fmt: skip
        if made.returncode != 0:
            print(f"{root.name} cannot be had: {made.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return None
        _unpack(archive, root)
    program = place / f"python-{root.name}"
    program.write_text(_ENTER.format(root=root))
    program.chmod(0o755)
    return program


def _unpack(archive: Path, root: Path) -> None:
    making = root.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    unpack = ["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-f", str(archive), "-C", str(making)]
    subprocess.run(unpack, check=True)
    for name in ("dev", "proc", "tmp", "var/tmp"):
        (making / name).mkdir(parents=True, exist_ok=True)
    shell = making / "usr/bin/sh"
    if not os.path.lexists(shell):  # it may lead nowhere from here
        shell.symlink_to("dash")
    archive.unlink()
    making.rename(root)


def _try(python: Python, bundle: Path) -> Tried:
    began = time.monotonic()
    asked = [str(python.program), "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    inside = bundle.with_name("checked_inside.py")
    shutil.copy(_HERE / "checked_inside.py", inside)
    tests = [str(_HERE / f"{name}.py") for name in _TESTS]
    said = ""
    for command, environment in (
        ([str(python.program), "-I", "-S", str(inside), str(bundle)], {}),
        ([sys.executable, "-m", "pytest", "-q", "--tb=line", *tests], {"AGENT_PYTHON": str(python.program)}),
    ):
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=_SECONDS,
            env=os.environ | environment, check=False,
        )  # fmt: skip
        said = done.stdout.strip()
        if done.returncode != 0:
            print(said[-3000:], file=sys.stderr)
            break
    seconds = round(time.monotonic() - began, 1)
    last_line = said.splitlines()[-1] if said else "it said nothing"
    is_well = done.returncode == 0
    return Tried(python=python, version=version, is_well=is_well, seconds=seconds, last_line=last_line)


def _line(one: Tried) -> str:
    mark = "ok " if one.is_well else "BAD"
    return f"{mark} {one.python.name:<14} {one.version:<8} {one.seconds:>6.1f} s  {one.last_line}"


def _table(tried: list[Tried]) -> str:
    rows = [
        f"| {one.python.name} | {one.version} | {'well' if one.is_well else '**not well**'} |"
        for one in tried
    ]
    return "\n".join(["", "| Python | version | the agent is |", "|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main())
