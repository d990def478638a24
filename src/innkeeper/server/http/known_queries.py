"""Refuse ways to the next page that a list does not have: who asks so would get the first page for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from innkeeper.errors import InvalidArgument

#: What says in a query which page of a list is asked for.
_PAGES: Final = frozenset({"after", "before", "before_id", "limit"})


async def refuse_other_pages(connection: HTTPConnection) -> None:
    """Raise ``InvalidArgument`` for a name of the next page that the request's route does not take."""
    route = connection.scope.get("route")
    if connection.scope["query_string"] and isinstance(route, APIRoute):
        asked = [name for name in connection.query_params if name in _PAGES]
        refuse_unknown(asked, sorted(taken_by(route.dependant)))


def refuse_unknown(given: Iterable[str], taken: Collection[str]) -> None:
    """Raise ``InvalidArgument`` for the first of these names that is not taken."""
    unknown = next((name for name in given if name not in taken), None)
    if unknown is not None:
        refused = InvalidArgument(
            f"The request's query has “{unknown[:100]}”, which is not taken here.",
            advice=f"It may have: {', '.join(taken)}." if taken else "Leave the query out.",
        )
        refused.field = unknown
        raise refused


def taken_by(dependant: Dependant) -> Iterator[str]:
    """Return the names in a query that a route takes, or what it depends on."""
    for field in dependant.query_params:
        model = field.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from model.model_fields
        else:
            yield field.alias
    for each in dependant.dependencies:
        yield from taken_by(each)
