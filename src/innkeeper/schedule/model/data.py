"""A task's ``Data``, kept as it is, with Innkeeper's own element found in it."""

from __future__ import annotations

import dataclasses

from innkeeper.schedule.model import extension as extensions
from innkeeper.schedule.model.extension import Extension
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import hoist, verbatim
from innkeeper.schedule.xml.markup import Tag, Verbatim, render
from innkeeper.schedule.xml.node import Node, is_well_formed


@dataclasses.dataclass(kw_only=True, slots=True)
class Data:
    """What a task carries for its actions and tools."""

    #: Markup, kept to the character; what is no markup is written as text.
    text: str = ""
    #: What Innkeeper itself adds.
    extension: Extension = dataclasses.field(default_factory=Extension)


class DataForm:
    """XML form of the data: verbatim, with Innkeeper's element somewhere in it."""

    def read(self, node: Node, findings: Findings) -> Data:
        hoist(node, findings)
        text = node.inner
        extension = Extension()
        for child in node.children:
            if extensions.is_ours(child):
                extension = extensions.parsed(child, findings)
                text = text.replace(child.outer, "", 1)
            elif child.prefix and child.prefix not in child.prefixes:
                # A prefix that an outer element declared: the root will.
                text = text.replace(child.outer, verbatim(child, findings).text, 1)
        return Data(text=text, extension=extension)

    def write(self, name: str, value: Data) -> Verbatim | None:
        inner = _markup(value.text) + extensions.markup(value.extension)
        return Verbatim(f"<{name}>{inner}</{name}>") if inner else None

    def coerce(self, value: object) -> Data:
        if not isinstance(value, Data):
            raise ValueError("it is not task data")
        return value


def _markup(text: str) -> str:
    if is_well_formed(f"<Data>{text}</Data>"):
        return text
    return render(Tag(name="_", text=text)).removeprefix("<_>").removesuffix("</_>")
