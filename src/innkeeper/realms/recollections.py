"""Who was known lately: a realm is asked for everybody once in a while, however many requests they send."""

from __future__ import annotations

import collections
import time
from collections.abc import Awaitable, Callable
from typing import Final

from innkeeper.errors import ServiceError
from innkeeper.identity.realms import Known

#: Somebody who was known is asked for again after this, in seconds; and believed so long while the realm is
#: away.
_BELIEVED: Final = 30.0
_BELIEVED_AWAY: Final = 300.0
_REMEMBERED: Final = 10_000


class Recollections:
    """What a realm said of people when it was asked for them last."""

    def __init__(self) -> None:
        self._found: collections.OrderedDict[str, tuple[float, Known | None]] = collections.OrderedDict()

    async def recall(self, known: Known, ask: Callable[[], Awaitable[Known | None]]) -> Known | None:
        """Return the person as the realm has them now; ``None`` where they are closed, or gone.

        So they are where another person has their name: that one's version is another. Raises
        ``ServiceError`` where the realm is away, and was not asked for them lately.
        """
        found = await self._look(known.user, ask)
        is_another = found is not None and known.version not in ("", found.version)
        return None if is_another else found

    async def _look(self, user: str, ask: Callable[[], Awaitable[Known | None]]) -> Known | None:
        asked_at, found = self._found.get(user, (float("-inf"), None))
        if time.monotonic() - asked_at < _BELIEVED:
            return found
        try:
            found = await ask()
        except ServiceError:
            if time.monotonic() - asked_at < _BELIEVED_AWAY:
                return found
            raise
        self._found[user] = (time.monotonic(), found)
        self._found.move_to_end(user)
        while len(self._found) > _REMEMBERED:
            self._found.popitem(last=False)
        return found
