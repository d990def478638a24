"""The table of commands: its names, its class ids, and the methods made from it."""

from __future__ import annotations

import pytest

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.commands import Command, MachineCommands, class_id_of, command_of, find_command

#: As scheduled tasks of former releases name them: these stay for ever.
_CLASS_IDS = {
    "startup": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0001}",
    "save": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0002}",
    "shut_down": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0003}",
    "turn_off": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0004}",
    "merge_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0005}",
    "discard_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0006}",
    "reset": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0007}",
    "pause": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0008}",
    "resume": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0009}",
    "discard_saved_state": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A000A}",
}


class _Told(MachineCommands[str]):
    """A machine that says what it was told."""

    def command(self, command: Command | str, *, timeout_seconds: float | None = None) -> str:
        return str(command)


def test_no_name_means_two_commands() -> None:
    """Else it would depend on the door what a word does."""
    names = [name for command in Command for name in command.names]
    assert sorted(set(names)) == sorted(names)


def test_no_class_id_changes_or_is_given_twice() -> None:
    """Scheduled tasks of former releases go on calling them."""
    assert _CLASS_IDS.items() <= {str(command): command.class_id for command in Command}.items()
    assert len({command.class_id for command in Command}) == len(Command)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("start", Command.STARTUP),
        ("startup", Command.STARTUP),
        ("stop", Command.SHUT_DOWN),
        ("shutdown", Command.SHUT_DOWN),
        ("shut-down", Command.SHUT_DOWN),
        ("Shut_Down", Command.SHUT_DOWN),
        ("turn-off", Command.TURN_OFF),
        ("power_off", Command.TURN_OFF),
    ],
)
def test_a_command_answers_to_its_documented_and_everyday_names(name: str, command: Command) -> None:
    """With dashes or underscores, whatever the case."""
    assert command_of(name) is command


def test_an_unknown_name_is_refused_with_the_list_of_all() -> None:
    """Whoever mistypes sees what there is, and its other names."""
    assert find_command("dance") is None
    with pytest.raises(InvalidArgument, match="dance") as caught:
        command_of("dance")
    assert caught.value.code is ErrorCode.E_INVALIDARG
    assert all(name in caught.value.advice for command in Command for name in command.names)


def test_an_operation_is_named_as_a_command_is() -> None:
    """Those of disks and updates keep their own names."""
    operations = {**_CLASS_IDS, "compact_disk": "{…20}"}
    assert class_id_of("start", operations) == _CLASS_IDS["startup"]
    assert class_id_of("compact-disk", operations) == "{…20}"
    with pytest.raises(InvalidArgument, match="dance") as caught:
        class_id_of("dance", operations)
    assert "compact_disk" in caught.value.advice
    assert "start" in caught.value.advice


@pytest.mark.parametrize("command", Command)
def test_every_command_is_a_method_of_a_machine(command: Command) -> None:
    """Under its own name, or that of its route."""
    method = getattr(_Told(), command, None) or getattr(_Told(), command.route)
    assert method() == command


def test_a_command_has_whole_words_in_sentences() -> None:
    """“Interrupt web-1” is a task's title; “Inject nmi web-1” says nothing to whoever reads it."""
    assert Command.INJECT_NMI.words == "interrupt"
    assert not [command for command in Command if {"nmi", "vm", "os"} & set(command.words.split())]
