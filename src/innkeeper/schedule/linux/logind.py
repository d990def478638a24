"""Sessions of people, from systemd-logind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pwd
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from innkeeper.schedule.linux.boot import boot_id
from innkeeper.schedule.model.enumerations import SessionStateChange
from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import LoggedOn, Occasion, SessionChanged
from innkeeper.schedule.running.sources import OnOccasion
from innkeeper.tasks.ports import Clock

_LOGIND: Final = "org.freedesktop.login1"
_MANAGER: Final = "org.freedesktop.login1.Manager"
_SESSION: Final = "org.freedesktop.login1.Session"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_ROOT: Final = "/org/freedesktop/login1"
_TIMEOUT_SECONDS: Final = 10.0
#: Sessions of people; greeters, screens of locks and background sessions are none.
_PEOPLE: Final = frozenset({"user", "user-early", "user-incomplete"})

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One session of a person, as logind reports it."""

    id: str
    user: str
    is_remote: bool = False
    is_active: bool = False
    is_locked: bool = False
    #: Its terminal, such as ``pts/0``; empty where it has none.
    tty: str = ""

    def changes(self, before: Session | None) -> list[SessionStateChange]:
        """Return what has happened to the session since an earlier look; a new one is a connection."""
        remote, found = self.is_remote, []
        was_active = before is not None and before.is_active
        if self.is_active and not was_active:
            found.append(SessionStateChange.REMOTE_CONNECT if remote else SessionStateChange.CONSOLE_CONNECT)
        if was_active and not self.is_active:
            found.append(
                SessionStateChange.REMOTE_DISCONNECT if remote else SessionStateChange.CONSOLE_DISCONNECT
            )
        was_locked = before is not None and before.is_locked
        if self.is_locked is not was_locked:
            found.append(
                SessionStateChange.SESSION_LOCK if self.is_locked else SessionStateChange.SESSION_UNLOCK
            )
        return found


