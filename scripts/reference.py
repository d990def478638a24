"""Write the reference of the command line, the settings and the HTTP API from the programs themselves.

Run as ``python scripts/reference.py``; a test sees that what is written is what the programs say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

import decisions
from innkeeper.cli.app import whole as whole_cli
from innkeeper.cli.exit_codes import ExitCode
from innkeeper.server.app import bare_app
from innkeeper.wire.commands import Command
from innkeeper.wire.states import MachineState
from machine_settings_reference import machine_settings_reference
from settings_reference import settings_reference
from virtual_pc import INTERFACES, Carriage, Member

_REFERENCE = Path(__file__).parents[1] / "docs" / "reference"

_CLI_HEAD = """# The command line

Written by `scripts/reference.py` from the commands themselves.

Every command prints a table for people, or with `--json` a message of the [HTTP API](http-api.md) with its
documented keys; errors go to standard error, as a sentence with what to do next and the documented
identifier, or with `--json` as an object with `error`, `hresult`, `code`, `detail` and `advice`. A command
that starts a task shows it live and waits for its end; `--no-wait` returns at once. Ctrl-C leaves the task
running.

**Times** are written `22:00` (its next coming), `tomorrow 02:00`, `fri 02:00`, `in 10m`, `now`, `2026-11-30
02:00` or `2026-11-30T02:00+01:00`; lengths of time `4h`, `90m`, `1h30m`, `2d`. Times without a zone are in
yours, or in that of `--zone` or `INNKEEPER_ZONE`; all times are shown in it.

**The service** is looked for at `--socket`, `INNKEEPER_SOCKET`, the user's own socket
(`$XDG_RUNTIME_DIR/innkeeper/innkeeper.sock`), then the system's (`/run/innkeeper/innkeeper.sock`).
"""

_API_HEAD = """# The HTTP API

Written by `scripts/reference.py` from the service's own description, which it serves whole as
`/v1/openapi.json`.

The service speaks HTTP over its Unix socket: `curl --unix-socket /run/innkeeper/innkeeper.sock
http://innkeeper/v1/machines`.

- What is no Unicode text (halves of characters, bytes that are no UTF-8) or holds a NUL character is refused
  with 422 wherever it stands in a request; control characters in names and labels too.
- States travel by their documented names (`RUNNING`, `SUCCESS`), times as ISO 8601 with an offset, bytes as
  base64, durations in seconds.
- What takes long answers 202 with a task. `GET /v1/tasks/{id}?wait_seconds=25` answers when it has ended,
  or when the wait is over.
- What is refused answers with problem details (RFC 9457), which carry the documented error identifier as
  `hresult` and `code`, the class of the error as `error`, one sentence as `detail`, and what to do next as
  `advice`.
- `/v1/events` and `/v1/tasks/{id}/events` are server-sent events. A reader that sends the last id it saw as
  `Last-Event-ID` goes on after it; an event `events.lost` says that some before it can no longer be had, so
  read anew.
- Every JSON answer has an `ETag`. A GET with `If-None-Match` answers 304 where nothing has changed; a
  change with `If-Match` answers 412 and does nothing where somebody else was quicker, one with
  `If-None-Match: *` where something is there. A window's ETag is that of what was settled, whether the
  window is open or not.
- Lists come in pages: what `next_after` and the like say goes into the query of the next one (`after`).
  A name for the next page that the route does not take is refused (422, `E_INVALIDARG`), with those that
  it takes.
  With `Accept: application/x-ndjson` a list is answered whole, one object a line, and the service never
  holds more than a page of it; with `limit` so many lines at most. A list that cannot be read to its end is
  cut off: the connection ends before the answer does.
- JSON and text of more than 1,400 bytes come as gzip to whoever takes it, except over the Unix socket, and
  except for answers with a secret in them (`Cache-Control: no-store`).
- A POST with an `Idempotency-Key` (any text of your own, a UUID for example) is carried out once. Sent
  again within 24 hours, it is answered as the first time, with `Idempotent-Replayed: true`; also after the
  service was killed. A refused request gives its key back. Another request under the same key answers 422.
  Where the service broke off in the middle of the first, 409 says that nobody knows how it came out.
