"""Containers whose first process is a real init: this computer's programs, and a few unpacked packages.

An ordinary user is root there by a user namespace. What the guest's own is lies in a root of its own.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.guests import packages

_DIRECTORIES = (
    "dev",
    "etc",
    "local",
    "over/sbin",
    "proc",
    "run",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var/lib",
    "var/log",
    "var/run",
)
_LINKS = ("bin", "sbin", "lib", "lib64")
#: Becomes root of a container: its ``/usr`` is the packages' over this computer's.
_ENTER = """\
set -e
root=$1; layer=$2; shift 2
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 dev "$root/dev"
for each in null zero random urandom tty; do
    : >"$root/dev/$each"; mount --bind "/dev/$each" "$root/dev/$each"
done
: >"$root/dev/console"; mount --bind /dev/null "$root/dev/console"
mount -t overlay -o "lowerdir=$root/over:$layer/usr:/usr" overlay "$root/usr"
mount --bind "$root/run" "$root/var/run"
mount --bind "$root/local" "$root/usr/local"
exec chroot "$root" "$@"
"""
_DEADLINE_SECONDS = 90.0


def layer_of(cache: Path, names: Sequence[str]) -> Path:
    """Return the folder with the ``usr`` of packages, unpacked where it is not there yet."""
    layer = cache / f"init-{packages.fingerprint(names)[:16]}"
    if not layer.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            packages.unpack(names, Path(scratch) / "unpacked")
            made = Path(scratch) / "unpacked"
            for name in ("bin", "sbin", "lib"):  # what other distributions call merged
                if (made / name).is_dir():
                    shutil.copytree(made / name, made / "usr" / name, symlinks=True, dirs_exist_ok=True)
                    shutil.rmtree(made / name)
            with contextlib.suppress(OSError):  # another session was quicker
                made.rename(layer)
    return layer


class Container:
    """A guest without a virtual machine, with an init of its own."""

    def __init__(self, layer: Path, bundle: Path) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="container"))
        self._layer = layer
        self._process: subprocess.Popen[bytes] | None = None
        for directory in _DIRECTORIES:
            (self.root / directory).mkdir(parents=True)
        for link in _LINKS:
            (self.root / link).symlink_to(f"usr/{link}")
        if (layer / "etc").is_dir():
            shutil.copytree(layer / "etc", self.root / "etc", symlinks=True, dirs_exist_ok=True)
        self.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        self.write("etc/group", "root:x:0:\n")
        shutil.copy(bundle, self.root / "srv/agent.pyz")

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the guest."""
        whole = self.root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        whole.chmod(mode)
        return whole

    def boot(self, *init: str) -> None:
        """Start its first process."""
        # It ends with this very process, however that ends.
        last = ["setpriv", "--pdeathsig", "KILL", "unshare", "-rmpnf", "--kill-child"]
        words = [*last, "sh", "-c", _ENTER, "enter", str(self.root), str(self._layer)]
        self._process = subprocess.Popen(
            [*words, *init], stdin=subprocess.DEVNULL, stdout=self._log(), stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "CONSOLE": "/dev/null"},
        )  # fmt: skip
        self.waits_for(lambda: self._first() != 0, "its first process")

    def run(self, *words: str, code: int | None = 0) -> str:
        """Run a program in it; returns what it printed."""
        enter = ["nsenter", "-U", "-m", "-p", "-n", "--preserve-credentials", "-t", str(self._first())]
        done = subprocess.run(
            [*enter, "chroot", str(self.root), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=_DEADLINE_SECONDS, check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )  # fmt: skip
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout.decode())
        return done.stdout.decode()

    def agent(self, *words: str) -> str:
        """Run a verb of the agent's."""
        return self.run("python3", "-I", "-S", "/srv/agent.pyz", *words)

    def health(self) -> dict[str, Any]:
        """The agent's report, with its units by name."""
        report: dict[str, Any] = json.loads(self.agent("health"))
        report["units"] = {row[0]: row for row in report["details"]["units"]}
        return report

    def state(self, unit: str) -> str:
        """How a unit is: ``active/running``, or ``gone``."""
        row = self.health()["units"].get(unit)
        return f"{row[2]}/{row[3]}" if row else "gone"

    def ask(self, expression: str) -> Any:
        """What an expression of the agent's comes to; ``inits`` are those that run there."""
        program = (
            "import sys, json; sys.path.insert(0, '/srv/agent.pyz')\n"
            "from innkeeper.agent.inits import Inits\n"
            "from innkeeper.agent import effect, power\n"
            "from innkeeper.agent.places import Places\n"
            "places = Places(); inits = Inits(places)\n"
            f"print(json.dumps({expression}))"
        )
        return json.loads(self.run("python3", "-I", "-S", "-c", program))

    def waits_for(self, is_so: Callable[[], bool], what: str) -> None:
        """Look again until it is so."""
        give_up = time.monotonic() + _DEADLINE_SECONDS
        while not is_so():
            log = (self.root / "console").read_text(errors="replace")[-2000:]
            assert time.monotonic() < give_up, f"{what} never came; the console has: {log}"
            time.sleep(0.1)

    @property
    def is_down(self) -> bool:
        """Whether its first process has ended, and with it all others."""
        return self._process is None or self._process.poll() is not None

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def _log(self) -> Any:
        return (self.root / "console").open("ab")

    def _first(self) -> int:
        """The first process, as this computer numbers it, once it has its root."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        with contextlib.suppress(OSError, IndexError):
            if (Path(f"/proc/{children[0]}/root").readlink()) == self.root.resolve():
                return int(children[0])
        return 0


@contextlib.contextmanager
def container_of(layer: Path, bundle: Path) -> Iterator[Container]:
    """A container, gone at the end."""
    container = Container(layer, bundle)
    try:
        yield container
    finally:
        container.close()
