"""Parser of hostile XML into nodes with line and column."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from xml.parsers import expat

from innkeeper.errors import ErrorCode, ScheduleError

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"

_DEEPEST = 64
_MOST_NODES = 20_000
#: A > inside quotes does not end a start tag.
_START_TAG = re.compile(rb"""<[^"'>]*(?:"[^"]*"[^"'>]*|'[^']*'[^"'>]*)*>""")


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Node:
    """One element as it stands in the source."""

    name: str
    namespace: str
    #: The prefix it was written with, or empty.
    prefix: str
    #: Name (with its prefix, where it has one) to value.
    attributes: dict[str, str]
    #: Prefix to namespace, as declared on this very element.
    prefixes: dict[str, str]
    #: From 1, in characters.
    line: int
    column: int
    children: list[Node] = dataclasses.field(default_factory=list)
    text: str = ""
    #: The whole document, and where in it this element and what is between its tags begin and end.
    source: bytes
    start: int
    inner_start: int = 0
    inner_end: int = 0
    end: int = 0

    @property
    def outer(self) -> str:
        """The element verbatim, with its tags."""
        return self.source[self.start : self.end].decode("utf-8", "surrogatepass")

    @property
    def inner(self) -> str:
        """The content between the element's tags, verbatim."""
        return self.source[self.inner_start : self.inner_end].decode("utf-8", "surrogatepass")


def parse(text: str) -> Node:
    """Return the document's root; raises ``ScheduleError`` with line and column for malformed XML.

    Document types, and with them every entity, are refused; so are depth and number beyond what a
    definition can need.
    """
    return _Builder(text.encode("utf-8", "surrogatepass")).root()


def is_well_formed(text: str) -> bool:
    """Whether the text is an element, wherever its prefixes are declared."""
    parser = expat.ParserCreate("utf-8")
    try:
        parser.Parse(text.encode("utf-8", "surrogatepass"), True)
    except expat.ExpatError:
        return False
    return True


class _Builder:
    def __init__(self, source: bytes) -> None:
        self._source = source
        # Our own encoding overrides the one declared, which is wrong in half of all real files.
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.namespace_prefixes = True
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartNamespaceDeclHandler = self._namespace
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._open: list[tuple[Node, list[str]]] = []
        self._prefixes: dict[str, str] = {}
        self._root: Node | None = None
        self._count = 0

    def root(self) -> Node:
        try:
            self._parser.Parse(self._source, True)
        except expat.ExpatError as problem:
            words = expat.ErrorString(problem.code)
            raise _malformed(words, problem.lineno, problem.offset + 1) from None
        assert self._root is not None  # expat refuses a document without a root
        return self._root

    def _doctype(self, name: str, system: str | None, public: str | None, internal: bool) -> None:
        raise self._refused("it has a document type, which no definition needs and which can hide an attack")

    def _namespace(self, prefix: str | None, uri: str | None) -> None:
        self._prefixes[prefix or ""] = uri or ""

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= _DEEPEST:
            raise self._refused(f"its elements are nested deeper than {_DEEPEST}")
        if self._count > _MOST_NODES:
            raise self._refused(f"it has more than {_MOST_NODES:,} elements")
        namespace, name, prefix = _split(tag)
        node = Node(
            name=name,
            namespace=namespace,
            prefix=prefix,
            attributes={_qualified(key): value for key, value in attributes.items()},
            prefixes=self._prefixes,
            line=self._parser.CurrentLineNumber,
            column=self._parser.CurrentColumnNumber + 1,
            source=self._source,
            start=self._parser.CurrentByteIndex,
        )
        self._prefixes = {}
        if self._open:
            self._open[-1][0].children.append(node)
        else:
            self._root = node
        self._open.append((node, []))

    def _characters(self, text: str) -> None:
        self._open[-1][1].append(text)

    def _end(self, tag: str) -> None:
        node, text = self._open.pop()
        node.text = "".join(text)
        here = self._parser.CurrentByteIndex
        # After <a/> expat stands behind it, at </a> it stands before it.
        if not node.children and not node.text and self._source[here - 2 : here] == b"/>":
            node.inner_start = node.inner_end = node.end = here
            return
        start_tag = _START_TAG.match(self._source, node.start)
        assert start_tag is not None  # expat has just read it
        node.inner_start, node.inner_end = start_tag.end(), here
        node.end = self._source.index(b">", here) + 1

    def _refused(self, sentence: str) -> ScheduleError:
        return _malformed(sentence, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)


def _split(tag: str) -> tuple[str, str, str]:
    parts = tag.split(" ")
    if len(parts) == 1:
        return "", parts[0], ""
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def _qualified(key: str) -> str:
    _, name, prefix = _split(key)
    return f"{prefix}:{name}" if prefix else name


def _malformed(sentence: str, line: int, column: int) -> ScheduleError:
    return ScheduleError(
        f"This XML cannot be read (line {line}, column {column}): {sentence}.",
        code=ErrorCode.SCHED_E_MALFORMEDXML,
        line=line,
        column=column,
    )


def local(children: Sequence[Node], name: str) -> Node | None:
    """Return the first child of this name in the task namespace."""
    return next((child for child in children if child.name == name and child.namespace == NAMESPACE), None)
