"""Keep Innkeeper's own accounts: the realm ``local``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from innkeeper.errors import ErrorCode, IdentityError
from innkeeper.identity.account import Account
from innkeeper.identity.caller import LOCAL_REALM
from innkeeper.identity.passwords import Passwords
from innkeeper.identity.ports import AccountStore
from innkeeper.identity.realms import Known, checked_name, normal_name
from innkeeper.tasks.ports import Clock


class Accounts:
    """Innkeeper's own accounts, as a realm and to be looked after."""

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called after each change that can end what somebody has open."""
        self._on_change = on_change
        self._store = store
        self._passwords = passwords
        self._clock = clock

    # As a realm

    @property
    def name(self) -> str:
        """``local``."""
        return LOCAL_REALM

    async def check(self, user: str, password: str) -> Known | None:
        """Whom this name and password are for."""
        account = await self._store.get(_normal(user))
        live = account if account is not None and not account.disabled else None
        right = await self._passwords.matches(password, live.password_hash if live else None)
        return _known(live) if live is not None and right else None

    async def recall(self, known: Known) -> Known | None:
        """The account as it is now, where its password is still the one that was proven."""
        account = await self._store.get(known.user)
        if account is None or account.disabled or account.version != known.version:
            return None
        return _known(account)

    # To be looked after

    async def list(self) -> Sequence[Account]:
        """All, by name."""
        return await self._store.list()

    async def add(self, name: str, password: str) -> Account:
        """Add an account. Raises ``IdentityError`` (0x800700B7) where there is one of this name."""
        name = _normal(checked_name(name))
        if await self._store.get(name) is not None:
            raise _taken(name)
        now = self._clock.now()
        hashed = await self._passwords.hash(password, name)
        account = Account(name=name, password_hash=hashed, created_at=now, changed_at=now)
        if not await self._store.add(account):
            raise _taken(name)
        return account

    async def set_password(self, name: str, password: str) -> Account:
        """Set its password; whoever is logged in with the former one no longer is."""
        account = await self.get(name)
        hashed = await self._passwords.hash(password, account.name)
        return await self._change(name, password_hash=hashed, changed_at=self._clock.now())

    async def set_disabled(self, name: str, disabled: bool) -> Account:
        """Close it, or open it again; a closed one lets nobody in, and ends what it had open."""
        return await self._change(name, disabled=disabled)

    async def remove(self, name: str) -> None:
        """Remove it. Raises ``IdentityError`` (0x80070490) where there is none."""
        if not await self._store.delete(_normal(name)):
            raise _no_account(name)
        self._on_change()

    async def get(self, name: str) -> Account:
        """The account of this name. Raises ``IdentityError`` (0x80070490)."""
        account = await self._store.get(_normal(name))
        if account is None:
            raise _no_account(name)
        return account

    async def _change(self, name: str, **fields: object) -> Account:
        """Change these fields and leave the others as anybody else has set them."""
        while True:
            seen = await self.get(name)
            changed = Account(**dataclasses.asdict(seen) | fields)
            if await self._store.replace(seen, changed):
                self._on_change()
                return changed


def _normal(name: str) -> str:
    return normal_name(LOCAL_REALM, name)


def _known(account: Account) -> Known:
    return Known(user=account.name, version=account.version)


def _taken(name: str) -> IdentityError:
    return IdentityError(
        f"There is an account “{name}” already.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Set its password with: innkeeper user password.",
    )


def _no_account(name: str) -> IdentityError:
    return IdentityError(
        f"Innkeeper has no account “{name}”.",
        code=ErrorCode.ERROR_NOT_FOUND,
        advice="innkeeper user list shows all of them.",
    )
