"""Boot the tiny guest with TCP servers, a raw port and a network, beside the real task agent."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from innkeeper.machines.guest.bundle import agent_bundle
from tests.guests import cpio, tiny

ECHO_PORT, SINK_PORT, SOURCE_PORT = 7001, 7002, 7003
#: The host's ports that QEMU's user network forwards to these.
FORWARDED = {ECHO_PORT: 47001, SINK_PORT: 47002, SOURCE_PORT: 47003}

#: What runs in the guest, beside the agent: the same servers for every way.
_PROGRAM = '''
import os, select, signal, socket

def echo(sock):
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)

def sink(sock):
    buffer, total = bytearray(1 << 18), 0
    while True:
        size = sock.recv_into(buffer)
        if not size:
            break
        total += size
    sock.sendall(b"%d" % total)

def source(sock):
    left = int(sock.recv(64))
    data = bytes(1 << 18)
    while left > 0:
        sock.sendall(data[:left])
        left -= len(data)

def serve(port, work):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    listener.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        sock, _ = listener.accept()
        # A process each: threads of one Python would wait for one another, whatever the way to them.
        if os.fork() == 0:
            listener.close()
            try:
                work(sock)
            except OSError:
                pass
            os._exit(0)
        sock.close()

def raw():
    """Words on a port of its own: echo, sink SIZE, source SIZE."""
    fd = os.open("/dev/virtio-ports/org.innkeeper.bench.0", os.O_RDWR)
    views = [memoryview(bytearray(4096)) for _ in range(16)]
    while True:
        word = os.read(fd, 64)
        if word.startswith(b"e"):
            os.write(fd, word)
        elif word.startswith(b"sink"):
            left = int(word[4:])
            os.write(fd, b"go")
            while left > 0:
                left -= os.readv(fd, views)
            os.write(fd, b"done")
        elif word.startswith(b"source"):
            left, data = int(word[6:]), bytes(32768)
            while left > 0:
                left -= os.write(fd, data[:left])
        elif not word:
            select.select([], [], [], 0.2)

for port, work in ((7001, echo), (7002, sink), (7003, source)):
    if os.fork() == 0:
        serve(port, work)
raw()
'''

_START = """#!/bin/sh
modules=/lib/modules/$(uname -r)/kernel
for module in net/core/failover drivers/net/net_failover drivers/net/virtio_net; do
    insmod "$modules/$module.ko"
done
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
exec /usr/bin/python3 -I -S /lib/innkeeper/bench.py >/dev/console 2>&1
"""


class BenchGuest:
    """A running guest, and the sockets to it."""

    def __init__(self, directory: Path) -> None:
        self.agent_port = directory / "agent"
        self.raw_port = directory / "raw"
        self.guest_agent_port = directory / "qga"
        self.console = directory / "console"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """QEMU's process."""
        assert self.process is not None
        return self.process.pid


@contextlib.contextmanager
def booted() -> Iterator[BenchGuest]:
    """Boot the guest; it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ikb-", dir="/tmp") as scratch:
        directory = Path(scratch)
        guest = BenchGuest(directory)
        guest.process = subprocess.Popen(_command(directory, guest), stdin=subprocess.DEVNULL)
        try:
            yield guest
        finally:
            guest.process.kill()
            guest.process.wait()


def _command(directory: Path, guest: BenchGuest) -> list[str]:
    cache = Path(os.environ.get("INNKEEPER_TEST_CACHE") or Path.home() / ".cache/innkeeper-tests")
    made = tiny.build(cache, agent_bundle())
    initrd = directory / "initrd"
    initrd.write_bytes(made.initrd.read_bytes() + _archive())
    disk = directory / "disk"
    tiny.data_disk(disk)
    forwards = ",".join(
        f"hostfwd=tcp:127.0.0.1:{host}-10.0.2.15:{inner}" for inner, host in FORWARDED.items()
    )
    ports = (
        (guest.agent_port, "agent", "org.innkeeper.agent.0"),
        (guest.raw_port, "raw", "org.innkeeper.bench.0"),
        (guest.guest_agent_port, "qga", "org.qemu.guest_agent.0"),
    )
    words = [
        "qemu-system-x86_64", "-machine", "q35", *made.qemu_arguments(), "-m", "256",
        "-nodefaults", "-display", "none", "-kernel", str(made.kernel), "-initrd", str(initrd),
        "-append", "console=ttyS0 quiet panic=-1", "-serial", f"file:{guest.console}",
        "-drive", f"file={disk},if=virtio,format=raw",
        "-netdev", f"user,id=net,restrict=off,{forwards}", "-device", "virtio-net-pci,netdev=net",
        "-device", "virtio-serial",
    ]  # fmt: skip
    for path, name, port in ports:
        words += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
        words += ["-device", f"virtserialport,chardev={name},name={port}"]
    return words


def _archive() -> bytes:
    """A further archive behind the guest's own: what lies in it comes last, and counts."""
    overlay = Path(tiny.__file__).with_name("root")
    inittab = (overlay / "etc/inittab").read_text() + "::respawn:/sbin/bench\n"
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for path, text in (
            ("etc/inittab", inittab),
            ("sbin/bench", _START),
            ("lib/innkeeper/bench.py", _PROGRAM),
        ):
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        archive = io.BytesIO()
        cpio.write_tree(root, archive)
        return archive.getvalue()
