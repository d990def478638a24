"""Libvirt daemons of this user's own: near, or as good as on another computer, by TLS and by SSH.

A far daemon lives in a mount namespace, where a file system of its own hides one folder: what the service
does with files there, it does through libvirt.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import libvirt
import pytest

_STARTS_S = 60.0
_NSS_WRAPPER = Path("/usr/lib/x86_64-linux-gnu/libnss_wrapper.so")


class Daemon:
    """A libvirtd of this user's own, that can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """The directory of all its files."""
        return self._home

    @property
    def socket(self) -> Path:
        """Where it listens on this computer."""
        return self._home / "run/libvirt/libvirt-sock"

    @property
    def uri(self) -> str:
        """How to reach it."""
        return f"qemu+unix:///session?socket={self.socket}"

    @property
    def environment(self) -> dict[str, str]:
        """Where it keeps its files."""
        return {f"XDG_{name}": str(self._home / directory) for name, directory in
                (("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("CACHE_HOME", "cache"))}  # fmt: skip

    @property
    def command(self) -> list[str]:
        """The program and its arguments."""
        return ["libvirtd"]

    def start(self) -> None:
        """Start it; it listens soon."""
        (self._home / "run").mkdir(exist_ok=True, mode=0o700)
        self._process = subprocess.Popen(
            self.command, env=os.environ | self.environment, stderr=subprocess.DEVNULL
        )

    def stop(self) -> None:
        """Make it silent: it accepts and answers nothing."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as a crash would; its machines go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class ModularDaemon(Daemon):
    """A virtqemud of this user's own: the daemon for QEMU alone, of libvirt's modular ones."""

    @property
    def socket(self) -> Path:
        """Where it listens on this computer."""
        return self._home / "run/libvirt/virtqemud-sock"

    @property
    def command(self) -> list[str]:
        """The program and its arguments."""
        return ["virtqemud"]


#: A daemon of either kind, for tests that run over both: not every distribution has the modular one.
KINDS = (
    pytest.param(Daemon, id="libvirtd"),
    pytest.param(
        ModularDaemon,
        id="virtqemud",
        marks=pytest.mark.skipif(shutil.which("virtqemud") is None, reason="virtqemud is not installed"),
    ),
)


class FarDaemon(Daemon):
    """A libvirtd that answers by TLS, and whose ``disks`` only it and its QEMUs see."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._keeper: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.disks = home / "disks"
        self.disks.mkdir()
        make_certificates(home / "pki")
        (home / "libvirtd.conf").write_text(
            f'listen_tls = 1\nlisten_tcp = 0\nlisten_addr = "127.0.0.1"\ntls_port = "{self.port}"\n'
            f'key_file = "{home}/pki/serverkey.pem"\ncert_file = "{home}/pki/servercert.pem"\n'
            f'ca_file = "{home}/pki/cacert.pem"\nauth_tls = "none"\nhost_uuid = "{_host_uuid(home)}"\n'
        )

    @property
    def uri(self) -> str:
        """How to reach it as another computer."""
        return self.tls_uri(self.port)

    def tls_uri(self, port: int) -> str:
        """How to reach it by what stands at a port of this computer."""
        return f"qemu+tls://127.0.0.1:{port}/session?pkipath={self._home}/pki"

    @property
    def command(self) -> list[str]:
        """The program, in the namespace that the keeper holds open."""
        return [*self._enter(), "libvirtd", "--listen", "-f", str(self._home / "libvirtd.conf")]

    def run(self, *command: str | Path) -> None:
        """Run a program there."""
        subprocess.run([*self._enter(), *command], check=True, capture_output=True)

    def _enter(self) -> list[str]:
        assert self._keeper is not None
        return ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self._keeper.pid)]

    def start(self) -> None:
        """Start it, in the namespace of its former lives."""
        if self._keeper is None:
            self._keeper = self._hidden()
        super().start()

    def _hidden(self) -> subprocess.Popen[bytes]:
        """A process whose mount namespace has a file system of its own at the folder of disks."""
        return _namespace(f"mount -t tmpfs -o size=512M,mode=0755 none {self.disks}")

    @property
    def inside(self) -> Path:
        """The hidden folder, as the test may look into it."""
        assert self._keeper is not None
        return Path(f"/proc/{self._keeper.pid}/root{self.disks}")

    def end(self) -> None:
        """End all that lives there."""
        self.kill()
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()


class HookedDaemon(FarDaemon):
    """A libvirtd of this user's own with a hook for its machines, in a mount namespace."""

    def __init__(self, home: Path, hook: Path) -> None:
        super().__init__(home)
        self._hook = hook

    def _hidden(self) -> subprocess.Popen[bytes]:
        hooks = "/etc/libvirt/hooks/qemu.d"
        return _namespace(
            f"mount -t tmpfs -o mode=0755 none /etc/libvirt && mkdir -p {hooks} && "
            f"install -m 755 {self._hook} {hooks}/innkeeper"
        )


def _namespace(script: str) -> subprocess.Popen[bytes]:
    """A process in a mount namespace of its own, in which the script was run."""
    keeper = subprocess.Popen(
        ["unshare", "-Um", "--map-current-user", "--keep-caps", "sh", "-c",
         f"{script} && echo ready && exec sleep infinity"], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == b"ready\n", "no mount namespace can be made here"
    return keeper


def _host_uuid(home: Path) -> str:
    """A UUID for the host, the same at each start of its daemon."""
    file = home / "host-uuid"
    if not file.exists():
        file.write_text(Path("/proc/sys/kernel/random/uuid").read_text())
    return file.read_text().strip()


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def make_certificates(directory: Path) -> None:
    """Make an authority, and certificates of it for a daemon at 127.0.0.1 and for its client."""
    directory.mkdir()

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        "req", "-x509", *key, "-keyout", "cakey.pem", "-out", "cacert.pem", "-days", "2", "-subj", "/CN=inn"
    )
    for name, extension in (("server", "subjectAltName=IP:127.0.0.1,DNS:localhost"), ("client", "")):
        subject = f"/O=inn/CN=peer-{name}"
        openssl("req", *key, "-keyout", f"{name}key.pem", "-out", f"{name}.csr", "-subj", subject)
        (directory / "extension").write_text(extension)
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "cacert.pem", "-CAkey", "cakey.pem",
            "-CAcreateserial", "-days", "2", "-extfile", "extension", "-out", f"{name}cert.pem",
        )  # fmt: skip


