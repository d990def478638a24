"""Routes of accounts, roles and tokens."""

from __future__ import annotations

import datetime as dt
from typing import Final

from fastapi import APIRouter, Response

from innkeeper.errors import ErrorCode, IdentityError, NotPermitted
from innkeeper.identity.caller import LOCAL_REALM, Caller, Person
from innkeeper.identity.granted import Granted
from innkeeper.identity.realms import SYSTEM_REALM, Known, checked_name, is_same_realm, normal_name
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.identity.token import Token
from innkeeper.server.house import House
from innkeeper.server.http.paging import Order, Place, ThePage
from innkeeper.server.identity.messages import grant_message, token_message, user_messages
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse, TheNote
from innkeeper.wire import identity as wire

router = APIRouter(tags=["people"])


def _holder(user: wire.UserMessage) -> Place:
    return str(int(not user.has_account)), user.realm, str(int(user.is_group)), user.name


def _age(token: Token) -> Place:
    return token.created_at.astimezone(dt.UTC).isoformat(timespec="microseconds"), token.id


_BY_HOLDER: Final = Order(_holder, 4)
_BY_AGE: Final = Order(_age, 2)


@router.get("/users", operation_id="list_users", dependencies=needs(Role.ADMINISTRATOR))
async def list_users(house: TheHouse, page: ThePage) -> wire.UserList:
    """Everybody, and every group, who has an account or a role here: accounts by name, then the others."""
    people = house.people
    found = page.of(user_messages(await people.accounts.list(), await people.grants.list()), _BY_HOLDER)
    return wire.UserList(users=tuple(found.entries), realms=people.logins.realms, next_after=found.next_after)


@router.post("/users", status_code=201, operation_id="add_user", dependencies=needs(Role.ADMINISTRATOR))
async def add_user(request: wire.AddUserRequest, house: TheHouse, note: TheNote) -> wire.UserMessage:
    """Add an account of Innkeeper's own."""
    note(f"{request.name}@{LOCAL_REALM} as {request.role or 'nobody'}")
    account = await house.people.accounts.add(request.name, request.password.get_secret_value())
    # A crash may have left what a former account of this name had.
    await _forget(house, account.name)
    if request.role is not None:
        await house.people.grants.give(
            Granted(
                realm=LOCAL_REALM, name=account.name, is_group=False, grant=Grant(role=_role(request.role))
            )
        )
    return await _user(house, account.name)


@router.delete(
    "/users/{name}", status_code=204, operation_id="remove_user", dependencies=needs(Role.ADMINISTRATOR)
)
async def remove_user(name: str, house: TheHouse) -> None:
    """Remove an account, with its roles, tokens and sessions."""
    account = await house.people.accounts.get(name)
    await house.people.accounts.remove(account.name)
    await _forget(house, account.name)


@router.put("/users/{name}/password", operation_id="set_password", dependencies=needs(Role.ADMINISTRATOR))
async def set_password(name: str, request: wire.PasswordRequest, house: TheHouse) -> wire.UserMessage:
    """Set an account's password, which ends its sessions."""
    account = await house.people.accounts.set_password(name, request.password.get_secret_value())
    return await _user(house, account.name)


