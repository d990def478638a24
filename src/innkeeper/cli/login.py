"""Log in at a service on another computer, and out again."""

from __future__ import annotations

import secrets
import socket
import sys
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.passwords import PasswordFile, take_password
from innkeeper.cli.terminal import Json, session_of
from innkeeper.client import connect
from innkeeper.client.addresses import Address
from innkeeper.client.known_inns import KnownInns
from innkeeper.errors import ErrorCode, InvalidArgument, NotPermitted

Server = Annotated[
    str | None, typer.Argument(metavar="[SERVER]", help="HOST or HOST:PORT; that of --server if left out.")
]


def add_to(app: typer.Typer) -> None:
    """Put the commands under the root."""
    app.command()(login)
    app.command()(logout)


def login(
    context: typer.Context,
    server: Server = None,
    user: Annotated[str | None, typer.Option(help="Your name there.")] = None,
    domain: Annotated[str, typer.Option(help="The realm of your account.")] = "local",
    password_file: PasswordFile = None,
    token_file: Annotated[
        bool,
        typer.Option("--token", help="Use a token that you already have; asks for it instead of a password."),
    ] = False,
    fingerprint: Annotated[
        str, typer.Option(help="The fingerprint of the server's certificate, as its log shows it.")
    ] = "",
    days: Annotated[int, typer.Option(help="Days until you must log in again.", min=1, max=3650)] = 30,
    json: Json = False,
) -> None:
    """Log in at a server, and keep a token for the commands to come (with --server)."""
    session = session_of(context)
    address = Address.parse(_named(server or session.server))
    inns = KnownInns.of_user()
    if address.tls:
        inns.trust(address, meet=_ask_about if not json else None, fingerprint=fingerprint)
    if token_file:
        inns.keep_token(address, take_password("Token", password_file))
    else:
        name = user or typer.prompt("User", err=True)
        word = take_password(f"Password of {name}@{domain}", password_file)
        with connect(address.url, name, domain, word) as inn:
            made = inn.people.tokens.make(_token_name(), days=days)
            inns.keep_token(address, made.secret)
    with connect(address.url) as inn:
        greeting = inn.read()
    if session.json:
        session.answer(greeting)
    else:
        role = greeting.role or "on parts of it"
        session.out.print(Text(f"You are {greeting.user}@{greeting.domain} at {address}: {role}."))
        session.note(f"Use it with: innkeeper --server {address} machine list")


def logout(
    context: typer.Context,
    server: Server = None,
    forget: Annotated[bool, typer.Option("--forget", help="Forget its certificate as well.")] = False,
    json: Json = False,
) -> None:
    """Revoke the token that login has kept, and remove it."""
    session = session_of(context)
    address = Address.parse(_named(server or session.server))
    inns = KnownInns.of_user()
    token = inns.token(address)
    if token and not forget:
        _revoke(address, token)
    gone = inns.forget(address) if forget else inns.forget_token(address)
    session.out.print(
        Text(f"You are logged out at {address}." if gone else f"You were not logged in at {address}.")
    )


def _revoke(address: Address, token: str) -> None:
    """End it there too; one that is not good any more has ended already."""
    try:
        with connect(address.url) as inn:
            inn.people.tokens.revoke(token.split("_")[1])
    except (NotPermitted, IndexError):
        return


def _token_name() -> str:
    return f"login at {socket.gethostname()} {secrets.token_hex(3)}"


def _named(server: str | None) -> str:
    if not server:
        raise InvalidArgument(
            "Which server?",
            advice="Name it: innkeeper login inn.example. On this computer no login is needed.",
        )
    return server


def _ask_about(address: Address, fingerprint: str) -> None:
    """Show a certificate that is met for the first time, and go on only with a yes."""
    typer.echo(f"{address} is not known yet. The SHA-256 fingerprint of its certificate is", err=True)
    typer.echo(fingerprint, err=True)
    if not sys.stdin.isatty():
        typer.echo(
            "The certificate is remembered, and no other is accepted from now "
            "on. Compare it with the server's log.",
            err=True,
        )
    elif not typer.confirm("Does the server's log show the same fingerprint?", err=True):
        raise NotPermitted(
            "You did not trust the certificate.",
            code=ErrorCode.CERT_E_UNTRUSTEDROOT,
            advice="See its fingerprint in the service's log, or give it with --fingerprint.",
        )
