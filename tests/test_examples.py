"""Every example in the documents is one that the programs take."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree
from typer.core import TyperCommand, TyperGroup

import documentation
import innkeeper
from innkeeper.cli.app import whole
from innkeeper.schedule import TaskDefinition
from innkeeper.schedule.events.query import Subscription
from innkeeper.server import settings
from tests.serving import Service

_ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?P<mark><!-- runs -->\n)?^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
#: Words that are not a command's: what follows them on the line is another command, or a file.
_ENDS = re.compile(r"[;|&<>]+")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A block of a page."""

    page: str
    line: int
    language: str
    text: str
    #: Whether the page says that it runs as it stands.
    runs: bool

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _examples() -> Iterator[Example]:
    for page in documentation.pages(_ROOT):
        text = (_ROOT / page).read_text()
        for match in _BLOCK.finditer(text):
            yield Example(
                page=page,
                line=text.count("\n", 0, match.start("text")),
                language=match["language"],
                text=re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
                runs=match["mark"] is not None,
            )


_EXAMPLES = tuple(_examples())


def _of(language: str) -> pytest.MarkDecorator:
    found = [each for each in _EXAMPLES if each.language == language]
    assert found, f"no example is {language}: the pattern that finds them is wrong"
    return pytest.mark.parametrize("example", found, ids=str)


def test_every_block_says_its_language() -> None:
    """What is no language is ``text``: a block that nobody closes swallows the page."""
    known = {"sh", "python", "toml", "json", "xml", "ini", "text"}
    assert [str(each) for each in _EXAMPLES if each.language not in known] == []
    for page in documentation.pages(_ROOT):
        fences = re.findall(r"^ *```", (_ROOT / page).read_text(), re.MULTILINE)
        assert len(fences) == 2 * sum(each.page == page for each in _EXAMPLES), page


@_of("toml")
def test_settings_are_taken_by_the_service(example: Example, tmp_path: Path) -> None:
    """By the loader that reads the service's own file: names, types and bounds."""
    file = tmp_path / "innkeeper.toml"
    file.write_text(example.text)
    settings.load(file=file, environ={"HOME": "/home/ana"})


def test_a_setting_that_is_commented_out_is_taken_too(tmp_path: Path) -> None:
    """``# name = …`` in an example is one that a reader will uncomment."""
    found = [
        line
        for each in _EXAMPLES
        if each.language == "toml"
        for line in re.findall(r"^# (\w+ = .*)", each.text, re.M)
    ]
    assert found
    for line in found:
        file = tmp_path / "innkeeper.toml"
        file.write_text(line)
        settings.load(file=file, environ={"HOME": "/home/ana"})


@_of("json")
def test_json_parses(example: Example) -> None:
    """Whatever it is for."""
    json.loads(example.text)


@_of("xml")
def test_xml_is_taken_by_who_reads_it(example: Example) -> None:
    """A scheduled task by the importer, a query by the event triggers, all else by a parser."""
    root = etree.fromstring(example.text.encode())
    kind = etree.QName(root).localname
    if kind == "Task":
        TaskDefinition.from_xml(example.text, strict=True)
    elif kind == "QueryList":
        Subscription(example.text)


def test_a_scheduled_task_is_among_the_examples() -> None:
    """Else the test above would try none."""
    assert any("<Task " in each.text for each in _EXAMPLES if each.language == "xml")


@_of("python")
def test_python_compiles(example: Example) -> None:
    """As a module, or as the lines of an asynchronous one."""
    compile(example.text, str(example), "exec")


@pytest.mark.parametrize("example", [each for each in _EXAMPLES if each.runs], ids=str)
def test_python_that_runs_does(
    example: Example, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a service with simulated machines, with the folders of the example put below a test's."""
    folder = service.state_dir / "disks"
    monkeypatch.setenv("INNKEEPER_SOCKET", str(service.socket))
    text = example.text.replace("/var/lib/innkeeper", str(service.state_dir)).replace("/vm/", f"{tmp_path}/")
    before = set(folder.iterdir()) if folder.exists() else set()
    with service.connect() as inn, contextlib.ExitStack() as undo:
        machine = inn.machines["web-1"]
        state = machine.state
        if state.name != "RUNNING":
            machine.startup().wait()
        undo.callback(_close_channels, inn)
        exec(compile(text, str(example), "exec"), {"inn": inn, "machine": machine, "innkeeper": innkeeper})
    for path in set(folder.iterdir()) - before if folder.exists() else ():
        path.unlink()


def _close_channels(inn: innkeeper.Inn) -> None:
    for channel in inn.channels:
        channel.close()


def test_examples_that_run_are_there() -> None:
    """Marked by ``<!-- runs -->`` before them."""
    assert sum(each.runs for each in _EXAMPLES) >= 4


def _commands(text: str) -> Iterator[list[str]]:
    """The innkeeper commands of a shell block, each with its words."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";|&<>")
        words.whitespace_split, words.escape = True, ""
        command: list[str] = []
        for word in [*words, ";"]:
            if not _ENDS.fullmatch(word):
                command.append(word)
                continue
            if command and Path(command[0]).name == "innkeeper":
                yield command[1:]
            command = []


@_of("sh")
def test_commands_are_taken_by_the_command_line(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands, arguments and options exist, with values of their types."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in _commands(example.text):
        _parse(words)


#: The whole command line; to build it anew for each example would take most of the time.
_ROOT_COMMAND = whole()


def _parse(words: list[str]) -> None:
    """Read a command as the program does, and run nothing. Raises the program's own complaint."""
    command = _ROOT_COMMAND
    context = command.make_context("innkeeper", list(words))
    while isinstance(command, TyperGroup):
        left = [*context._protected_args, *context.args]
        assert left, f"{shlex.join(words)} is no whole command"
        name, below, rest = command.resolve_command(context, left)
        assert below is not None
        context = below.make_context(name, rest, parent=context)
        command = below


def test_what_is_no_command_is_found() -> None:
    """A wrong verb, option or type would fail the test above."""
    for words in (
        ["machine", "lsit"],
        ["machine", "list", "--colour"],
        ["window", "add"],
        ["serve", "--speed", "x"],
    ):
        with pytest.raises(Exception, match=r"(?i)no such|missing|valid"):
            _parse(words)


_SPAN = re.compile(r"(?<!`)`(?:\.venv/bin/)?innkeeper ([^`\n]+)`(?!`)")


@pytest.mark.parametrize("page", [page for page in documentation.pages(_ROOT) if page != "CHANGELOG.md"])
def test_commands_in_sentences_exist(page: str) -> None:
    """Each ``innkeeper noun verb --option`` in a line of text: values may be placeholders, names not."""
    for match in _SPAN.finditer((_ROOT / page).read_text()):
        for alternative in _alternatives(match[1].split()):
            _find(alternative, f"{page}: {match[0]}")


def _alternatives(words: list[str]) -> Iterator[list[str]]:
    """``set|attach`` as two commands."""
    for at, word in enumerate(words):
        if "|" in word:
            for each in word.split("|"):
                yield from _alternatives([*words[:at], each, *words[at + 1 :]])
            return
    yield words


def _find(words: list[str], where: str) -> None:
    command: TyperCommand | TyperGroup = _ROOT_COMMAND
    for word in words:
        if word == "--":
            return
        options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {
            "--help"
        }
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{where}: no option {word}"
        elif isinstance(command, TyperGroup) and not word.startswith(("-", "…", "HOST")):
            assert word in command.commands, f"{where}: no command {word}"
            found = command.commands[word]
            assert isinstance(found, TyperCommand | TyperGroup)
            command = found