@router.put(
    "/password",
    status_code=204,
    operation_id="set_own_password",
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def set_own_password(request: wire.OwnPasswordRequest, house: TheHouse, caller: TheCaller) -> None:
    """Set the password of one's own account."""
    if caller.realm != LOCAL_REALM:
        raise IdentityError(
            f"The password of {caller.name} is not kept by Innkeeper.",
            advice=f"Change it in the realm {caller.realm}.",
        )
    await house.people.logins.by_password(
        caller.user, caller.realm, request.current.get_secret_value(), caller.address
    )
    await house.people.accounts.set_password(caller.user, request.password.get_secret_value())


@router.put("/users/{name}/enabled", operation_id="enable_user", dependencies=needs(Role.ADMINISTRATOR))
async def enable_user(name: str, request: wire.EnableUserRequest, house: TheHouse) -> wire.UserMessage:
    """Close an account, which ends its sessions, or open it again."""
    account = await house.people.accounts.set_disabled(name, not request.enabled)
    return await _user(house, account.name)


@router.post("/roles", status_code=201, operation_id="give_role", dependencies=needs(Role.ADMINISTRATOR))
async def give_role(request: wire.GrantRequest, house: TheHouse, note: TheNote) -> wire.GrantMessage:
    """Give a person or a group a role, in place of another on the same thing."""
    granted = _granted(house, request.realm, request.holder, request.is_group, _grant(request))
    if granted.grant.reach is Reach.MACHINE:
        await _refuse_ambiguous(house, granted.grant.name)
    note(
        f"{granted.holder}: {granted.grant.role.word} on {granted.grant.reach} {granted.grant.name}".rstrip()
    )
    await house.people.grants.give(granted)
    return grant_message(granted.grant)


@router.delete("/roles", status_code=204, operation_id="take_role", dependencies=needs(Role.ADMINISTRATOR))
async def take_role(
    house: TheHouse,
    note: TheNote,
    holder: str,
    realm: str,
    is_group: bool = False,
    reach: wire.ReachName = wire.ReachName.INN,
    name: str = "",
) -> None:
    """Remove the role on this thing."""
    grant = Grant(role=Role.VIEWER, reach=Reach(reach.value), name=name)
    granted = _granted(house, realm, holder, is_group, grant)
    note(f"{granted.holder}: none on {reach} {name}".rstrip())
    await house.people.grants.take(granted)


@router.get("/tokens", operation_id="list_tokens", dependencies=needs(Role.VIEWER, what_they_see))
async def list_tokens(
    house: TheHouse, caller: TheCaller, page: ThePage, everybodys: bool = False
) -> wire.TokenList:
    """One's own tokens; for administrators, everybody's on request."""
    if everybodys and not caller.is_administrator:
        raise NotPermitted(
            "Only an administrator sees the tokens of others.", advice="Leave `everybodys` out."
        )
    found = page.of(await house.people.tokens.list(None if everybodys else caller.person), _BY_AGE)
    now = dt.datetime.now(dt.UTC)
    return wire.TokenList(
        tokens=tuple(token_message(token, now) for token in found.entries), next_after=found.next_after
    )


@router.post(
    "/tokens", status_code=201, operation_id="make_token", dependencies=needs(Role.VIEWER, what_they_see)
)
async def make_token(
    request: wire.TokenRequest, house: TheHouse, caller: TheCaller, response: Response, note: TheNote
) -> wire.TokenMade:
    """Make a token for oneself; its secret is shown this once. A token cannot make a wider one."""
    now = dt.datetime.now(dt.UTC)
    note(f"the token “{request.name}”")
    scope = None if request.scope is None else tuple(_grant(each) for each in request.scope)
    if caller.ceiling is not None:
        raise NotPermitted("A token with a scope cannot create other tokens.", advice="Log in to create one.")
    secret, token = await house.people.tokens.make(
        request.name,
        realm=caller.realm,
        known=await _known(house, caller),
        scope=scope,
        expires_at=None if request.days is None else now + dt.timedelta(days=request.days),
    )
    response.headers["Cache-Control"] = "no-store"
    return wire.TokenMade(secret=secret, token=token_message(token, now))


@router.delete(
    "/tokens/{token_id}",
    status_code=204,
    operation_id="revoke_token",
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def revoke_token(token_id: str, house: TheHouse, caller: TheCaller) -> None:
    """Revoke a token: one's own, or as an administrator anybody's."""
    token: Token = await house.people.tokens.get(token_id)
    if token.owner != caller.person and not caller.is_administrator:
        raise IdentityError(
            f"There is no token {token_id}.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="innkeeper user token list shows all of them.",
        )
    if caller.ceiling is not None and caller.by != token.name:
        raise NotPermitted(
            "A token with a scope cannot revoke other tokens, which may reach further.",
            advice="Log in to revoke this one.",
        )
    await house.people.tokens.revoke(token_id)


async def _forget(house: House, name: str) -> None:
    """Take away the roles, tokens and sessions of an account that is no more."""
    person = Person(user=name, realm=LOCAL_REALM)
    await house.people.grants.take_all(person)
    await house.people.tokens.revoke_all(person)
    await house.people.sessions.close_all(person)


async def _known(house: House, caller: Caller) -> Known:
    """Return the caller as their realm knows them now."""
    known = Known(user=caller.user, groups=caller.groups, version=caller.version)
    if caller.realm != LOCAL_REALM:
        return known
    account = await house.people.accounts.get(caller.user)
    return Known(user=account.name, version=account.version)


async def _user(house: House, name: str) -> wire.UserMessage:
    account = await house.people.accounts.get(name)
    own = [each for each in await house.people.grants.list() if _is_of(each, account.name)]
    return user_messages([account], own)[0]


def _is_of(granted: Granted, name: str) -> bool:
    return (granted.realm, granted.name, granted.is_group) == (LOCAL_REALM, name, False)


def _granted(house: House, realm: str, holder: str, is_group: bool, grant: Grant) -> Granted:
    """Return a grant with the realm as it is spelled here; accounts are in their normal form."""
    checked_name(realm, "realm's name")
    checked_name(holder)
    known = (SYSTEM_REALM, *house.people.logins.realms)
    realm = next((each for each in known if is_same_realm(each, realm)), realm)
    name = normal_name(realm, holder) if realm == LOCAL_REALM and not is_group else holder
    return Granted(realm=realm, name=name, is_group=is_group, grant=grant)


async def _refuse_ambiguous(house: House, machine: str) -> None:
    """Raises ``MachineAmbiguous`` for a name of several machines: a role on it would be on none of them."""
    house.machines.places.only(machine)
    if house.neighbours is not None:
        await house.neighbours.machine_elsewhere(machine)


def _grant(request: wire.ScopeRequest) -> Grant:
    return Grant(role=_role(request.role), reach=Reach(request.reach.value), name=request.name)


def _role(name: wire.RoleName) -> Role:
    return Role[name.name]
