"""Places of the agent's files in the guest."""

import os

#: The name of the virtio-serial port between the agent and the host.
PORT_NAME = "org.innkeeper.agent.0"


class Places:
    """Every path the agent uses, under one root: ``/`` in a guest, a directory of its own in a test."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        #: What the agent remembers across restarts and reboots.
        self.journal = self.under("var/lib/innkeeper/agent/journal")
        #: How its boots went, for the host to compare with.
        self.boots = self.under("var/lib/innkeeper/agent/boots")
        #: One directory for each update that was started.
        self.runs = self.under("var/lib/innkeeper/agent/runs")
        #: The named values that host and guest share.
        self.parameters = self.under("var/lib/innkeeper/parameters")
        #: Where programs in the guest book updates.
        self.control = self.under("run/innkeeper/agent.sock")
        self.plugins = self.under("etc/innkeeper/agent/plugins.d")
        #: Which ports channels may reach.
        self.channels = self.under("etc/innkeeper/agent/channels.conf")
        #: The script plug-in's scripts.
        self.scripts = self.under("etc/innkeeper/agent/update.d")
        self.required_checks = self.under("etc/innkeeper/health/required.d")
        self.wanted_checks = self.under("etc/innkeeper/health/wanted.d")
        #: Made by packages that want a reboot.
        self.reboot_marks = (self.under("run/reboot-required"), self.under("run/reboot-needed"))
        #: There when systemd runs the guest.
        self.systemd = self.under("run/systemd/system")
        self.os_release = self.under("etc/os-release")

    def under(self, path: str) -> str:
        """Return the path as seen from the root."""
        return os.path.join(self.root, path)

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs this guest."""
        return os.path.isdir(self.systemd)

    @property
    def boot_id(self) -> str:
        """What tells this boot from every other."""
        path = "proc/sys/kernel/random/boot_id"
        return read_text(self.under(path)) or read_text("/" + path)

    @property
    def os_name(self) -> str:
        """The operating system's own name for itself."""
        for line in read_text(self.os_release).splitlines():
            if line.startswith("PRETTY_NAME="):
                return line[len("PRETTY_NAME=") :].strip("\"'")
        return os.uname().sysname


def read_text(path: str) -> str:
    """Return a small file's text, stripped; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1024 * 1024).strip()
    except OSError:
        return ""


def write_durably(path: str, data: bytes) -> None:
    """Replace a file so that after a crash it is either the old one or the new one."""
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(path + ".new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(path + ".new", path)
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
