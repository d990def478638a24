"""Registry of folders and tasks, as documented for ``ITaskFolder``."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Mapping, Sequence

from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.memory_store import folder_taken, taken
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import LogonType, TaskCreation
from innkeeper.schedule.path import SchedulePath
from innkeeper.schedule.ports import Accounts, Calendars, ScheduleStore
from innkeeper.schedule.registered import Folder, Registered, Watch
from innkeeper.schedule.running import due
from innkeeper.schedule.running.whom import settle
from innkeeper.schedule.security.guard import Guard, Who, with_principal
from innkeeper.schedule.security.sddl import Right
from innkeeper.schedule.security.sddl import parse as parse_sddl
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.tasks.ports import Clock

_HOW = TaskCreation.VALIDATE_ONLY | TaskCreation.CREATE_OR_UPDATE
_KNOWN = 0x3F
#: Documented: so many tasks may wait for events.
MOST_LISTENERS = 500
_WITHOUT_USER = frozenset({LogonType.NONE, LogonType.INTERACTIVE_TOKEN, LogonType.GROUP})


class Registry:
    """The folders of the service, and the tasks registered in them.

    What is refused is refused whole: nothing is stored of it, no folder and no task.
    """

    def __init__(
        self,
        *,
        store: ScheduleStore,
        accounts: Accounts,
        calendars: Calendars,
        clock: Clock,
        home: dt.tzinfo,
        changed: Callable[[], None] = lambda: None,
        server: str = "",
    ) -> None:
        """``changed`` is called when a task was registered, changed or deleted.

        ``server`` is the id of this server, of those that share the store.
        """
        self._server = server
        self._changed = changed
        self._store = store
        self._accounts = accounts
        self._calendars = calendars
        self._clock = clock
        self._home = home

    # Folders

    async def folder(self, text: str) -> Folder:
        """The folder of this path (``GetFolder``). Raises ``ScheduleError`` (0x80070002)."""
        path = SchedulePath.parse(text)
        if path.is_root:
            return await self._root()
        found = next((each for each in await self._store.folders() if each.path.key == path.key), None)
        if found is None:
            raise _no_folder(path)
        return found

    async def folders(self, parent: SchedulePath) -> Sequence[Folder]:
        """The folders directly in one (``GetFolders``), as they are now."""
        found = await self._store.folders()
        return [each for each in found if each.path.parent.key == parent.key and not each.path.is_root]

    async def create_folder(self, text: str, sddl: str = "", *, under: SchedulePath | None = None) -> Folder:
        """Create a folder, and those above it (``CreateFolder``). Raises ``ScheduleError`` (0x800700B7)."""
        path = SchedulePath.parse(text, under=under)
        if sddl:
            parse_sddl(sddl)
        known = {each.path.key for each in await self._store.folders()}
        if path.is_root or path.key in known:
            raise folder_taken(path)
        if await self._store.find(path) is not None:
            raise taken(path)
        made = [Folder(path=each) for each in _around(path) if each.key not in known]
        await self._store.put_folders([*made, Folder(path=path, sddl=sddl)])
        return Folder(path=path, sddl=sddl)

    async def delete_folder(self, text: str, flags: int = 0, *, under: SchedulePath | None = None) -> None:
        """Remove an empty folder (``DeleteFolder``).

        Raises ``ScheduleError``: 0x80070002 where there is none, 0x80070091 where it is not empty, and
        ``InvalidArgument`` for flags, of which there are none.
        """
        _no_flags(flags)
        folder = await self.folder(str(SchedulePath.parse(text, under=under)))
        if folder.path.is_root:
            raise InvalidArgument("The root folder cannot be deleted.", code=ErrorCode.E_ACCESSDENIED)
        if await self.folders(folder.path) or await self._store.tasks(folder.path):
            raise ScheduleError(
                f"The folder {folder.path} is not empty.",
                code=ErrorCode.ERROR_DIR_NOT_EMPTY,
                advice="Delete its tasks and folders first.",
            )
        await self._store.remove_folder(folder.path)

    async def set_folder_descriptor(self, folder: Folder, sddl: str) -> Folder:
        """Set a folder's security descriptor (``SetSecurityDescriptor``)."""
        changed = dataclasses.replace(folder, sddl=parse_sddl(sddl).text() if sddl else "")
        await self._store.put_folders([changed])
        return changed

    # Tasks

    async def task(self, text: str, *, under: SchedulePath | None = None) -> Registered:
        """The task of this path (``GetTask``). Raises ``ScheduleError`` (0x80070002)."""
        path = SchedulePath.parse(text, under=under)
        found = await self._store.find(path)
        if found is None:
            raise _no_task(path)
        return found

    async def tasks(self, folder: SchedulePath, *, hidden: bool = False) -> Sequence[Registered]:
        """The tasks directly in a folder (``GetTasks``), hidden ones where they are asked for."""
        return [task for task in await self._store.tasks(folder) if hidden or not task.hidden]

    async def all_tasks(self, *, hidden: bool = False) -> Sequence[Registered]:
        """The tasks of all folders, in the order of their paths."""
        return [task for task in await self._store.tasks() if hidden or not task.hidden]

    async def register(
        self,
        text: str | None,
        definition: TaskDefinition | str | bytes,
        flags: TaskCreation = TaskCreation.CREATE_OR_UPDATE,
        *,
        user_id: str | None = None,
        password: str | None = None,
        logon_type: LogonType = LogonType.NONE,
        sddl: str = "",
        owner: str,
        who: Who | None = None,
        under: SchedulePath | None = None,
        machines: Mapping[str, str] | None = None,
    ) -> Registered:
        """Register a task (``RegisterTask``, ``RegisterTaskDefinition``); without a path, in the root folder
        under a new name. Folders around it are created. ``who`` is the caller; ``None`` for the service.
        ``machines`` are the keys of the machines that its operations name, where they were looked for.

        Raises ``ScheduleError`` and ``InvalidArgument`` for all that the documents refuse.
        """
        flags = _checked(flags)
        path = SchedulePath.parse(due.new_run_id() if text is None else text, under=under)
        if path.is_root:
            raise InvalidArgument("A task needs a name.", code=ErrorCode.ERROR_INVALID_NAME)
        made = self._understood(definition, password=password)
        self._as_whom(made, user_id, logon_type)
        asking = who or Who(name=owner, identifiers=frozenset(), rules_all=True)
        await asyncio.to_thread(settle, made, asking, self._accounts)
        await self._check(made, path, owner)
        known = await self._store.find(path)
        if who is not None:
            await self._permit(who, path, known)
        sddl = await self._descriptor(made, sddl, flags)
        task = await self._row(made, path, known, flags, sddl=sddl, owner=owner)
        if machines is not None:
            task = dataclasses.replace(task, machines=tuple(machines.items()))
        if flags & TaskCreation.VALIDATE_ONLY:
            return task
        return await self._stored(task, made, known, flags)

    async def delete(self, text: str, flags: int = 0, *, under: SchedulePath | None = None) -> None:
        """Delete a task (``DeleteTask``). Raises ``ScheduleError`` (0x80070002)."""
        _no_flags(flags)
        await self._store.remove((await self.task(text, under=under)).id)
        self._changed()

    async def set_enabled(self, task: Registered, enabled: bool) -> Registered:
        """Enable or disable a task (``Enabled``); what came due while it was disabled is not made up for."""
        while not await self._store.change(task, changed := await self._enabled(task, enabled)):
            task = await self._again(task)
        self._changed()
        return changed

    async def _enabled(self, task: Registered, enabled: bool) -> Registered:
        definition = TaskDefinition.from_xml(task.xml)
        definition.settings.enabled = enabled
        xml = definition.to_xml(Encoding.UTF_8).decode()
        now = self._clock.now()
        changed = dataclasses.replace(task, enabled=enabled, xml=xml, handled_until=now)
        return await self._timed(changed, definition)

    async def _again(self, task: Registered) -> Registered:
        """Return a task as another has left it."""
        found = await self._store.get(task.id)
        if found is None:
            raise _no_task(task.path)
        return found

    async def set_descriptor(self, task: Registered, sddl: str, flags: int = 0) -> Registered:
        """Set a task's security descriptor (``SetSecurityDescriptor``); empty removes it.

        Raises ``ScheduleError`` for a text that is none, ``InvalidArgument`` for flags other than
        DONT_ADD_PRINCIPAL_ACE.
        """
        if flags & ~TaskCreation.DONT_ADD_PRINCIPAL_ACE:
            raise InvalidArgument(f"{flags:#x} are not flags of a descriptor.")
        while True:
            definition = TaskDefinition.from_xml(task.xml)
            text = await self._descriptor(definition, sddl, TaskCreation(flags))
            changed = dataclasses.replace(task, sddl=text)
            if await self._store.change(task, changed):
                return changed
            task = await self._again(task)

    async def guard(self) -> Guard:
        """Return the present descriptors of all folders."""
        return Guard(await self._store.folders())

    # Machinery

    async def _permit(self, who: Who, path: SchedulePath, known: Registered | None) -> None:
        guard = await self.guard()
        if known is not None:
            guard.check_task(who, Right.WRITE, known)
        else:
            guard.check_place(who, path)

    async def _descriptor(self, definition: TaskDefinition, sddl: str, flags: TaskCreation) -> str:
        """The descriptor to keep: the caller's, else the definition's own, with the principal's entry."""
        sddl = sddl or definition.registration_info.security_descriptor or ""
        if not sddl:
            return ""
        user = definition.principal.user_id
        if user is None or flags & TaskCreation.DONT_ADD_PRINCIPAL_ACE:
            return parse_sddl(sddl).text()
        return with_principal(sddl, await asyncio.to_thread(self._accounts.identifier, user))

    async def _root(self) -> Folder:
        root = SchedulePath(())
        return next((each for each in await self._store.folders() if each.path.is_root), Folder(path=root))

    def _understood(self, given: TaskDefinition | str | bytes, *, password: str | None) -> TaskDefinition:
        """Return the definition as registration reads it: strictly, whoever made it."""
        if password:
            raise ScheduleError(
                "Passwords are not kept here.",
                code=ErrorCode.SCHED_E_UNSUPPORTED_ACCOUNT_OPTION,
                advice="Register the task with another logon type, such as S4U.",
                node="Password",
            )
        if isinstance(given, TaskDefinition):
            given = given.to_xml(Encoding.UTF_8)
        return TaskDefinition.from_xml(given, strict=True)

    def _as_whom(self, definition: TaskDefinition, user_id: str | None, logon_type: LogonType) -> None:
        """Set the caller's account, which takes precedence over the definition's."""
        principal = definition.principal
        if user_id:
            principal.user_id, principal.group_id = user_id, None
        elif logon_type not in _WITHOUT_USER and principal.user_id is None:
            raise InvalidArgument(
                f"The logon type {logon_type.name} needs a user.",
                advice="Name one in the principal's UserId.",
            )
        if logon_type is not LogonType.NONE:
            principal.logon_type = logon_type

    async def _check(self, definition: TaskDefinition, path: SchedulePath, owner: str) -> None:
        now = self._clock.now()
        calendars = await self._calendars.named()
        plan = definition.plan(zone=self._home, calendars=calendars)
        if plan.is_over(now):
            raise ScheduleError(
                f"{path} would never run: its end boundaries have passed.",
                code=ErrorCode.SCHED_E_PAST_END_BOUNDARY,
                advice="Move the EndBoundary into the future.",
                node="EndBoundary",
                value=next((str(each.end_boundary) for each in definition.triggers if each.end_boundary), ""),
            )
        definition.registration_info.date = definition.registration_info.date or Boundary.of(
            now.astimezone(self._home).replace(tzinfo=None, microsecond=0)
        )
        definition.registration_info.uri = str(path)
        definition.registration_info.author = definition.registration_info.author or owner

    async def _row(
        self,
        definition: TaskDefinition,
        path: SchedulePath,
        known: Registered | None,
        flags: TaskCreation,
        *,
        sddl: str,
        owner: str,
    ) -> Registered:
        if flags & TaskCreation.DISABLE:
            definition.settings.enabled = False
        now = self._clock.now()
        row = Registered(
            id=0 if known is None else known.id,
            path=path,
            xml=definition.to_xml(Encoding.UTF_8).decode(),
            enabled=definition.settings.enabled,
            hidden=definition.settings.hidden,
            sddl=sddl or ("" if known is None else known.sddl),
            owner=owner,
            registered_at=now,
            seed=secrets.randbits(31) if known is None else known.seed,
            handled_until=now,
            watches=due.watches_of(definition),
            server=self._server,
        )
        await self._refuse_listeners(row)
        if not flags & TaskCreation.IGNORE_REGISTRATION_TRIGGERS:
            row = dataclasses.replace(row, series=due.registration_series(definition, now))
        return await self._timed(row, definition)

    async def _refuse_listeners(self, row: Registered) -> None:
        """Documented: only so many tasks may wait for events."""
        if not row.watches & Watch.EVENT or not row.enabled:
            return
        others = [each for each in await self._store.watching(Watch.EVENT) if each.id != row.id]
        if len(others) >= MOST_LISTENERS:
            raise ScheduleError(
                f"{MOST_LISTENERS} tasks wait for events already.",
                code=ErrorCode.SCHED_E_SERVICE_TOO_BUSY,
                advice="Delete or disable one of them first.",
                node="EventTrigger",
            )

    async def _timed(self, row: Registered, definition: TaskDefinition) -> Registered:
        calendars = await self._calendars.named()
        found = due.next_due(row, definition, home=self._home, calendars=calendars)
        return dataclasses.replace(row, next_due=found if row.enabled else None)

    async def _stored(
        self, task: Registered, definition: TaskDefinition, known: Registered | None, flags: TaskCreation
    ) -> Registered:
        if known is None and not flags & TaskCreation.CREATE:
            raise _no_task(task.path)
        if known is not None and not flags & TaskCreation.UPDATE:
            raise taken(task.path)
        stored = await self._store.register(task, _around(task.path))
        if stored.enabled and not flags & TaskCreation.IGNORE_REGISTRATION_TRIGGERS:
            for run in due.registration_runs(stored, definition, self._clock.now()):
                await self._store.put_run(run)
        self._changed()
        return stored


