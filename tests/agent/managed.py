"""Guests of real package managers, each a root of its own over this computer's programs.

An ordinary user is root there by a user namespace: ``/usr`` is this computer's, all else the guest's.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from innkeeper.agent.places import Places
from innkeeper.agent.run import Request, Run
from innkeeper.channels.kits.kit import linux_kit
from tests.kits.rig import KIT_DIRECTORY

#: Becomes root of the directory that is the first argument, and the program that is the rest.
ENTER = (
    'root=$1; shift; for at in usr proc dev; do mount --rbind /$at "$root/$at" || exit 99; done; '
    'exec chroot "$root" "$@"'
)
RUNS = "var/lib/innkeeper/agent/runs"
#: The agent's own program, which waits for a lock for two seconds and not for ten minutes.
_IMPATIENT = (
    "import sys; sys.path.insert(0, '/srv/agent.pyz'); import innkeeper.agent.backends.backend as backend; "
    "backend.WAIT_S = 2.0; from innkeeper.agent.program import main; sys.exit(main(sys.argv[1:]))"
)
_REPOSITORIES = ("etc/yum.repos.d", "etc/zypp/repos.d")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rpm:
    """What an rpm is built from."""

    name: str
    version: str = "1"
    #: Lines of its head, as ``Requires: nowhere``.
    head: tuple[str, ...] = ()
    #: A script by its kind, as ``("post", "exit 3")``.
    scripts: tuple[tuple[str, str], ...] = ()
    #: A file that is its own.
    path: str = ""

    @property
    def file_name(self) -> str:
        """Its file."""
        return f"{self.name}-{self.version}-1.noarch.rpm"

    @property
    def spec(self) -> str:
        """What rpmbuild reads."""
        sections = [f"%{kind}\n{text}" for kind, text in self.scripts]
        if self.path:
            put = f"mkdir -p %{{buildroot}}/srv\necho {self.name} > %{{buildroot}}{self.path}"
            sections.append(f"%install\n{put}")
        head = ("Release: 1", "Summary: a test", "License: none", "BuildArch: noarch", "AutoReqProv: no")
        first = (
            f"Name: {self.name}",
            f"Version: {self.version}",
            *head,
            *self.head,
            "%description",
            "a test",
        )
        return "\n".join((*first, *sections, "%files", self.path, ""))


class Workshop:
    """Builds each rpm once, and has the empty guest that all others are copies of."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._built = 0
        self.rpm = functools.cache(self._rpm)
        self.bare = directory / "bare"
        self._build_bare()

    def _rpm(self, what: Rpm) -> Path:
        (self._directory / "package.spec").write_text(what.spec)
        self._built += 1
        out = self._directory / f"rpms-{self._built}"
        places = {"_topdir": self._directory / "top", "_rpmdir": out}
        defined = [word for name, path in places.items() for word in ("--define", f"{name} {path}")]
        command = ["rpmbuild", "-bb", *defined]
        subprocess.run([*command, self._directory / "package.spec"], check=True, capture_output=True)
        return out / "noarch" / what.file_name

    def _build_bare(self) -> None:
        for name in (
            "usr",
            "proc",
            "dev",
            "run",
            "tmp",
            "root",
            "var/lib/rpm",
            "var/cache",
            "var/log",
            "srv",
        ):
            (self.bare / name).mkdir(parents=True)
        for name in ("bin", "sbin", "lib", "lib64"):
            (self.bare / name).symlink_to(f"usr/{name}")
        (self.bare / "etc/rpm").mkdir(parents=True)
        # Debian's rpm keeps its database in the home of who calls it.
        (self.bare / "etc/rpm/macros").write_text("%_dbpath /var/lib/rpm\n")
        (self.bare / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.bare / "etc/group").write_text("root:x:0:\n")
        shutil.copytree("/etc/alternatives", self.bare / "etc/alternatives", symlinks=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a step of an update ended."""

    #: ``success``, ``failed`` or ``reboot``; of a preparation ``ready`` or ``nothing``.
    end: str
    text: str
    #: The versions before and after, by package.
    packages: dict[str, tuple[str, str]]
    output: str
    #: Whether a failed one says that it has changed nothing.
    unchanged: bool


class ManagedGuest:
    """A guest's root, and the worker of the shipped agent in it."""

    def __init__(self, workshop: Workshop, bundle: Path) -> None:
        self._workshop = workshop
        self.root = Path(tempfile.mkdtemp(prefix="guest"))
        shutil.copytree(workshop.bare, self.root, symlinks=True, dirs_exist_ok=True)
        shutil.copy(bundle, self.root / "srv/agent.pyz")
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        self._steps = 0
        #: The shell of its kit, where that does the work and not the agent.
        self.shell: Sequence[str] = ()
        #: Whether it gives up soon where another has the lock.
        self.is_impatient = False

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file into the guest."""
        whole = self.root / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(text)
        whole.chmod(mode)
        return whole

    def command(self, *words: str) -> list[str]:
        """The command line of a program inside the guest."""
        return [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            ENTER,
            "sh",
            str(self.root),
            *words,
        ]

    def call(self, *words: str) -> str:
        """Run a program inside the guest, as its administrator may; returns what it printed."""
        done = subprocess.run(
            self.command(*words), env=self.environment, check=True, text=True, capture_output=True
        )
        return done.stdout

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program inside the guest."""
        return subprocess.Popen(self.command(*words), env=self.environment, stdout=subprocess.DEVNULL)

    def work(
        self, backend: str, context: bytes = b"", *, step: str = "update", is_prepared: bool = False
    ) -> Ended:
        """Have the agent's worker do a step, and read how it ended."""
        self._steps += 1
        if self.shell:
            return self._work_by_kit(backend, context, step, is_prepared)
        run = Run.of(Places(str(self.root)).runs, f"u{self._steps}", step)
        run.prepare(Request(step, backend, "", f"u{self._steps}", context, is_prepared=is_prepared))
        inside = "/" + os.path.relpath(run.path, self.root)
        program = ("-c", _IMPATIENT) if self.is_impatient else ("/srv/agent.pyz",)
        self.call("/usr/bin/python3", "-I", "-S", *program, "work", inside)
        return read_events(run)

    def _work_by_kit(self, backend: str, context: bytes, step: str, is_prepared: bool) -> Ended:
        """As the verb that begins a step would, but for this package manager, and in this process."""
        update = f"{KIT_DIRECTORY}/updates/u{self._steps}"
        kit = self.root / "srv/kit.sh"
        wait = b"LOCK_WAIT_S=2" if self.is_impatient else b"LOCK_WAIT_S=600"
        kit.write_bytes(linux_kit().content.replace(b"LOCK_WAIT_S=600", wait))
        directory = self.root / update / step
        directory.mkdir(parents=True)
        for name in ("label", "identifier", "attempt", "log", "request"):
            (directory / name).write_text("")
        (directory / "context").write_bytes(context)
        if is_prepared:
            self.write(f"{update}/prepare/end", "ready\n")
        self.environment["INNKEEPER_BACKEND"] = backend
        self.call(*(f"/usr/bin/{self.shell[0]}", *self.shell[1:]), "/srv/kit.sh", "work", f"/{update}/{step}")
        return read_step(directory)

    @contextlib.contextmanager
    def until_waited_for(self, mark: Path) -> Iterator[None]:
        """Keep a file until the worker says that it waits."""
        is_over = threading.Event()

        def watch() -> None:
            events, logs = f"{RUNS}/*/*/events", f"{KIT_DIRECTORY}/updates/*/*/log"
            while not is_over.wait(0.1):
                said = (*self.root.glob(events), *self.root.glob(logs))
                if any(b"Waiting for " in path.read_bytes() for path in said):
                    break
            mark.unlink(missing_ok=True)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()

    def close(self) -> None:
        """Remove the root."""
        shutil.rmtree(self.root, ignore_errors=True)


class RpmGuest(ManagedGuest):
    """A guest whose packages are rpms, with one repository."""

    def __init__(self, workshop: Workshop, bundle: Path) -> None:
        super().__init__(workshop, bundle)
        self.repository = self.root / "srv/updates"
        self.repository.mkdir()
        self.add_repository("updates", "file:///srv/updates")
        self._index()
        self.call("rpm", "--initdb")
        # Without these neither dnf nor zypper takes a package with a script.
        self.install(Rpm(name="base", head=("Provides: /bin/sh, glibc",)))

    def add_repository(self, name: str, address: str, *settings: str) -> None:
        """Add a repository to the guest, for dnf and for zypper."""
        lines = (f"[{name}]", f"name={name}", f"baseurl={address}", "enabled=1", "autorefresh=1")
        for directory in _REPOSITORIES:
            self.write(f"{directory}/{name}.repo", "\n".join((*lines, *(settings or ("gpgcheck=0",)))))

    def remove_repositories(self) -> None:
        """Leave the guest without any."""
        for directory in _REPOSITORIES:
            shutil.rmtree(self.root / directory)

    def add_dnf_plugins(self, deb: Path) -> None:
        """Add dnf's own plug-ins, which Debian's package cannot where zypper is installed."""
        subprocess.run(["dpkg-deb", "-x", deb, self.root / "srv/plugins"], check=True)
        modules = "/srv/plugins/usr/lib/python3/dist-packages"
        self.environment["PYTHONPATH"] = modules
        self.write("etc/dnf/dnf.conf", f"[main]\npluginpath={modules}/dnf-plugins\n")
        shutil.copytree(self.root / "srv/plugins/etc/dnf/plugins", self.root / "etc/dnf/plugins")
        self.write("etc/dnf/plugins/local.conf", "[main]\nenabled=0\n")
        self.write("etc/dnf/plugins/versionlock.list", "")

    def install(self, *packages: Rpm) -> None:
        """Install packages, as the guest's administrator once did."""
        for package in packages:
            shutil.copy(self._workshop.rpm(package), self.root / "tmp")
        self.call("rpm", "-i", *(f"/tmp/{package.file_name}" for package in packages))

    def publish(self, *packages: Rpm) -> None:
        """Add packages to the repository."""
        for package in packages:
            shutil.copy(self._workshop.rpm(package), self.repository)
        self._index()

    def upgrade(self, *names: str) -> None:
        """Install version 1 of packages, and publish version 2."""
        self.install(*(Rpm(name=name) for name in names))
        self.publish(*(Rpm(name=name, version="2") for name in names))

    def versions(self) -> dict[str, str]:
        """What is installed."""
        lines = self.call("rpm", "-qa", "--qf", "%{NAME} %{VERSION}\n").splitlines()
        return dict(line.split() for line in lines)

    def _index(self) -> None:
        subprocess.run(["createrepo_c", "-q", self.repository], check=True, capture_output=True)


class PacmanGuest(ManagedGuest):
    """A guest of Arch's package manager, with one repository."""

    def __init__(self, workshop: Workshop, bundle: Path) -> None:
        super().__init__(workshop, bundle)
        self.repository = self.root / "srv/updates"
        for directory in (self.repository, self.root / "var/lib/pacman", self.root / "var/cache/pacman/pkg"):
            directory.mkdir(parents=True)
        self.configure()
        self._index()

    def configure(self, options: str = "", more: str = "") -> None:
        """Write its configuration; ``more`` are further repositories."""
        head = f"[options]\nSigLevel = Never\nArchitecture = auto\n{options}\n"
        self.write("etc/pacman.conf", f"{head}[updates]\nServer = file:///srv/updates\n{more}")

    def install(self, name: str) -> None:
        """Install version 1 of a package, as the guest's administrator once did."""
        file = self._build(self.root / "tmp", name, "1-1", "")
        self.call("pacman", "-U", "--noconfirm", f"/tmp/{file.name}")

    def publish(self, name: str, script: str = "") -> Path:
        """Add version 2 of a package to the repository; ``script`` is run after an upgrade to it."""
        file = self._build(self.repository, name, "2-1", script)
        self._index(file)
        return file

    def _build(self, directory: Path, name: str, version: str, script: str) -> Path:
        files = {
            ".PKGINFO": f"pkgname = {name}\npkgver = {version}\npkgdesc = a test\nsize = 1\narch = any\n",
            f"opt/{name}": version,
        }
        if script:
            files[".INSTALL"] = f"post_upgrade() {{\n{script}\n}}\n"
        path = directory / f"{name}-{version}-any.pkg.tar"
        with tarfile.open(path, "w") as archive:
            for place, text in files.items():
                member = tarfile.TarInfo(place)
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return path

    def _index(self, *files: Path) -> None:
        database = self.repository / "updates.db.tar"
        subprocess.run(["repo-add", "-q", database, *files], check=True, capture_output=True)


def read_step(directory: Path) -> Ended:
    """Read what the worker of a kit wrote."""
    end, unchanged, text = (directory / "end").read_text().splitlines()
    packages = directory / "packages"
    rows = [line.split("\t") for line in packages.read_text().splitlines()] if packages.exists() else []
    return Ended(
        end="reboot" if (end, "; a reboot is due." in text) == ("success", True) else end,
        text=text,
        packages={name.partition(".")[0]: (old, new) for name, old, new in rows},
        unchanged=unchanged == "true",
        output=(directory / "log").read_text(errors="replace"),
    )


def read_events(run: Run) -> Ended:
    """Read what a worker wrote."""
    events, offset = [], 0
    while True:
        more, offset = run.events(offset)
        if not more:
            break
        events += more
    last = events[-1]
    assert "end" in last, events
    changed = next((event["packages"] for event in events if "packages" in event), [])
    assert isinstance(changed, list)
    return Ended(
        end=str(last["end"]),
        text=str(last["text"]),
        packages={name.partition(".")[0]: (old, new) for name, old, new in changed},
        unchanged=bool(last.get("unchanged")),
        output="\n".join(str(event["output"]) for event in events if "output" in event),
    )
