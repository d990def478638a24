"""The visitor of a page, and what may be offered to them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from starlette.requests import Request

from innkeeper.identity.roles import folder
from innkeeper.server.identity.needs import allowed, caller_of
from innkeeper.server.identity.subjects import Kind, house_of, resource_of_lock
from innkeeper.server.pages.door import Door
from innkeeper.wire.messages import InnMessage, TaskMessage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Visitor:
    """The visitor of a page, with the service as they may see it."""

    inn: InnMessage

    @property
    def name(self) -> str:
        """The visitor's name."""
        return self.inn.user

    @property
    def may_see_people(self) -> bool:
        """Whether the visitor may see the accounts."""
        return self.may("list_users")

    @property
    def may_see_audit(self) -> bool:
        """Whether the visitor may see the audit log."""
        return self.may("list_audit")

    def may(self, operation: str) -> bool:
        """Whether the visitor may do an operation on the whole service."""
        return operation in self.inn.allowed


def offered_on_folder(request: Request, path: str) -> Sequence[str]:
    """Return the operations on a folder, or a task in it, that the visitor may do."""
    return allowed(request.app, Kind.FOLDER, caller_of(request).role_on(folder(path)))


def may_cancel(request: Request, task: TaskMessage) -> bool:
    """Whether the visitor may cancel a task, by their role on its machine."""
    about = resource_of_lock(house_of(request), task.lock, task.about)
    return "cancel_task" in allowed(request.app, Kind.TASK, caller_of(request).role_on(about))


async def visitor_of(request: Request) -> Visitor:
    """Return the visitor of a request, looked up once."""
    known: Visitor | None = getattr(request.state, "visitor", None)
    if known is None:
        known = Visitor(inn=await Door(request).get("/inn", InnMessage))
        request.state.visitor = known
    return known
