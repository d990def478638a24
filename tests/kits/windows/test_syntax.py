"""The kit as text: whoever reads PowerShell finds no slip in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tree_sitter import Node

from innkeeper.channels.kits.powershell import source
from tests.kits.windows.powershell.language import parsed

#: What Windows PowerShell 5.1 brings, on Windows Server 2016 and later, and the kit uses.
_COMMANDS = {
    *(
        "ConvertFrom-Json",
        "ForEach-Object",
        "Get-ChildItem",
        "Get-CimInstance",
        "Get-Date",
        "Get-NetAdapter",
        "Get-NetRoute",
        "Get-NetTCPConnection",
    ),
    *(
        "Get-NetTCPSetting",
        "Get-NetUDPEndpoint",
        "Get-Service",
        "Get-WinEvent",
        "Invoke-CimMethod",
        "Join-Path",
    ),
    *("New-Object", "Register-ScheduledTask", "Restart-Service", "Select-Object", "Set-Date", "Sort-Object"),
    *("Start-Process", "Start-ScheduledTask", "Start-Sleep", "Unregister-ScheduledTask", "Where-Object"),
}
_OF_POWERSHELL = {"_", "args", "env", "false", "matches", "null", "pscommandpath", "true", "script"}
#: Variables that PowerShell sets by itself, so that what a script puts there is lost, or worse.
_NOT_TO_SET = {
    "args",
    "error",
    "event",
    "foreach",
    "home",
    "host",
    "input",
    "matches",
    "pid",
    "profile",
    "sender",
    "this",
}


def _nodes(node: Node, *kinds: str) -> Iterator[Node]:
    if node.type in kinds:
        yield node
    for child in node.children:
        yield from _nodes(child, *kinds)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _name(variable: Node) -> str:
    return _text(variable).strip("${}").lower()


def _assigned(node: Node) -> set[str]:
    """The variables that are set somewhere in there, those of the script apart."""
    targets = [each for each in _nodes(node, "left_assignment_expression") if _text(each).startswith("$")]
    plain = {_text(each)[1:].lower() for each in targets if re.fullmatch(r"\$\w+", _text(each))}
    loops = {_name(each.named_children[0]) for each in _nodes(node, "foreach_statement")}
    parameters = {
        _name(variable) for each in _nodes(node, "script_parameter") for variable in _nodes(each, "variable")
    }
    return plain | loops | parameters


def test_a_parser_of_powershell_finds_no_error() -> None:
    """The whole file is PowerShell, as far as the grammar of tree-sitter knows it."""
    root = parsed(source())
    wrong = [f"line {node.start_point[0] + 1}: {_text(node)[:60]}" for node in _nodes(root, "ERROR")]
    assert not root.has_error
    assert wrong == []


def test_it_is_ascii_in_lines_of_windows() -> None:
    """Windows PowerShell reads a file without a mark by the code page of its country."""
    assert source().isascii()
    assert b"\r\n" in source()
    assert re.search(rb"[^\r]\n", source()) is None


def test_it_never_names_the_pipeline_variable() -> None:
    """Else PowerShell would read standard input as text before the kit reads it as bytes."""
    assert "$input" not in source().decode().lower()


def test_every_command_is_there() -> None:
    """It calls its own functions, and commands that every Windows in question has."""
    root = parsed(source())
    functions = {_text(node) for node in _nodes(root, "function_name")}
    called = {_text(node) for node in _nodes(root, "command_name")}
    assert called - functions - _COMMANDS == set()
    assert functions - called == set(), "functions that nobody calls"
    assert not {name.lower() for name in functions} & {name.lower() for name in _COMMANDS}


def test_every_variable_is_set_before_it_is_read() -> None:
    """A name that is spelt wrong is nothing in PowerShell, and no error."""
    root = parsed(source())
    bodies = list(_nodes(root, "function_statement"))
    inside = {node.id for body in bodies for node in _nodes(body, "variable", "left_assignment_expression")}
    whole = {
        _text(node)[1:].lower()
        for node in _nodes(root, "left_assignment_expression")
        if node.id not in inside and _text(node).startswith("$")
    }
    of_script = {
        _name(node).removeprefix("script:") for node in _nodes(root, "variable") if "script:" in _name(node)
    }
    for body in bodies:
        known = _assigned(body) | whole | _OF_POWERSHELL
        read = {_name(node) for node in _nodes(body, "variable")}
        unknown = {name for name in read if name not in known and not name.startswith(("env:", "script:"))}
        assert unknown == set(), _text(body.named_children[0])
        assert _assigned(body) & (whole | of_script) == set(), (
            f"{_text(body.named_children[0])} hides what is the script's"
        )


def test_it_sets_nothing_of_powershells() -> None:
    """Names that PowerShell keeps for itself are not set."""
    assert _assigned(parsed(source())) & _NOT_TO_SET == set()


def test_nothing_newer_than_windows_powershell_is_in_it() -> None:
    """Version 7 knows more than what every Windows has."""
    newer = {"??", "??=", "?.", "?[", "&&", "||", "ternary_expression", "chain_operator"}
    assert {node.type for node in _nodes(parsed(source()), *newer)} == set()


def test_it_says_what_it_is() -> None:
    """Nobody has tried it on Windows, and it says so."""
    assert b"UNTRIED ON WINDOWS" in source()
