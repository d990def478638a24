"""Make and remove folders of scheduled tasks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, session_of, table
from innkeeper.wire.schedule import FolderMessage

app = typer.Typer(name="folder", help="Make and remove folders of scheduled tasks.", no_args_is_help=True)

FolderPath = Annotated[str, typer.Argument(metavar="FOLDER", help=r"The folder's path: '\Nightly'.")]


@app.command()
def add(
    context: typer.Context,
    path: FolderPath,
    sddl: Annotated[str, typer.Option(help="Who may do what with it, as SDDL.")] = "",
    json: Json = False,
) -> None:
    r"""Make a folder, and those around it.

    Example:

        innkeeper schedule folder add '\Nightly\Databases'
    """
    session = session_of(context)
    made = session.inn.schedule.folder().create_folder(path, sddl)
    if session.json:
        session.answer(FolderMessage(path=made.path, name=made.name, folders=made.folders))
    else:
        session.out.print(Text(f"The folder {made.path} is there."))


@app.command()
def remove(context: typer.Context, path: FolderPath, json: Json = False) -> None:
    """Remove an empty folder."""
    session = session_of(context)
    session.inn.schedule.folder().delete_folder(path)
    if session.json:
        above = session.inn.schedule.folder()
        session.answer(FolderMessage(path=above.path, name=above.name, folders=above.folders))
    else:
        session.out.print(Text(f"The folder {path} is removed."))


@app.command("list")
def list_folders(
    context: typer.Context,
    path: Annotated[str, typer.Argument(metavar="[FOLDER]", help="The root if left out.")] = "\\",
    json: Json = False,
) -> None:
    """List the folders in a folder, and in those, with how many tasks each has."""
    session = session_of(context)
    top = session.inn.schedule.folder(path)
    if session.json:
        session.answer(FolderMessage(path=top.path, name=top.name, folders=top.folders))
        return
    made = table("FOLDER", "TASKS", right=("TASKS",))
    waiting = [top]
    while waiting:
        folder = waiting.pop(0)
        made.add_row(Text(folder.path), str(len(list(folder.list_tasks(hidden=True)))))
        waiting = [session.inn.schedule.folder(each) for each in folder.folders] + waiting
    session.out.print(made)
