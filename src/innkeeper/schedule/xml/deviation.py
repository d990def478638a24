"""Deviations of a definition from the schema."""

from __future__ import annotations

import dataclasses

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.xml.node import Node


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """One place where a definition is not what the schema says (``TASK_XML_ERROR_INFO``)."""

    code: ErrorCode
    #: From 1.
    line: int
    column: int
    #: The element or attribute at fault; the missing one's name where one is missing.
    node: str
    #: What stands there.
    value: str
    #: What is wrong, for a person.
    sentence: str
    #: Whether a lenient reader reads on: there is one sane way to take it.
    forgiven: bool

    def __str__(self) -> str:
        return f"({self.line},{self.column}):{self.node}:{self.value}: {self.sentence}"

    def error(self) -> ScheduleError:
        """The error that a strict reader raises for it."""
        shown = self.value if len(self.value) <= 80 else self.value[:80] + "…"
        message = f" ({shown!r})" if shown else ""
        return ScheduleError(
            f"Line {self.line}, column {self.column}: {self.node}{message}: {self.sentence}.",
            code=self.code,
            line=self.line,
            column=self.column,
            node=self.node,
            value=self.value,
        )


class Findings:
    """Deviations found so far."""

    def __init__(self) -> None:
        self.deviations: list[Deviation] = []
        #: The minor version that the document declares, 0 to 6.
        self.minor = 2
        #: Namespace prefixes to declare on the root, so that what was kept verbatim stays readable.
        self.prefixes: dict[str, str] = {}

    def add(
        self,
        node: Node,
        code: ErrorCode,
        sentence: str,
        *,
        name: str | None = None,
        value: str | None = None,
        forgiven: bool = False,
    ) -> None:
        """Add a deviation at the place of ``node``."""
        found = node.text.strip() if value is None else value
        name = node.name if name is None else name
        self.deviations.append(
            Deviation(
                code=code,
                line=node.line,
                column=node.column,
                node=name,
                value=found,
                sentence=sentence,
                forgiven=forgiven,
            )
        )

    def invalid(self, node: Node, sentence: str, *, value: str | None = None, forgiven: bool = False) -> None:
        """Add a value that the schema does not allow."""
        self.add(node, ErrorCode.SCHED_E_INVALIDVALUE, sentence, value=value, forgiven=forgiven)

    def missing(self, node: Node, name: str, sentence: str = "", *, forgiven: bool = False) -> None:
        """Add the missing ``name`` in ``node``."""
        sentence = sentence or f"{node.name} needs it"
        self.add(node, ErrorCode.SCHED_E_MISSINGNODE, sentence, name=name, value="", forgiven=forgiven)

    def unexpected(self, node: Node, sentence: str, *, forgiven: bool = True) -> None:
        """Add an element that the schema does not have there."""
        self.add(node, ErrorCode.SCHED_E_UNEXPECTEDNODE, sentence, forgiven=forgiven)

    def raise_first(self, *, strict: bool) -> None:
        """Raise the first deviation in the order of the document that may not stand."""
        standing = [found for found in self.deviations if strict or not found.forgiven]
        if standing:
            raise min(standing, key=lambda found: (found.line, found.column)).error()