async def until_it_answers(uri: str) -> None:
    """Wait until a daemon answers there; raises its last word where it never does."""
    until = time.monotonic() + _STARTS_S
    while True:
        try:
            connect = await asyncio.to_thread(libvirt.open, uri)
        except libvirt.libvirtError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)
        else:
            connect.close()
            return


@contextlib.contextmanager
def a_home() -> Iterator[Path]:
    """A directory with a short name, for sockets lie below it."""
    home = Path(tempfile.mkdtemp(prefix="ik-", dir="/tmp"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


class SshServer:
    """An sshd of this user's own on the loopback, and the command with which it is reached."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        home = self._home = Path(tempfile.mkdtemp(prefix="ssh-", dir=home))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("host", "user"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / f"{name}_key"))
        shutil.copy(home / "user_key.pub", home / "authorized_keys")
        known = f"[127.0.0.1]:{self.port} {(home / 'host_key.pub').read_text()}"
        (home / "known_hosts").write_text(known)
        given = " ".join(f"{name}={value}" for name, value in environment.items())
        (home / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {home}/host_key\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {home}/authorized_keys\nStrictModes no\nSetEnv {given}\n"
        )
        (home / "ssh_config").write_text(
            f"Host *\n Port {self.port}\n IdentityFile {home}/user_key\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {home}/known_hosts\n StrictHostKeyChecking yes\n ConnectTimeout 10\n"
        )
        self.ssh = home / "ssh"
        self.ssh.write_text(f'#!/bin/sh\nexec ssh -F {home}/ssh_config "$@"\n')
        self.ssh.chmod(0o700)

    def start(self) -> None:
        """Start it. The user's shell may be none that sshd starts, and its home none that it may read."""
        user = pwd.getpwuid(os.getuid())
        passwd = self._home / "passwd"
        passwd.write_text(f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{self._home}:/bin/sh\n"
                          "sshd:x:99999:99999::/:/bin/false\n")  # fmt: skip
        (self._home / "group").write_text(f"users:x:{user.pw_gid}:\n")
        wrapped = {
            "LD_PRELOAD": str(_NSS_WRAPPER), "NSS_WRAPPER_PASSWD": str(passwd),
            "NSS_WRAPPER_GROUP": str(self._home / "group"),
        }  # fmt: skip
        log = str(self._home / "sshd.log")
        self._process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-f", str(self._home / "sshd_config"), "-E", log],
            env=os.environ | wrapped,
        )

    def end(self) -> None:
        """End it; connections that are open go on."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def uri(self, daemon: Daemon) -> str:
        """How a daemon of this user's is reached through it."""
        user = pwd.getpwuid(os.getuid()).pw_name
        return f"qemu+ssh://{user}@127.0.0.1/session?socket={daemon.socket}&command={self.ssh}&proxy=netcat&netcat=nc"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class SlowWire:
    """A proxy before a daemon that hands every byte on late, and that can cut all wires."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.delay_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def cut(self) -> None:
        """Cut every connection in the middle of whatever is said."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()
        self.cut()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        self._writers |= {writer, there_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(self._hand_on(reader, there_writer), self._hand_on(there_reader, writer))
        self._writers -= {writer, there_writer}

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        writing = asyncio.ensure_future(write())
        try:
            while data := await reader.read(65536):
                late.put_nowait((loop.time() + self.delay_s, data))
        finally:
            late.put_nowait((loop.time() + self.delay_s, b""))
            await writing


@contextlib.asynccontextmanager
async def slow_wire(port: int) -> AsyncIterator[SlowWire]:
    """A proxy before the port, while it is needed."""
    wire = SlowWire(port)
    await wire.open()
    try:
        yield wire
    finally:
        await wire.close()


def what_ssh_needs() -> str:
    """What is missing for an sshd of this user's own; empty for nothing."""
    missing = [name for name in ("/usr/sbin/sshd", str(_NSS_WRAPPER)) if not Path(name).exists()]
    return ", ".join(missing)
