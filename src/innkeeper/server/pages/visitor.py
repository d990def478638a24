"""Know who looks at a page, and what the page may offer them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from starlette.requests import Request

from innkeeper.identity.roles import THE_INN, folder, machine
from innkeeper.server.identity.needs import allowed, caller_of
from innkeeper.server.identity.subjects import MACHINE_LOCK, Kind, house_of, machine_called
from innkeeper.server.pages.door import Door
from innkeeper.wire.messages import InnMessage, TaskMessage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """Whoever looks, and the inn as it is to them."""

    inn: InnMessage

    @property
    def name(self) -> str:
        """As the inn calls them."""
        return self.inn.user

    @property
    def may_see_people(self) -> bool:
        """Whether the accounts are shown to them."""
        return self.may("list_users")

    @property
    def may_see_audit(self) -> bool:
        """Whether the audit log is shown to them."""
        return self.may("list_audit")

    def may(self, operation: str) -> bool:
        """Whether an operation on the inn is offered to them."""
        return operation in self.inn.allowed


def offered_on_folder(request: Request, path: str) -> Sequence[str]:
    """The operations on a folder of scheduled tasks, or on a task in it, that the visitor may do."""
    return allowed(request.app, Kind.FOLDER, caller_of(request).role_on(folder(path)))


def may_cancel(request: Request, task: TaskMessage) -> bool:
    """Whether the visitor may cancel a task: by their role on what it is about."""
    lock = task.lock or ""
    about = machine(lock.removeprefix(MACHINE_LOCK)) if lock.startswith(MACHINE_LOCK) else THE_INN
    if about is not THE_INN:
        about = machine_called(house_of(request), about.name)
    return "cancel_task" in allowed(request.app, Kind.TASK, caller_of(request).role_on(about))


async def visitor_of(request: Request) -> Visitor:
    """Who asks for this page; asked once a request."""
    known: Visitor | None = getattr(request.state, "visitor", None)
    if known is None:
        known = Visitor(inn=await Door(request).get("/inn", InnMessage))
        request.state.visitor = known
    return known
