"""Give a request's handler what it needs: the house, and who asks."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from innkeeper.server.house import House


def _house(request: Request) -> House:
    return cast(House, request.app.state.house)


def _user(request: Request) -> str:
    return cast(str, request.scope["user"])


#: The running service.
TheHouse = Annotated[House, Depends(_house)]

#: The name of the user who asks.
TheUser = Annotated[str, Depends(_user)]
