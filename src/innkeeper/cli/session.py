"""See who is logged in, and end their sessions."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, session_of, table
from innkeeper.errors import InvalidArgument

app = typer.Typer(name="session", help="See who is logged in, and end their sessions.", no_args_is_help=True)


@app.command("list")
def list_sessions(
    context: typer.Context,
    everybody: Annotated[
        bool, typer.Option("--all", help="Everybody's sessions; for administrators.")
    ] = False,
    json: Json = False,
) -> None:
    """List your sessions: where from, since when, and when each was used last."""
    session = session_of(context)
    found = session.inn.people.sessions.list(everybodys=everybody)
    if session.json:
        session.answer(found)
        return
    if not found.sessions:
        session.note("There is no session: tokens and the local socket need none.")
        return
    made = table("ID", "WHO", "FROM", "SINCE", "LAST SEEN", "ENDS")
    for each in found.sessions:
        made.add_row(
            each.id,
            Text(each.owner),
            Text(each.address or "this computer"),
            session.moment(each.created_at),
            session.moment(each.seen_at),
            session.moment(each.expires_at),
        )
    session.out.print(made)


@app.command("end")
def end_sessions(
    context: typer.Context,
    session_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Its id, as the list shows it.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them: your own, or those of --user.")] = False,
    user: Annotated[
        str, typer.Option(metavar="WHO", help="With --all: whose, as ana@REALM; for administrators.")
    ] = "",
    json: Json = False,
) -> None:
    """End a session, or all of somebody's."""
    session = session_of(context)
    sessions = session.inn.people.sessions
    if every == (session_id is not None) or (user and not every):
        raise InvalidArgument(
            "Name one session by its id, or all with --all.", advice="innkeeper session list shows the ids."
        )
    if session_id is not None:
        sessions.end(session_id)
        ended = 1
    else:
        name, _, realm = user.rpartition("@")
        if user and not name:
            raise InvalidArgument(f"“{user}” names no realm.", advice="Write it as ana@local.")
        ended = sessions.end_all(name, realm if name else "")
    if session.json:
        session.answer(sessions.list())
    else:
        session.out.print(Text(f"{ended} session{'' if ended == 1 else 's'} ended."))