def _around(path: SchedulePath) -> list[SchedulePath]:
    """Return the folders above a path, the outermost first, without the root."""
    return [SchedulePath(path.names[:depth]) for depth in range(1, len(path.names))]


def _checked(flags: TaskCreation) -> TaskCreation:
    """Return the flags if they go together (``TASK_CREATION``)."""
    how = flags & _HOW
    if flags & ~_KNOWN or not how:
        raise InvalidArgument(f"{int(flags):#x} are not flags of registration.")
    validates = bool(flags & TaskCreation.VALIDATE_ONLY)
    if validates and (how != TaskCreation.VALIDATE_ONLY or flags & TaskCreation.IGNORE_REGISTRATION_TRIGGERS):
        raise InvalidArgument("VALIDATE_ONLY goes with no other flag of creation.")
    return TaskCreation(flags)


def _no_flags(flags: int) -> None:
    if flags:
        raise InvalidArgument(f"There are no flags here; {flags:#x} were given.")


def _no_folder(path: SchedulePath) -> ScheduleError:
    return ScheduleError(f"There is no folder {path}.", code=ErrorCode.ERROR_FILE_NOT_FOUND, value=str(path))


def _no_task(path: SchedulePath) -> ScheduleError:
    return ScheduleError(f"There is no task {path}.", code=ErrorCode.ERROR_FILE_NOT_FOUND, value=str(path))
