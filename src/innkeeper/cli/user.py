"""Look after people: accounts, roles, tokens."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.passwords import PasswordFile, take_password
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.errors import InvalidArgument
from innkeeper.wire.identity import (
    GrantMessage,
    GrantRequest,
    ReachName,
    RoleName,
    ScopeRequest,
    TokenMessage,
    UserMessage,
)

app = typer.Typer(name="user", help="Look after people: accounts, roles, tokens.", no_args_is_help=True)
token_app = typer.Typer(
    name="token", help="Create and revoke tokens, which programs log in with.", no_args_is_help=True
)
app.add_typer(token_app)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
Who = Annotated[
    str, typer.Argument(metavar="WHO", help="ana@REALM, or %group@REALM; this computer's users are @system.")
]
Machines = Annotated[
    list[str] | None, typer.Option("--machine", help="On this machine alone; again for more.")
]
Labels = Annotated[list[str] | None, typer.Option("--label", help="On machines with this label.")]
Folders = Annotated[list[str] | None, typer.Option("--folder", help="On this folder of scheduled tasks.")]


@app.command("list")
def list_users(context: typer.Context, json: Json = False) -> None:
    """List who has an account or a role here."""
    session = session_of(context)
    found = session.inn.people.list()
    if session.json:
        session.answer(found)
        return
    if not found.users:
        session.note("Nobody has an account or a role yet. Add one with: innkeeper user add NAME")
        return
    made = table("WHO", "ACCOUNT", "ROLES")
    for user in found.users:
        made.add_row(Text(_who(user)), _account(user), Text(_roles(user.roles) or "none"))
    session.out.print(made)
    session.note(f"Realms that take passwords: {', '.join(found.realms)}.")


@app.command()
def add(
    context: typer.Context,
    name: UserName,
    role: Annotated[RoleName | None, typer.Option(help="A role on the whole server.")] = None,
    password_file: PasswordFile = None,
    json: Json = False,
) -> None:
    """Add an account; asks for its password."""
    session = session_of(context)
    password = take_password(f"Password for {name}", password_file, confirm=True)
    _show(session, session.inn.people.add(name, password, role))


@app.command()
def password(
    context: typer.Context, name: UserName, password_file: PasswordFile = None, json: Json = False
) -> None:
    """Set an account's password; who is logged in with the former one no longer is."""
    session = session_of(context)
    new = take_password(f"New password for {name}", password_file, confirm=True)
    _show(session, session.inn.people.set_password(name, new))


@app.command()
def disable(context: typer.Context, name: UserName, json: Json = False) -> None:
    """Close an account; its sessions and tokens end."""
    session = session_of(context)
    _show(session, session.inn.people.enable(name, False))


@app.command()
def enable(context: typer.Context, name: UserName, json: Json = False) -> None:
    """Open a closed account again."""
    session = session_of(context)
    _show(session, session.inn.people.enable(name))


@app.command()
def remove(context: typer.Context, name: UserName, json: Json = False) -> None:
    """Remove an account, with its roles, tokens and sessions."""
    session = session_of(context)
    session.inn.people.remove(name)
    _list_or_say(session, f"The account {name} is removed.")


@app.command()
def role(
    context: typer.Context,
    who: Who,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="viewer, operator, administrator, or none.")],
    machine: Machines = None,
    label: Labels = None,
    folder: Folders = None,
    json: Json = False,
) -> None:
    """Give a person or a group a role, on the whole server or on a part of it; none removes it."""
    session = session_of(context)
    holder, realm, is_group = _holder(who)
    people = session.inn.people
    for reach, name in _parts(machine, label, folder):
        if role == "none":
            people.take_role(holder, realm, is_group=is_group, reach=reach, name=name)
        else:
            people.give_role(
                GrantRequest(
                    holder=holder, realm=realm, is_group=is_group, role=_role(role), reach=reach, name=name
                )
            )
    where = ", ".join(_say(reach, name) for reach, name in _parts(machine, label, folder))
    _list_or_say(session, f"{who}: {role} on {where}.")


@token_app.command("add")
def add_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Your name for it.")],
    role: Annotated[
        RoleName | None, typer.Option(help="No more than this role; your own if left out.")
    ] = None,
    machine: Machines = None,
    label: Labels = None,
    folder: Folders = None,
    days: Annotated[int, typer.Option(help="Days until it expires; 0 for never.", min=0)] = 90,
    json: Json = False,
) -> None:
    """Make a token for yourself; it is shown this once."""
    session = session_of(context)
    scope = _scope(role, machine, label, folder)
    made = session.inn.people.tokens.make(name, scope=scope, days=days or None)
    if session.json:
        session.answer(made)
        return
    session.note("Keep it now: it will not be shown again.")
    session.out.out(made.secret)


