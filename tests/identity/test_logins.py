"""Who becomes a caller, and who does not."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt

import pytest

from innkeeper.errors import IdentityError, InvalidArgument, NotAuthenticated, ServiceError, TooManyTries
from innkeeper.identity.accounts import Accounts
from innkeeper.identity.audit import Audit
from innkeeper.identity.caller import Person, Proof
from innkeeper.identity.granted import Granted
from innkeeper.identity.grants import Grants
from innkeeper.identity.lockout import Lockout
from innkeeper.identity.logins import Logins
from innkeeper.identity.memory import (
    MemoryAccountStore,
    MemoryAuditStore,
    MemoryGrantStore,
    MemorySessionStore,
    MemoryTokenStore,
)
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Reach, Role, machine
from innkeeper.identity.sessions import Lifetime, Sessions, csrf_token_of
from innkeeper.identity.tokens import PREFIX, Tokens
from innkeeper.tasks.clock import FakeClock
from tests.identity.people import GOOD, quick_passwords

HERE = "192.0.2.1"


class Directory:
    """A realm with one user, that can be taken away, and can be out of reach."""

    name = "LAB"

    def __init__(self) -> None:
        self.away = False
        self.users = {"ana": frozenset({"Operators"})}
        #: How long it looks for somebody.
        self.seconds: dict[str, float] = {}
        self.clock = FakeClock()

    async def check(self, user: str, password: str) -> Known | None:
        """Whom it is for."""
        if self.away:
            raise ServiceError("The directory is away.")
        if user in self.seconds:
            await self.clock.sleep(self.seconds[user])
        found = self.users.get(user.lower())
        return None if found is None or password != GOOD else Known(user=user.lower(), groups=found)

    async def recall(self, known: Known) -> Known | None:
        """As it is now."""
        found = self.users.get(known.user)
        return None if found is None else dataclasses.replace(known, groups=found)


class House:
    """All that logging in takes, in memory."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.directory = Directory()
        self.accounts = Accounts(MemoryAccountStore(), quick_passwords(), self.clock)
        self.grants = Grants(MemoryGrantStore(), self.clock)
        self.session_store = MemorySessionStore()
        self.sessions = Sessions(self.session_store, self.clock, Lifetime())
        self.tokens = Tokens(MemoryTokenStore(), self.clock)
        self.logins = Logins(
            realms=(self.accounts, self.directory),
            grants=self.grants,
            sessions=self.sessions,
            tokens=self.tokens,
            lockout=Lockout(self.clock),
            audit=Audit(MemoryAuditStore(), self.clock),
            clock=self.clock,
        )


@pytest.fixture
async def house() -> House:
    """With an account ``bob`` who is an operator."""
    made = House()
    await made.accounts.add("Bob", GOOD)
    await made.grants.give(_granted("local", "bob"))
    return made


def _granted(realm: str, name: str, *, is_group: bool = False, grant: Grant | None = None) -> Granted:
    return Granted(realm=realm, name=name, is_group=is_group, grant=grant or Grant(role=Role.OPERATOR))


async def test_the_right_password_makes_a_caller_with_their_roles(house: House) -> None:
    """Whatever the case of the name."""
    caller, _ = await house.logins.by_password("BOB", "Local", GOOD, HERE)
    assert (caller.user, caller.realm, caller.proof, caller.address) == (
        "bob",
        "local",
        Proof.PASSWORD,
        HERE,
    )
    assert caller.role_on(machine("web-1")) is Role.OPERATOR


