"""Every value of every command, with what nobody means: a sentence and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from innkeeper.cli.app import whole
from innkeeper.cli.exit_codes import ExitCode
from tests.serving import Service

#: Commands that do not come back by themselves, or reach for other computers.
_ENDLESS = {"serve", "login", "machine console", "channel connect"}

_VALUES = {
    "empty": "",
    "negative": "-1",
    "huge": "9" * 30,
    "days": "9999999d",
    "far": "9999-12-31T23:59:59-12:00",
    "year-1": "0001-01-01T00:00:00+14:00",
    "long": "x" * 300,
    "half": "a\udcff",
    "nul": "a\0b",
    "number": "99",
    "directory": "/",
    "nothing": "/nowhere/at/all",
}


def _commands(path: tuple[str, ...], command: object) -> Iterator[tuple[tuple[str, ...], TyperCommand]]:
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from _commands((*path, name), below)
    elif isinstance(command, TyperCommand) and " ".join(path) not in _ENDLESS:
        yield path, command


_COMMANDS = tuple(_commands((), whole()))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own: some of what is tried succeeds."""
    mine = Service(tmp_path_factory.mktemp("fuzzed"))
    mine.start()
    yield mine
    mine.end()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "command"), _COMMANDS, ids=[" ".join(path) for path, _ in _COMMANDS])
def test_no_value_ends_in_a_traceback(
    fuzzed: Service,
    path: tuple[str, ...],
    command: TyperCommand,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each option and argument in turn with each value, the others as they should be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name, value in _VALUES.items():
        for line in _lines(path, command, value):
            ended = fuzzed.run(*line, stdin=b"")
            assert ended.code in set(ExitCode), (name, line, ended)
            assert "Traceback" not in ended.err, (name, line, ended)
            assert "E_UNEXPECTED" not in ended.err, (name, line, ended)


def _lines(path: Sequence[str], command: TyperCommand, value: str) -> Iterator[list[str]]:
    """The command once for each of its parameters, with the value there."""
    arguments = [each for each in command.params if isinstance(each, TyperArgument)]
    required = [
        word
        for each in command.params
        if isinstance(each, TyperOption) and each.required
        for word in ((each.opts[0],) if each.is_flag else (each.opts[0], "1"))
    ]
    usual = [_usual(each) for each in arguments if each.required]
    for place in range(len(arguments)):
        words = (usual + ["1"] * len(arguments))[: max(place + 1, len(usual))]
        yield [*path, *required, "--", *words[:place], value, *words[place + 1 :]]
    for option in command.params:
        if isinstance(option, TyperOption) and not option.is_flag:
            yield [*path, *required, f"{option.opts[0]}={value}", "--", *usual]


def _usual(argument: TyperArgument) -> str:
    return "web-1" if "MACHINE" in (argument.metavar or "") else "1"