- `/livez` and `/readyz` answer 200, or 503 with what is lacking (a database that is away, or that
  somebody else holds so that nothing can be written); `/metrics` are the service's figures for
  Prometheus. A loop of the service (the scheduler, the trigger agent) that fails is logged and restarted:
  `/readyz` stays 200 and names it after `degraded:`, and `GET /v1/health` tells what it failed of.
- `GET /v1/health` tells the room (`rooms`) of the folders of state, database and disks, undo disks among
  them. One with less than a gibibyte and a tenth free is not `ok`, and `/readyz` stays 200 with
  `degraded:`. Where the database or the journal of runs cannot be written at all, `/readyz` answers 503.
- `.` and `..` as an identifier are sent as `%2E` and `%2E%2E`, for no part of a path to resolve them.
"""


def cli_reference() -> str:
    """The commands, their arguments and options, and the exit codes."""
    root = whole_cli()
    lines = [_CLI_HEAD, "## Exit codes\n", "| code | meaning |", "|---|---|"]
    lines += [f"| {int(code)} | {code.meaning} |" for code in ExitCode]
    lines += ["", "## Options before every command\n", *_parameters(root.params), ""]
    for path, command in _commands("innkeeper", root):
        lines += [f"## {path}\n", (command.help or "").strip(), "", *_parameters(command.params), ""]
    return "\n".join(lines).rstrip() + "\n"


def _commands(path: str, command: object) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for name in sorted(command.commands):
            yield from _commands(f"{path} {name}", command.commands[name])
    elif isinstance(command, TyperCommand) and not command.hidden:
        yield path, command


def _parameters(parameters: Iterable[object]) -> list[str]:
    kinds = (TyperArgument, TyperOption)
    rows = [row for each in parameters if isinstance(each, kinds) and (row := _parameter(each))]
    return ["| | |", "|---|---|", *rows] if rows else []


def _parameter(parameter: TyperArgument | TyperOption) -> str:
    if parameter.name in ("help", "install_completion", "show_completion"):
        return ""
    if isinstance(parameter, TyperArgument):
        name = parameter.metavar or (parameter.name or "").upper()
    else:
        name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    text = (getattr(parameter, "help", None) or "").replace("|", "\\|")
    default = parameter.default
    shown = default not in (None, False, (), "", []) and not callable(default)
    return f"| `{name}` | {text}{f' Default: `{default}`.' if shown else ''} |"


def api_reference() -> str:
    """The requests: what they are for, what they take and what they answer."""
    description = bare_app().openapi()
    lines = [_API_HEAD, "| request | | takes | answers |", "|---|---|---|---|"]
    for path, methods in description["paths"].items():
        for method, said in methods.items():
            text = said.get("description", "").splitlines()[0].replace("|", "\\|")
            lines.append(f"| `{method.upper()} {path}` | {text} | {_takes(said)} | {_answers(said)} |")
    verbs = ", ".join(f"`{command.route}`" for command in Command)
    lines += ["", f"A machine's verbs are {verbs}."]
    lines += ["", "## Messages\n"]
    for name, schema in sorted(description["components"]["schemas"].items()):
        if name not in ("HTTPValidationError", "ValidationError") and "properties" in schema:
            fields = ", ".join(f"`{field}`" for field in schema["properties"])
            lines.append(f"- **{name}**: {schema.get('description', '').splitlines()[0]} {fields}")
    return "\n".join(lines) + "\n"


def _takes(said: dict[str, Any]) -> str:
    taken = [f"`{each['name']}`" for each in said.get("parameters", []) if each["in"] == "query"]
    if "requestBody" in said:
        taken.insert(0, _named(said["requestBody"]))
    return ", ".join(taken)


def _answers(said: dict[str, Any]) -> str:
    return ", ".join(
        f"{code} {_named(answer)}".strip()
        for code, answer in said["responses"].items()
        if code.startswith("2")
    )


def _named(body: dict[str, Any]) -> str:
    for schema in (content.get("schema", {}) for content in body.get("content", {}).values()):
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
    return ""


_COMMANDS_HEAD = """# The commands of machines

