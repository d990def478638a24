"""A small logind for the tests: it owns logind's name on a private bus, and has sessions to command."""

import asyncio
import contextlib
from pathlib import Path
from typing import Self

from dbus_fast import PropertyAccess, RequestNameReply
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

ROOT = "/org/freedesktop/login1"
_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>"""


@contextlib.asynccontextmanager
async def private_bus(directory: Path):
    """A real dbus-daemon of the test's own; its address."""
    file, socket = directory / "bus.conf", directory / "bus"
    file.write_text(_CONFIGURATION.format(socket=socket))
    process = await asyncio.create_subprocess_exec(
        "dbus-daemon", f"--config-file={file}", "--nofork", "--print-address", stdout=asyncio.subprocess.PIPE
    )
    try:
        await asyncio.wait_for(process.stdout.readline(), 10)
        yield f"unix:path={socket}"
    finally:
        process.kill()
        await process.wait()


class Manager(ServiceInterface):
    """``org.freedesktop.login1.Manager``."""

    def __init__(self) -> None:
        super().__init__("org.freedesktop.login1.Manager")
        self.sessions: dict[str, SessionObject] = {}
        self.idle = False

    @dbus_method()
    def ListSessions(self) -> "a(susso)":  # noqa: F821, N802
        return [[each.id, each.uid, each.user_name, "seat0", each.path] for each in self.sessions.values()]

    @dbus_signal()
    def SessionNew(self, identifier, path) -> "so":  # noqa: F821, N802
        return [identifier, path]

    @dbus_signal()
    def SessionRemoved(self, identifier, path) -> "so":  # noqa: F821, N802
        return [identifier, path]

    @dbus_property(access=PropertyAccess.READ)
    def IdleHint(self) -> "b":  # noqa: F821, N802
        return self.idle


class SessionObject(ServiceInterface):
    """``org.freedesktop.login1.Session``."""

    def __init__(self, identifier: str, uid: int, name: str, *, remote: bool = False, kind: str = "user"):
        super().__init__("org.freedesktop.login1.Session")
        self.id, self.uid, self.user_name = identifier, uid, name
        self.path = f"{ROOT}/session/_3{identifier}"
        self.remote, self.kind, self.active, self.locked = remote, kind, True, False

    @dbus_property(access=PropertyAccess.READ)
    def Class(self) -> "s":  # noqa: F821, N802
        return self.kind

    @dbus_property(access=PropertyAccess.READ)
    def User(self) -> "(uo)":  # noqa: F821, N802
        return [self.uid, f"{ROOT}/user/_{self.uid}"]

    @dbus_property(access=PropertyAccess.READ)
    def Name(self) -> "s":  # noqa: F821, N802
        return self.user_name

    @dbus_property(access=PropertyAccess.READ)
    def Remote(self) -> "b":  # noqa: F821, N802
        return self.remote

    @dbus_property(access=PropertyAccess.READ)
    def Active(self) -> "b":  # noqa: F821, N802
        return self.active

    @dbus_property(access=PropertyAccess.READ)
    def LockedHint(self) -> "b":  # noqa: F821, N802
        return self.locked

    @dbus_property(access=PropertyAccess.READ)
    def TTY(self) -> "s":  # noqa: F821, N802
        return "pts/0"

    @dbus_signal()
    def Lock(self) -> None:  # noqa: N802
        return None


class FakeLogind:
    """Logind's name, its manager and its sessions, on one connection."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus
        self.manager = Manager()
        bus.export(ROOT, self.manager)

    @classmethod
    async def at(cls, address: str) -> Self:
        bus = await MessageBus(bus_address=address).connect()
        made = cls(bus)
        assert await bus.request_name("org.freedesktop.login1") is RequestNameReply.PRIMARY_OWNER
        return made

    def log_on(self, session: SessionObject) -> SessionObject:
        self.manager.sessions[session.id] = session
        self.bus.export(session.path, session)
        self.manager.SessionNew(session.id, session.path)
        return session

    def log_off(self, session: SessionObject) -> None:
        del self.manager.sessions[session.id]
        self.manager.SessionRemoved(session.id, session.path)
        self.bus.unexport(session.path)

    def change(self, session: SessionObject, **properties: bool) -> None:
        names = {"active": "Active", "locked": "LockedHint"}
        for name, value in properties.items():
            setattr(session, name, value)
        session.emit_properties_changed({names[name]: value for name, value in properties.items()})

    def set_idle(self, idle: bool) -> None:
        self.manager.idle = idle
        self.manager.emit_properties_changed({"IdleHint": idle})
