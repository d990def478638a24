"""Hand out the guest's task agent, for guests that ``machine prepare`` cannot reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import session_of
from innkeeper.errors import ErrorCode, InvalidArgument

app = typer.Typer(
    name="agent", help="Get the guest's task agent, to install it by hand.", no_args_is_help=True
)


@app.command()
def bundle(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path(
        "innkeeper-agent.pyz"
    ),
) -> None:
    """Write the agent as one file; `python3 innkeeper-agent.pyz install` in the guest installs it."""
    session = session_of(context)
    content = session.inn.agent_files().bundle
    try:
        file.write_bytes(content)
    except OSError as error:
        raise InvalidArgument(
            f"{file} cannot be written: {error.strerror}.",
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Name a file in a directory that you may write to.",
        ) from error
    session.out.print(Text(f"Wrote {file}. In the guest, as root: python3 {file.name} install"))


@app.command("cloud-init")
def cloud_init(context: typer.Context) -> None:
    """Print a cloud-config that installs the agent at a new guest's first boot."""
    typer.echo(session_of(context).inn.agent_files().cloud_init, nl=False)
