"""Groups of commands whose modules are imported when one of their commands is used."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A module that gives commands to a group: its ``app``, or by its ``add_to(app)``."""

    module: str
    #: The commands that it gives, each with the first line of its help.
    commands: Mapping[str, str]


class LazyGroup(TyperGroup):
    """A group that lists commands from a table, and imports a command's module when it is used."""

    #: Where the commands are that are not the group's own.
    parts: ClassVar[tuple[Part, ...]] = ()

    def __init__(self, **attributes: Any) -> None:
        """As every group of Typer is made."""
        super().__init__(**attributes)
        self._loaded: set[str] = set()
        for part in self.parts:
            for name, line in part.commands.items():
                self.commands[name] = TyperCommand(name=name, help=line, rich_markup_mode=None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was asked for; its module is imported now."""
        for part in self.parts:
            if args[0] in part.commands:
                self._load(part)
        return super().resolve_command(ctx, args)

    def load_all(self) -> None:
        """Import all modules, for whoever reads the whole tree of commands."""
        for part in self.parts:
            self._load(part)
        for command in self.commands.values():
            if isinstance(command, LazyGroup):
                command.load_all()

    def _load(self, part: Part) -> None:
        if part.module not in self._loaded:
            self._loaded.add(part.module)
            self.commands.update(commands_of(part))


def commands_of(part: Part) -> Mapping[str, Any]:
    """The commands that a part's module gives, by name."""
    module = importlib.import_module(part.module)
    holder = typer.Typer(rich_markup_mode=None)
    if hasattr(module, "app"):
        holder.add_typer(module.app)
    else:
        module.add_to(holder)
    return typer.main.get_group(holder).commands
