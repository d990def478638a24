"""Elements as text, indented as Windows does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

_TEXT = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#13;"}
_ATTRIBUTE = _TEXT | {ord('"'): "&quot;", ord("\n"): "&#10;", ord("\t"): "&#9;"}


@dataclasses.dataclass(frozen=True, slots=True)
class Verbatim:
    """Markup kept as it was read."""

    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """An element to write: it has text, or children, or neither."""

    name: str
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    text: str = ""
    children: tuple[Tag | Verbatim, ...] = ()


def render(tag: Tag | Verbatim, indent: str = "") -> str:
    """The markup, without a line end after it."""
    if isinstance(tag, Verbatim):
        return indent + tag.text
    attributes = "".join(f' {name}="{value.translate(_ATTRIBUTE)}"' for name, value in tag.attributes.items())
    start = f"{indent}<{tag.name}{attributes}"
    if tag.children:
        lines = "\n".join(render(child, indent + "  ") for child in tag.children)
        return f"{start}>\n{lines}\n{indent}</{tag.name}>"
    return f"{start}>{tag.text.translate(_TEXT)}</{tag.name}>" if tag.text else f"{start} />"