@pytest.mark.parametrize(
    ("user", "realm", "password"),
    [
        ("bob", "local", "wrong"),
        ("nobody", "local", GOOD),
        ("bob", "local", ""),
        ("", "local", GOOD),
        ("bob", "local", "x" * 100_000),
        ("bob", "LAB", GOOD),
        ("bob", "nowhere", GOOD),
        ("bob\0", "local", GOOD),
    ],
)
async def test_all_else_is_access_denied_in_the_same_words(
    house: House, user: str, realm: str, password: str
) -> None:
    """So that nobody learns who is there."""
    with pytest.raises(NotAuthenticated) as denied:
        await house.logins.by_password(user, realm, password, HERE)
    assert denied.value.hresult == 0x80070005
    assert password[:20] not in denied.value.sentence or not password
    if realm != "nowhere":
        assert denied.value.sentence == "The user name or the password is not right."


async def test_too_many_wrong_ones_wait_though_the_next_is_right(house: House) -> None:
    """The password is not even looked at."""
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            await house.logins.by_password("bob", "local", "wrong", HERE)
    with pytest.raises(TooManyTries):
        await house.logins.by_password("bob", "local", GOOD, HERE)
    await house.clock.advance(2)
    assert await house.logins.by_password("bob", "local", GOOD, HERE)


@pytest.mark.parametrize("realm", ["local", "LAB"])
async def test_one_name_has_one_count_of_wrong_tries_however_it_is_spelled(house: House, realm: str) -> None:
    """Composed or not, in capitals, wide, with spaces or marks that nobody sees: directories take all."""
    spellings = [
        "jos\u00e9",
        "jose\u0301",
        "JOS\u00c9",
        " jos\u00e9",
        "jos\u00e9 ",
        "\uff4aos\u00e9",
        "jo\u00ads\u00e9",
    ]
    ends = []
    for spelling in spellings:
        with pytest.raises((NotAuthenticated, TooManyTries)) as refused:
            await house.logins.by_password(spelling, realm, "wrong", HERE)
        ends.append(refused.type)
    assert ends == [NotAuthenticated] * 5 + [TooManyTries] * 2


@pytest.mark.parametrize("addresses", [[HERE], [f"198.51.100.{number}" for number in range(50)]])
async def test_ones_own_right_password_gives_no_more_guesses_at_a_name_like_it(
    house: House, addresses: list[str]
) -> None:
    """Nor is an address known to the one for the other."""
    await house.accounts.add("m\u00fcller", GOOD)
    await house.accounts.add("muller", GOOD)
    guesses = 0
    for round_ in range(50):
        address = addresses[round_ % len(addresses)]
        with contextlib.suppress(TooManyTries):
            await house.logins.by_password("m\u00fcller", "local", GOOD, address)
        for _ in range(4):
            with pytest.raises((NotAuthenticated, TooManyTries)) as refused:
                await house.logins.by_password("muller", "local", "wrong", address)
            guesses += refused.type is NotAuthenticated
    assert guesses == 5
    await house.logins.by_password("m\u00fcller", "local", GOOD, addresses[0])


async def test_a_name_like_that_of_somebody_known_counts_for_the_address(house: House) -> None:
    """However many have names that are alike."""
    await house.accounts.add("jos\u00e9", GOOD)
    await house.logins.by_password("jos\u00e9", "local", GOOD, HERE)
    for number in range(20):
        with pytest.raises(NotAuthenticated):
            await house.logins.by_password(f"user{number}", "local", "wrong", HERE)
    with pytest.raises(TooManyTries):
        await house.logins.by_password("jose", "local", "wrong", HERE)
    await house.logins.by_password("jos\u00e9", "local", GOOD, HERE)


async def test_groups_of_a_realm_carry_roles(house: House) -> None:
    """In any case of letters; the group of another realm is another group."""
    await house.grants.give(_granted("LAB", "operators", is_group=True))
    await house.grants.give(_granted("LAB", "operators", grant=Grant(role=Role.ADMINISTRATOR)))
    await house.grants.give(_granted("local", "Operators", is_group=True, grant=Grant(role=Role.VIEWER)))
    caller, _ = await house.logins.by_password("Ana", "lab", GOOD, HERE)
    assert caller.role_on(machine("x")) is Role.OPERATOR
    assert caller.groups == {"Operators"}


