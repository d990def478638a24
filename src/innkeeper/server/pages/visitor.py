"""Know who looks at a page, and what the page may offer them."""

from __future__ import annotations

import dataclasses

from starlette.requests import Request

from innkeeper.server.pages.door import Door
from innkeeper.wire.messages import InnMessage


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


async def visitor_of(request: Request) -> Visitor:
    """Who asks for this page; asked once a request."""
    known: Visitor | None = getattr(request.state, "visitor", None)
    if known is None:
        known = Visitor(inn=await Door(request).get("/inn", InnMessage))
        request.state.visitor = known
    return known
