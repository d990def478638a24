"""Keep who was given which role, to people and to groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from innkeeper.errors import ErrorCode, IdentityError
from innkeeper.identity.caller import Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.ports import GrantStore
from innkeeper.identity.realms import Known, is_same_realm, normal_name
from innkeeper.identity.roles import Grant
from innkeeper.tasks.ports import Clock

#: What somebody of a realm is without a grant.
Standing = Callable[[str, Known], Awaitable[tuple[Grant, ...]]]

#: How long what was read is believed: another server on the same database may have changed it.
_BELIEVED_SECONDS = 2.0


class Grants:
    """All roles that were given."""

    def __init__(
        self,
        store: GrantStore,
        clock: Clock,
        standing: Standing | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``standing`` says what people are without a grant, as root is an administrator.

        ``on_change`` is called after each change.
        """
        self._on_change = on_change
        self._store = store
        self._clock = clock
        self._standing = standing
        self._read: tuple[float, Sequence[Granted]] | None = None

    async def of(self, realm: str, known: Known) -> tuple[Grant, ...]:
        """What somebody was given, by their name or by a group of theirs, and what they are anyway."""
        own = await self._standing(realm, known) if self._standing else ()
        groups = {normal_name(realm, group) for group in known.groups}
        user = normal_name(realm, known.user)
        return *own, *(
            each.grant
            for each in await self._all()
            if is_same_realm(each.realm, realm)
            and (normal_name(realm, each.name) in groups if each.is_group else _is_of(each, realm, user))
        )

    async def list(self) -> Sequence[Granted]:
        """All, by holder."""
        return await self._store.list()

    async def give(self, granted: Granted) -> None:
        """Give a role, in place of another on the same thing, however the holder's name was spelled then."""
        for former in await self._same(granted):
            if former != granted:
                await self._store.remove(former)
        await self._store.add(granted)
        self._read = None
        self._on_change()

    async def take(self, granted: Granted) -> None:
        """Take the role on this thing back. Raises ``IdentityError`` (0x80070490) where there is none."""
        if not [await self._store.remove(each) for each in await self._same(granted)]:
            raise IdentityError(
                f"{granted.holder} has no role there.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="innkeeper user list shows who has which.",
            )
        self._read = None
        self._on_change()

    async def take_all(self, person: Person) -> None:
        """Take back all that was given to a person by name."""
        user = normal_name(person.realm, person.user)
        for granted in await self._store.list():
            if not granted.is_group and _is_of(granted, person.realm, user):
                await self.take(granted)

    async def _same(self, granted: Granted) -> Sequence[Granted]:
        """What the same holder was given on the same thing, whatever the role and the spelling."""
        user = normal_name(granted.realm, granted.name)
        return [
            each
            for each in await self._store.list()
            if each.is_group == granted.is_group
            and (each.grant.reach, each.grant.name) == (granted.grant.reach, granted.grant.name)
            and _is_of(each, granted.realm, user)
        ]

    async def _all(self) -> Sequence[Granted]:
        now = self._clock.monotonic()
        if self._read is None or now - self._read[0] > _BELIEVED_SECONDS:
            self._read = (now, await self._store.list())
        return self._read[1]


def _is_of(granted: Granted, realm: str, name: str) -> bool:
    """Whether a role was given to the person or group of this name, in its normal form, in this realm."""
    return is_same_realm(granted.realm, realm) and normal_name(realm, granted.name) == name