async def test_a_realm_that_is_away_shuts_nobody_out(house: House) -> None:
    """It is a service error, and no wrong try."""
    house.directory.away = True
    for _ in range(50):
        with pytest.raises(ServiceError):
            await house.logins.by_password("ana", "LAB", GOOD, HERE)
    house.directory.away = False
    assert await house.logins.by_password("ana", "LAB", GOOD, HERE)


async def _open(house: House, user: str = "bob", realm: str = "local") -> str:
    caller, known = await house.logins.by_password(user, realm, GOOD, HERE)
    secret, _ = await house.sessions.open(caller, known)
    return secret


async def test_a_session_is_its_owner_until_it_is_closed(house: House) -> None:
    """And never again after that, however it was copied."""
    secret = await _open(house)
    caller = await house.logins.by_session(secret, Proof.SESSION, HERE)
    assert caller is not None
    assert (caller.name, caller.proof) == ("bob@local", Proof.SESSION)
    assert await house.sessions.close(secret)
    assert await house.logins.by_session(secret, Proof.SESSION, HERE) is None
    assert not await house.sessions.close(secret)


async def test_a_session_ends_unused_and_ends_anyway(house: House) -> None:
    """After twelve hours of rest, and after seven days of use."""
    resting, used = await _open(house), await _open(house)
    for _ in range(15):
        await house.clock.advance(3600)
        assert await house.logins.by_session(used, Proof.SESSION, HERE)
    assert await house.logins.by_session(resting, Proof.SESSION, HERE) is None
    for _ in range(7 * 24 - 16):
        await house.clock.advance(3600)
        assert await house.logins.by_session(used, Proof.SESSION, HERE)
    await house.clock.advance(3600)
    assert await house.logins.by_session(used, Proof.SESSION, HERE) is None


async def test_the_store_never_sees_a_secret(house: House) -> None:
    """What is stolen from it opens nothing."""
    secret = await _open(house)
    kept = next(iter(house.session_store._sessions.values()))
    assert secret not in repr(kept)
    assert await house.logins.by_session(kept.digest, Proof.SESSION, HERE) is None
    assert csrf_token_of(secret) not in (secret, kept.digest)


async def test_a_new_password_a_closed_account_and_a_removed_one_end_sessions_and_tokens(
    house: House,
) -> None:
    """At once."""

    async def token(name: str) -> str:
        known = (await house.logins.by_password("bob", "local", GOOD, HERE))[1]
        made, _ = await house.tokens.make(name, realm="local", known=known, scope=None, expires_at=None)
        return made

    secret, made = await _open(house), await token("one")
    await house.accounts.set_password("bob", GOOD)
    assert await house.logins.by_session(secret, Proof.SESSION, HERE) is None
    assert await house.logins.by_token(made, HERE) is None
    secret, made = await _open(house), await token("two")
    await house.accounts.set_disabled("bob", True)
    assert await house.logins.by_session(secret, Proof.SESSION, HERE) is None
    assert await house.logins.by_token(made, HERE) is None
    with pytest.raises(NotAuthenticated):
        await house.logins.by_password("bob", "local", GOOD, HERE)
    await house.accounts.set_disabled("bob", False)
    assert await house.logins.by_token(made, HERE)
    await house.accounts.remove("bob")
    assert await house.logins.by_token(made, HERE) is None


async def test_who_has_left_the_directory_has_left_here(house: House) -> None:
    """Their sessions are asked of it; so are their groups."""
    await house.grants.give(_granted("LAB", "Operators", is_group=True))
    secret = await _open(house, "ana", "LAB")
    house.directory.users["ana"] = frozenset()
    caller = await house.logins.by_session(secret, Proof.SESSION, HERE)
    assert caller is not None
    assert not caller.may_somewhere(Role.VIEWER)
    del house.directory.users["ana"]
    assert await house.logins.by_session(secret, Proof.SESSION, HERE) is None


