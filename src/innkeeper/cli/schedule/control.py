"""Pause what runs, and say who may do what with scheduled tasks and folders."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.schedule.files import TaskPath
from innkeeper.cli.terminal import Json, session_of
from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.wire.schedule import RunList


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(pause)
    app.command()(resume)
    app.command()(permissions)


def pause(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Pause a task's programs, until innkeeper schedule resume."""
    _each(context, path, resume=False)


def resume(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Continue a task's paused programs."""
    _each(context, path, resume=True)


def permissions(
    context: typer.Context,
    path: TaskPath,
    sddl: Annotated[
        str | None,
        typer.Argument(metavar="[SDDL]", help="Who may do what; shown if left out, roles alone if ''."),
    ] = None,
    folder: Annotated[bool, typer.Option("--folder", help="The path is a folder's.")] = False,
    json: Json = False,
) -> None:
    r"""Show or say who may do what with a task or a folder, as a security descriptor.

    It narrows what roles allow: BA administrators, SO operators, BU viewers, S-1-22-1-UID a user.

    Example:

        innkeeper schedule permissions '\Nightly\Compact' 'D:(A;;FA;;;BA)(A;;FRFX;;;SO)'
    """
    session = session_of(context)
    schedule = session.inn.schedule
    subject = schedule.folder(path) if folder else schedule.task(path)
    if sddl is not None:
        subject.set_security_descriptor(sddl)
    message = subject.permissions()
    if session.json:
        session.answer(message)
        return
    session.out.print(Text(message.sddl), soft_wrap=True)
    if not message.is_own:
        session.note(
            "No descriptor of its own: this is what roles allow, unless a folder around it narrows it."
        )


def _each(context: typer.Context, path: str, *, resume: bool) -> None:
    session = session_of(context)
    found = session.inn.schedule.task(path).get_instances()
    if not found.count:
        raise ScheduleError(
            f"No instance of {path} is running.",
            code=ErrorCode.SCHED_E_TASK_NOT_RUNNING,
            advice=f"Start it: innkeeper schedule run '{path}'",
        )
    for each in found:
        if resume:
            each.resume()
        else:
            each.pause()
    if session.json:
        session.answer(RunList(runs=tuple(each.message for each in found)))
    else:
        word = "goes on" if resume else "stands still"
        many = "one instance" if found.count == 1 else f"{found.count} instances"
        session.out.print(Text(f"{path} {word} ({many})."))
