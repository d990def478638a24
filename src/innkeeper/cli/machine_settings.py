"""Change settings of machines: the options follow from the table of settings."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer

from innkeeper.cli.terminal import Json, MachineName, Session, session_of
from innkeeper.errors import InvalidArgument
from innkeeper.wire.configuration import ConfigurationMessage
from innkeeper.wire.machine_settings import SETTINGS, DeclaredSetting, MachineChanges, word_of
from innkeeper.wire.setting import DiskNames

_OPTIONS = {
    f"new_{key}": declared for key, declared in SETTINGS.items() if declared.setting.option is not None
}


def set_command(answer: Callable[[Session, ConfigurationMessage], None]) -> Callable[..., None]:
    """The command ``machine set``, with an option for each setting; ``answer`` shows the machine changed."""

    def set_machine(context: typer.Context, name: str, json: bool, **given: object) -> None:
        session = session_of(context)
        wanted = {
            declared.key: _value(declared, given[parameter])
            for parameter, declared in _OPTIONS.items()
            if given[parameter] is not None
        }
        if not wanted:
            raise InvalidArgument(
                "There is nothing to change: no option was given.",
                advice="innkeeper machine set --help lists what can be changed.",
            )
        machine = session.inn.machines[name]
        answer(session, machine.change(**cast("MachineChanges", wanted)))
        if wanted.get("undo_exclude") and not session.json:
            for obstacle in machine.check().obstacles:
                session.note(f"{obstacle.sentence} {obstacle.advice}".rstrip())

    set_machine.__doc__ = (
        "Change a machine's name, notes, memory, processors and what happens to it by itself."
    )
    _declare(set_machine)
    return set_machine


def _declare(command: Callable[..., None]) -> None:
    """Give a command the parameters that typer makes its arguments and options of."""
    hints: dict[str, Any] = {"context": typer.Context, "name": MachineName}
    hints |= {parameter: _option(declared) for parameter, declared in _OPTIONS.items()}
    hints |= {"json": Json}
    defaults: dict[str, object] = dict.fromkeys(_OPTIONS) | {"json": False}
    kind = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what ``inspect.signature`` reads
        [
            inspect.Parameter(key, kind, default=defaults.get(key, inspect.Parameter.empty), annotation=hint)
            for key, hint in hints.items()
        ]
    )
    command.__annotations__ = {**hints, "return": None}


def _option(declared: DeclaredSetting) -> object:
    option = typer.Option(
        declared.option or "",
        metavar=declared.setting.metavar or None,
        help=declared.setting.words,
        case_sensitive=False,
    )
    return Annotated[_type(declared) | None, option]


def _type(declared: DeclaredSetting) -> Any:
    """The type that typer reads: a closed set by its words."""
    words = {member.name: word_of(member) for member in declared.members}
    return enum.StrEnum(declared.key, words) if words else declared.type


def _value(declared: DeclaredSetting, given: object) -> object:
    """What was typed, as the setting's type; a list may have spaces after its commas."""
    if isinstance(declared.setting.limits, DiskNames) and isinstance(given, str):
        return ",".join(each.strip() for each in given.split(","))
    return next((member for member in declared.members if word_of(member) == given), given)