@token_app.command("list")
def list_tokens(
    context: typer.Context,
    everybody: Annotated[bool, typer.Option("--all", help="Those of others too.")] = False,
    json: Json = False,
) -> None:
    """List your tokens."""
    session = session_of(context)
    found = session.inn.people.tokens.list(everybodys=everybody)
    if session.json:
        session.answer(found)
        return
    if not found.tokens:
        session.note("There is no token. Make one with: innkeeper user token add NAME")
        return
    made = table("ID", "NAME", "OWNER", "LEAVES", "ENDS", "LAST USED")
    for token in found.tokens:
        made.add_row(
            token.id,
            Text(token.name),
            Text(token.owner),
            Text("all" if token.scope is None else _roles(token.scope)),
            _end(session, token),
            session.moment(token.used_at),
        )
    session.out.print(made)


@token_app.command("revoke")
def revoke_token(
    context: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Its id, as the list shows it.")],
    json: Json = False,
) -> None:
    """End a token for ever."""
    session = session_of(context)
    session.inn.people.tokens.revoke(token_id)
    if session.json:
        session.answer(session.inn.people.tokens.list())
    else:
        session.out.print(
            Text(f"The token {token_id} was revoked and was revoked and opens nothing any more.")
        )


def _show(session: Session, user: UserMessage) -> None:
    if session.json:
        session.answer(user)
    else:
        session.out.print(Text(f"{_who(user)}: {_account(user)}, {_roles(user.roles) or 'no role yet'}."))
        if not user.roles:
            session.note(f"Give one with: innkeeper user role {_who(user)} viewer")


def _list_or_say(session: Session, sentence: str) -> None:
    if session.json:
        session.answer(session.inn.people.list())
    else:
        session.out.print(Text(sentence))


def _who(user: UserMessage) -> str:
    return f"{'%' if user.is_group else ''}{user.name}@{user.realm}"


def _account(user: UserMessage) -> str:
    if not user.has_account:
        return "group" if user.is_group else f"of {user.realm}"
    return "disabled" if user.disabled else "enabled"


def _roles(roles: tuple[GrantMessage, ...]) -> str:
    return ", ".join(
        each.role.value
        if each.reach is ReachName.INN
        else f"{each.role.value} on {_say(each.reach, each.name)}"
        for each in roles
    )


def _say(reach: ReachName, name: str) -> str:
    return "the whole server" if reach is ReachName.INN else f"{reach.value} {name}"


def _end(session: Session, token: TokenMessage) -> str:
    if token.revoked_at is not None:
        return "revoked"
    if not token.good:
        return "ended"
    return session.moment(token.expires_at) if token.expires_at else "never"


def _holder(who: str) -> tuple[str, str, bool]:
    name, at, realm = who.removeprefix("%").rpartition("@")
    if not at or not name or not realm:
        raise InvalidArgument(
            f"“{who}” does not name a realm.",
            advice=f"Write {who}@local for Innkeeper's own account, {who}@system for its computer's user.",
        )
    return name, realm, who.startswith("%")


def _role(word: str) -> RoleName:
    try:
        return RoleName(word)
    except ValueError as error:
        raise InvalidArgument(
            f"“{word}” is not a role.",
            advice="The roles are viewer, operator and administrator; none removes a role.",
        ) from error


def _parts(
    machines: list[str] | None, labels: list[str] | None, folders: list[str] | None
) -> list[tuple[ReachName, str]]:
    kinds = ((ReachName.MACHINE, machines), (ReachName.LABEL, labels), (ReachName.FOLDER, folders))
    return [(reach, name) for reach, names in kinds for name in names or ()] or [(ReachName.INN, "")]


def _scope(
    role: RoleName | None, machines: list[str] | None, labels: list[str] | None, folders: list[str] | None
) -> list[ScopeRequest] | None:
    parts = _parts(machines, labels, folders)
    if role is None and parts == [(ReachName.INN, "")]:
        return None
    most = role or RoleName.ADMINISTRATOR
    return [ScopeRequest(role=most, reach=reach, name=name) for reach, name in parts]
