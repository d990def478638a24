"""Describe a setting of a machine: its names, its limits, and when it can change."""

from __future__ import annotations

import dataclasses
import enum
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from innkeeper.errors import ErrorCode

#: As libvirt names the target of a disk.
_DISK_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,15}")
_LONGEST_NAMES: Final = 1024

#: The value of a setting.
SettingValue = str | int | bool


class Changeable(enum.Enum):
    """When a setting can change, with the words for it."""

    ANY_TIME = "Can be set in every state."
    NEXT_START = "Can be set in every state; a running machine uses it from its next start."
    OFF = "Can be set while the machine is turned off."
    NEVER = "Cannot be changed."


class Limits(Protocol):
    """Which values a setting takes."""

    @property
    def words(self) -> str:
        """The limits for people, such as ``from 1 to 512``."""

    @property
    def schema(self) -> Mapping[str, int]:
        """The limits as JSON schema has them."""

    def complaint(self, noun: str, value: SettingValue) -> str:
        """Return what is wrong with a value, as a sentence; empty where nothing is."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NumberLimits:
    """A whole number within bounds."""

    least: int
    #: ``None`` where another rule has the upper bound.
    most: int | None = None
    #: What the upper bound is where there is no number.
    most_words: str = ""

    @property
    def words(self) -> str:
        """The limits for people."""
        return f"from {self.least:,} to {f'{self.most:,}' if self.most is not None else self.most_words}"

    @property
    def schema(self) -> Mapping[str, int]:
        """The limits as JSON schema has them."""
        return {"minimum": self.least} | ({"maximum": self.most} if self.most is not None else {})

    def complaint(self, noun: str, value: SettingValue) -> str:
        """What is wrong with a number."""
        number = int(value)
        fits = self.least <= number and (self.most is None or number <= self.most)
        return "" if fits else f"A machine's {noun} cannot be {number:,}."


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TextLimits:
    """A text that XML can hold: all printable characters, and line ends where there may be lines."""

    longest: int
    lines: bool = False

    @property
    def words(self) -> str:
        """The limits for people."""
        return f"at most {self.longest:,} {'' if self.lines else 'printable '}characters"

    @property
    def schema(self) -> Mapping[str, int]:
        """The limits as JSON schema has them."""
        return {"maxLength": self.longest}

    def complaint(self, noun: str, value: SettingValue) -> str:
        """What is wrong with a text."""
        text = str(value)
        if len(text) > self.longest:
            return f"A machine's {noun} cannot have {len(text):,} characters."
        is_writable = _is_writable(text) if self.lines else text.isprintable()
        return "" if is_writable else f"A machine's {noun} cannot hold a control character."


def _is_writable(text: str) -> bool:
    """Whether XML 1.0 has a way to write it."""
    return not any((c < " " and c not in "\t\n\r") or "\ud800" <= c <= "\udfff" for c in text)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class GuidLimits:
    """A GUID, in braces or without."""

    words: str = "a GUID"
    schema: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def complaint(self, noun: str, value: SettingValue) -> str:
        """What is wrong with a GUID."""
        try:
            uuid.UUID(str(value))
        except ValueError:
            return f"“{str(value)[:60]}” is not a GUID."
        return ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskNames:
    """Names of disks in a machine's definition, with commas between them: ``vdb,vdc``."""

    words: str = "names of its disks with commas between them, such as vdb,vdc"
    schema: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"maxLength": _LONGEST_NAMES})

    def complaint(self, noun: str, value: SettingValue) -> str:
        """What is wrong with the names."""
        text = str(value)
        if len(text) > _LONGEST_NAMES:
            return f"A machine's {noun} cannot have {len(text):,} characters."
        if text and not all(_DISK_NAME.fullmatch(each) for each in text.split(",")):
            return f"“{text[:60]}” is no list of disks."
        return ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """All that the interfaces say of one setting.

    Standing in the annotation of a field of a pydantic model or ``TypedDict``, it gives the field its
    description and limits in OpenAPI.
    """

    #: One sentence for people, which every interface shows.
    help: str
    #: The setting in a sentence: "A machine's {noun} cannot …", "… cannot change its {noun}".
    noun: str
    #: The property of the documented interface (``IVMVirtualMachine``); empty where it has none.
    documented: str = ""
    #: The property of the client's machine; empty where it is called as in JSON.
    member: str = ""
    #: The option of ``machine set``; empty where it is called as in JSON, ``None`` for no option.
    option: str | None = ""
    #: What the option takes, such as ``MIB``.
    metavar: str = ""
    limits: Limits | None = None
    changes: Changeable = Changeable.ANY_TIME
    #: The documented identifier where the machine is in a state in which it cannot change.
    refusal: ErrorCode = ErrorCode.VM_E_PREF_VM_ACTIVE
    #: What to do instead, where it does not change.
    advice: str = ""
    #: How a list of facts of a machine names it; empty where it is not listed.
    label: str = ""

    @property
    def words(self) -> str:
        """The setting for people: its help, its limits, and when it can change where that matters."""
        return " ".join([self.help, *self._rules])

    @property
    def description(self) -> str:
        """The setting for programmers: with its documented name too."""
        documented = f" (``{self.documented}``)" if self.documented else ""
        return " ".join([f"{self.help.removesuffix('.')}{documented}.", *self._rules])

    @property
    def _rules(self) -> Sequence[str]:
        limits = [] if self.limits is None else [f"{self.limits.words[0].upper()}{self.limits.words[1:]}."]
        return limits if self.changes is Changeable.ANY_TIME else [*limits, self.changes.value]

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        limits = self.limits.schema if self.limits is not None else {}
        return {**handler(schema), **limits, "description": self.description.replace("``", "`")}