class Logind:
    """Source of log-ons and of sessions' changes; also answers who is logged on and whether they are idle."""

    watches = Watch.LOGON | Watch.SESSION

    def __init__(
        self, *, clock: Clock, boot_id: Callable[[], str] = boot_id, address: str | None = None
    ) -> None:
        """``address`` is the bus; the system's where ``None``."""
        self._clock = clock
        self._read_boot_id = boot_id
        self._boot_id = ""
        self._address = address
        self._sessions: dict[str, Session] = {}
        self._ids: dict[str, str] = {}
        self._counter = 0
        self._idle: bool | None = None
        self.missing = "the service has not asked systemd-logind yet"

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The present sessions of people."""
        return tuple(self._sessions.values())

    def users(self) -> tuple[str, ...]:
        """Names of who is logged on."""
        return tuple({session.user for session in self._sessions.values()})

    def user_of(self, number: int) -> str | None:
        """The user of the session of a number."""
        session = self._sessions.get(str(number))
        return None if session is None else session.user

    @property
    def is_idle(self) -> bool | None:
        """Whether nobody is active (``IdleHint``); ``None`` where that is not known."""
        return None if self.missing else self._idle

    async def run(self, on_occasion: OnOccasion) -> None:
        """Report log-ons and all changes of sessions, until the bus goes away."""
        self._boot_id = await asyncio.to_thread(self._read_boot_id)
        try:
            bus = await self._connected()
        except (OSError, DBusError, EOFError, ValueError, TimeoutError) as problem:
            self.missing = f"systemd-logind does not answer on the system bus ({_words(problem)})"
            return
        try:
            await self._listen(bus, on_occasion)
        except (DBusError, EOFError, TimeoutError, OSError) as problem:
            self.missing = f"systemd-logind does not answer ({_words(problem)})"
        finally:
            self._sessions.clear()
            self._ids.clear()
            bus.disconnect()

    # Machinery

    async def _connected(self) -> MessageBus:
        bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM)
        return await asyncio.wait_for(bus.connect(), _TIMEOUT_SECONDS)

    async def _listen(self, bus: MessageBus, on_occasion: OnOccasion) -> None:
        signals: asyncio.Queue[Message] = asyncio.Queue()
        bus.add_message_handler(lambda message: _take(message, signals))
        # Subscribed first, asked second: a session that comes in between is seen by one of them.
        for rule in (
            f"type='signal',sender='{_LOGIND}',interface='{_MANAGER}'",
            f"type='signal',sender='{_LOGIND}',interface='{_PROPERTIES}'",
            f"type='signal',sender='{_LOGIND}',interface='{_SESSION}'",
            f"type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{_LOGIND}'",
        ):
            await _call(
                bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "AddMatch", rule
            )
        await self._look(bus, on_occasion)
        self.missing = ""
        gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # theirs
        try:
            while not gone.done():
                taking = asyncio.create_task(signals.get())
                await asyncio.wait([taking, gone], return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    break
                await self._on_signal(bus, taking.result(), on_occasion)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, EOFError, OSError):
                await gone
        self.missing = "the system bus has gone"

    async def _look(self, bus: MessageBus, on_occasion: OnOccasion) -> None:
        manager = await _properties(bus, _ROOT, _MANAGER)
        self._idle = _flag(manager, "IdleHint")
        (listed,) = await _call(bus, _LOGIND, _ROOT, _MANAGER, "ListSessions")
        for row in listed:
            await self._learn(bus, str(row[0]), str(row[4]), on_occasion)

    async def _on_signal(self, bus: MessageBus, message: Message, on_occasion: OnOccasion) -> None:
        body = message.body
        match message.member:
            case "SessionNew":
                await self._learn(bus, str(body[0]), str(body[1]), on_occasion)
            case "SessionRemoved":
                await self._lose(str(body[0]), str(body[1]), on_occasion)
            case "PropertiesChanged" if message.path == _ROOT:
                changed = {name: variant.value for name, variant in body[1].items()}
                self._idle = bool(changed.get("IdleHint", self._idle))
            case "PropertiesChanged" if message.path in self._ids:
                await self._learn(bus, self._ids[message.path], str(message.path), on_occasion)
            case "Lock" | "Unlock" if message.path in self._ids:
                # LockedHint follows where the desktop tells; many screens of locks do not.
                session = self._sessions[self._ids[str(message.path)]]
                await self._note(
                    dataclasses.replace(session, is_locked=message.member == "Lock"), on_occasion
                )
            case "NameOwnerChanged" if not body[2]:
                raise EOFError("it has gone")

    async def _learn(self, bus: MessageBus, identifier: str, path: str, on_occasion: OnOccasion) -> None:
        try:
            properties = await _properties(bus, path, _SESSION)
        except DBusError:
            return  # it has ended in the meantime
        if properties.get("Class", Variant("s", "user")).value not in _PEOPLE:
            return
        self._ids[path] = identifier
        await self._note(await asyncio.to_thread(_session, identifier, properties), on_occasion)

    async def _note(self, session: Session, on_occasion: OnOccasion) -> None:
        before = self._sessions.get(session.id)
        self._sessions[session.id] = session
        if before is None:
            words = f"{session.user} has logged on"
            key = f"logon:{self._boot_id}:{session.id}"
            await on_occasion(LoggedOn(key=key, at=self._clock.now(), words=words, user=session.user))
        for change in session.changes(before):
            await on_occasion(self._changed(session, change))

    async def _lose(self, identifier: str, path: str, on_occasion: OnOccasion) -> None:
        self._ids.pop(path, None)
        session = self._sessions.pop(identifier, None)
        if session is not None and session.is_active:
            for change in dataclasses.replace(session, is_active=False).changes(session):
                await on_occasion(self._changed(session, change))

    def _changed(self, session: Session, change: SessionStateChange) -> Occasion:
        now = self._clock.now()
        self._counter += 1
        return SessionChanged(
            key=f"session:{self._boot_id}:{session.id}:{now.isoformat()}:{self._counter}",
            at=now,
            words=f"{change.name.lower().replace('_', ' ')} of {session.user}",
            user=session.user,
            change=change,
        )


def _take(message: Message, signals: asyncio.Queue[Message]) -> None:
    if message.message_type is MessageType.SIGNAL:
        signals.put_nowait(message)


async def _call(
    bus: MessageBus, name: str, path: str, interface: str, member: str, *body: str
) -> list[list[list[object]]]:
    message = Message(
        destination=name,
        path=path,
        interface=interface,
        member=member,
        signature="s" * len(body),
        body=list(body),
    )
    reply = await asyncio.wait_for(bus.call(message), _TIMEOUT_SECONDS)
    if reply is None or reply.message_type is MessageType.ERROR:
        raise DBusError(
            "org.freedesktop.DBus.Error.Failed" if reply is None else str(reply.error_name),
            str(reply.body[0]) if reply is not None and reply.body else "no answer",
        )
    return list(reply.body)


async def _properties(bus: MessageBus, path: str, interface: str) -> Mapping[str, Variant]:
    message = Message(
        destination=_LOGIND,
        path=path,
        interface=_PROPERTIES,
        member="GetAll",
        signature="s",
        body=[interface],
    )
    reply = await asyncio.wait_for(bus.call(message), _TIMEOUT_SECONDS)
    if reply is None or reply.message_type is MessageType.ERROR:
        raise DBusError("org.freedesktop.DBus.Error.Failed", f"{path} tells nothing")
    found: Mapping[str, Variant] = reply.body[0]
    return found


def _session(identifier: str, properties: Mapping[str, Variant]) -> Session:
    return Session(
        id=identifier,
        user=_user(properties),
        is_remote=_flag(properties, "Remote"),
        is_active=_flag(properties, "Active"),
        is_locked=_flag(properties, "LockedHint"),
        tty=str(properties["TTY"].value) if "TTY" in properties else "",
    )


def _user(properties: Mapping[str, Variant]) -> str:
    """The account's name: by number, as that is what the kernel knows."""
    uid = properties["User"].value[0] if "User" in properties else -1
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(properties["Name"].value) if "Name" in properties else ""


def _flag(properties: Mapping[str, Variant], name: str) -> bool:
    return name in properties and properties[name].value is True


def _words(problem: BaseException) -> str:
    return str(problem).strip() or type(problem).__name__