Written by `scripts/reference.py` from the table of commands, `src/innkeeper/wire/commands.py`.

One act has one name everywhere: the names and other names below are accepted wherever a command is named,
with dashes or underscores and whatever the case: `innkeeper machine …`, `POST /v1/machines/{name}/…`,
`machine.command(…)`, `innkeeper schedule add --operation …`. An unknown name is refused with the list. Each
is a task, and needs the role in the table on the machine. Scheduled tasks call a command by its class id,
with the machine's name as `Data` (see [the scheduler](schedule.md)).
"""


def commands_reference() -> str:
    """The table of commands: names, routes, class ids, states, cancel, role, warning."""
    lines = [_COMMANDS_HEAD]
    for command in Command:
        declaration = command.declaration
        lines += [
            f"## {command}\n",
            f"{declaration.what} {declaration.warning}".strip(),
            "",
            "| | |",
            "|---|---|",
        ]
        lines += [f"| {name} | {value} |" for name, value in _command_facts(command) if value]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _command_facts(command: Command) -> Iterator[tuple[str, str]]:
    declaration = command.declaration
    yield "documented", f"`{declaration.documented}`" if declaration.documented else ""
    spelled = declaration.verb or declaration.option
    yield "command line", f"`innkeeper machine {spelled} MACHINE...`" if spelled else ""
    yield "HTTP", f"`POST /v1/machines/{{name}}/{command.route}`"
    yield "other names", ", ".join(f"`{name}`" for name in command.names[1:])
    yield "class id", f"`{command.class_id}`"
    yield "possible when", ", ".join(_state(state) for state in declaration.life)
    yield "leads to", ", ".join(dict.fromkeys(_state(each.to) for each in declaration.life.values()))
    yield "a cancel", declaration.cancel_effect.replace("_", " ")
    yield "role", declaration.role


def _state(state: MachineState) -> str:
    return state.name.lower().replace("_", " ")


_VIRTUAL_PC_HEAD = """# The Virtual PC object model

Written by `scripts/reference.py` from the declarations in `scripts/virtual_pc`, which a test holds
against the code: each named attribute exists below `innkeeper.client`.

The documented names are kept in Python's spelling: `IVMVirtualMachine::Startup` is `Machine.startup()`. A
method that is documented to return a task returns a `Task`; a documented error is raised as an
`InnkeeperError` whose `code` is the documented identifier, at the call where the documentation has it there,
else as `Task.error`. Collections are Python sequences, counted from 0, and are as things were when they were
asked for.
"""


def virtual_pc_reference() -> str:
    """The table of all members: where each is, and how Linux carries it."""
    members = [member for interface in INTERFACES for member in interface.members]
    lines = [_VIRTUAL_PC_HEAD, "| carried | members | in this version | |", "|---|---|---|---|"]
    for carriage in Carriage:
        carried = [member for member in members if member.carriage is carriage]
        here = sum(1 for member in carried if member.attribute)
        lines.append(f"| {carriage.value} | {len(carried)} | {here} | {carriage.explained} |")
    for interface in INTERFACES:
        lines += ["", f"## {interface.name}\n", "| member | here | carried | how |", "|---|---|---|---|"]
        lines += [_member(member) for member in interface.members]
    return "\n".join(lines) + "\n"


def _member(member: Member) -> str:
    here = f"`{member.attribute}`" if member.attribute else "not in this version"
    how = member.how.replace("|", "\\|")
    return f"| {member.name} | {here} | {member.carriage.value} | {how} |"


def main() -> None:
    """Write all."""
    _REFERENCE.mkdir(exist_ok=True)
    (_REFERENCE / "cli.md").write_text(cli_reference())
    (_REFERENCE / "settings.md").write_text(settings_reference())
    (_REFERENCE / "machine-settings.md").write_text(machine_settings_reference())
    (_REFERENCE / "http-api.md").write_text(api_reference())
    (_REFERENCE / "commands.md").write_text(commands_reference())
    (_REFERENCE / "virtual-pc.md").write_text(virtual_pc_reference())
    (decisions.DECISIONS / "README.md").write_text(decisions.index())


if __name__ == "__main__":
    main()
