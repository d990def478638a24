"""Select machines by words: ``label:web and not host:attic or db-1``."""

from __future__ import annotations

import dataclasses
import enum
import fnmatch
import re
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

from innkeeper.errors import InvalidArgument, MachineAmbiguous
from innkeeper.machines.machine import Machine
from innkeeper.wire.states import MachineState

_ADVICE: Final = (
    "Write names, globs (web-*), host/name, all, label:, host:, state:, os: or name:, with “and”, “or” and "
    "“not” between them, “and” before “or”, and no brackets: label:web and not host:attic or db-1"
)
_AND: Final = "and"
_OR: Final = "or"
_NOT: Final = "not"
_ALL: Final = "all"
_GLOB: Final = re.compile(r"[*?\[]")


class Aspect(enum.StrEnum):
    """What a word of a selector is compared with."""

    #: The machine's name; ``host/name`` where there is a slash.
    NAME = "name"
    HOST = "host"
    LABEL = "label"
    #: Its state, in the words that people read: ``off``, ``running``.
    STATE = "state"
    #: The guest's operating system, as its task agent names it.
    OS = "os"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What selectors are compared with, of one machine."""

    name: str
    host: str
    labels: tuple[str, ...]
    state: MachineState
    #: The guest's operating system; empty where it is not known.
    os: str = ""

    @classmethod
    def of(cls, machine: Machine, os: str = "") -> Described:
        """A machine as its host describes it."""
        return cls(name=machine.name, host=machine.host, labels=machine.labels, state=machine.state, os=os)

    def texts(self, aspect: Aspect) -> Sequence[str]:
        """All that the machine is called in this respect."""
        return _TEXTS[aspect](self)


_TEXTS: Final[dict[Aspect, Callable[[Described], Sequence[str]]]] = {
    Aspect.NAME: lambda m: (m.name, f"{m.host}/{m.name}"),
    Aspect.HOST: lambda m: (m.host,),
    Aspect.LABEL: lambda m: m.labels,
    Aspect.STATE: lambda m: (m.state.words,),
    Aspect.OS: lambda m: (m.os,) if m.os else (),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Term:
    """One word of a selector: what is compared, with which pattern, and whether it must not match."""

    #: As it was written.
    word: str
    aspect: Aspect
    pattern: re.Pattern[str]
    is_denied: bool

    def matches(self, machine: Described) -> bool:
        """Whether the machine is as the word says, or is not where it is denied."""
        return self.names(machine) is not self.is_denied

    @property
    def is_one(self) -> bool:
        """Whether one machine is meant: a plain name, where ``name:web-1`` means all of that name."""
        return (
            not self.is_denied and ":" not in self.word and self.word != _ALL and not _GLOB.search(self.word)
        )

    def names(self, machine: Described) -> bool:
        """Whether the word is true of the machine, denied or not."""
        return any(self.pattern.fullmatch(text.casefold()) for text in machine.texts(self.aspect))


@dataclasses.dataclass(frozen=True, slots=True)
class Selector:
    """Machines for which every word of one of its alternatives holds."""

    text: str
    #: What stands between one “or” and the next.
    alternatives: tuple[tuple[Term, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read a selector. Raises ``InvalidArgument`` where it is none."""
        return cls(text, tuple(tuple(_terms(text, words)) for words in _apart(_words(text), _OR)))

    def matches(self, machine: Described) -> bool:
        """Whether the machine is one of them."""
        return any(all(term.matches(machine) for term in terms) for terms in self.alternatives)

    def unmatched(self, machines: Collection[Described]) -> Sequence[str]:
        """Return the words that name none of the machines: misspelled ones, most often.

        A state that no machine is in is none of these: states are known.
        """
        terms = (term for terms in self.alternatives for term in terms if term.aspect is not Aspect.STATE)
        return [term.word for term in terms if not any(map(term.names, machines))]

    def refuse_ambiguous(self, machines: Collection[Described]) -> None:
        """Raises ``MachineAmbiguous`` for a plain name that several hosts' machines have."""
        for term in (term for terms in self.alternatives for term in terms if term.is_one):
            found = [f"{machine.host}/{machine.name}" for machine in machines if term.names(machine)]
            if len(found) > 1:
                raise MachineAmbiguous(term.word, sorted(found))

    @property
    def asks_for_os(self) -> bool:
        """Whether guests' operating systems must be known to match it."""
        return any(term.aspect is Aspect.OS for terms in self.alternatives for term in terms)


def _terms(text: str, words: Sequence[str]) -> Iterator[Term]:
    for part in _apart(words, _AND):
        is_denied = False
        while part and part[0].casefold() == _NOT:
            is_denied = not is_denied
            part = part[1:]
        if not part:
            raise _refused(text, "a word is missing")
        if len(part) > 1:
            raise _refused(text, f"“{part[0]}” and “{part[1]}” are not joined by “and” or “or”")
        yield _term(text, part[0], is_denied)


def _apart(words: Sequence[str], joint: str) -> list[list[str]]:
    """The words, apart where this one stands between them."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word.casefold() == joint:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise _refused(text, "a quotation in it does not end") from error
    if not words:
        raise _refused(text, "it is empty")
    return words


def _term(text: str, word: str, is_denied: bool) -> Term:
    before, colon, after = word.partition(":")
    if not colon:
        return Term(word, Aspect.NAME, _pattern("*" if word == _ALL else word), is_denied)
    try:
        aspect = Aspect(before.casefold())
    except ValueError as error:
        raise _refused(text, f"“{before}:” is nothing that machines are told by") from error
    if aspect is Aspect.STATE and after.casefold() not in _STATES:
        raise _refused(text, f"there is no state “{after}”, only {', '.join(_STATES)}")
    return Term(word, aspect, _pattern(after), is_denied)


_STATES: Final = tuple(state.words for state in MachineState)


def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(glob.casefold()))


def _refused(text: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"The selector “{text}” cannot be read: {why}.", advice=_ADVICE)