async def test_a_token_has_a_scope_an_end_and_can_be_revoked(house: House) -> None:
    """And another's secret under its id opens nothing."""
    known = Known(user="ana", groups=frozenset({"Operators"}))
    await house.grants.give(_granted("LAB", "ana"))
    until = house.clock.now() + dt.timedelta(days=1)
    scope = (Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1"),)
    secret, token = await house.tokens.make("ci", realm="LAB", known=known, scope=scope, expires_at=until)
    caller = await house.logins.by_token(secret, HERE)
    assert caller is not None
    assert (caller.by, caller.proof, caller.role_on(machine("web-1"))) == ("ci", Proof.TOKEN, Role.VIEWER)
    assert caller.role_on(machine("db-1")) is None
    assert await house.logins.by_token(secret[:-1] + ("A" if secret[-1] != "A" else "B"), HERE) is None
    assert await house.logins.by_token(f"{PREFIX}{token.id}_{token.digest[:43]}", HERE) is None
    with pytest.raises(IdentityError, match="already"):
        await house.tokens.make("ci", realm="LAB", known=known, scope=None, expires_at=None)
    assert (await house.tokens.get(token.id)).used_at is not None
    await house.clock.advance(86_400)
    assert await house.logins.by_token(secret, HERE) is None
    again, renewed = await house.tokens.make("ci", realm="LAB", known=known, scope=None, expires_at=None)
    assert await house.logins.by_token(again, HERE)
    await house.tokens.revoke(renewed.id)
    assert await house.logins.by_token(again, HERE) is None
    assert secret not in repr(token)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
async def test_a_password_that_will_not_do_is_refused(house: House, password: str) -> None:
    """Before anything is kept."""
    with pytest.raises(InvalidArgument) as refused:
        await house.accounts.add("cyd", password)
    assert not password or password not in refused.value.sentence
    assert [account.name for account in await house.accounts.list()] == ["bob"]


@pytest.mark.parametrize("name", ["", " ana", "ana\n", "a\x1b[2Jb", "x" * 257, "a\u202eb"])
async def test_a_name_that_could_fool_a_log_is_refused(house: House, name: str) -> None:
    """Line ends, escape sequences, letters that turn the line around."""
    with pytest.raises(InvalidArgument):
        await house.accounts.add(name, GOOD)


async def test_one_name_is_one_account(house: House) -> None:
    """Whatever its case."""
    with pytest.raises(IdentityError) as taken:
        await house.accounts.add("BOB", GOOD)
    assert taken.value.hresult == 0x800700B7


async def test_removing_a_person_removes_what_they_were_given(house: House) -> None:
    """A new account of that name begins with nothing."""
    await house.grants.take_all(Person(user="bob", realm="local"))
    assert list(await house.grants.list()) == []
    with pytest.raises(IdentityError) as nothing:
        await house.grants.take(_granted("local", "bob"))
    assert nothing.value.hresult == 0x80070490


async def test_tries_without_a_password_do_not_hurry_a_realms_no(house: House) -> None:
    """They never ask it, and say nothing of how long it looks for somebody whom it has."""

    async def no_after_seconds(user: str, password: str, address: str) -> float:
        began = house.clock.monotonic()
        trying = asyncio.create_task(house.logins.by_password(user, "LAB", password, address))
        while not trying.done():
            await house.clock.advance(0.1)
        with pytest.raises(NotAuthenticated):
            await trying
        return house.clock.monotonic() - began

    house.directory.seconds = {"ana": 1.0}
    house.directory.clock = house.clock
    slow = await no_after_seconds("ana", "wrong", HERE)
    for number in range(64):
        await no_after_seconds(f"nobody{number}", "", f"192.0.2.{number + 2}")
    assert slow >= 1
    assert await no_after_seconds("nobody", "wrong", "198.51.100.1") >= 1
