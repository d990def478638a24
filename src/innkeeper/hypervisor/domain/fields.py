"""Declare fields of XML elements: attributes, texts and marks, by where they are."""

from __future__ import annotations

from lxml import etree

from innkeeper.errors import InvalidArgument


class Element:
    """A node with declared fields."""

    def __init__(self, node: etree._Element) -> None:
        self.node = node


class Attribute:
    """One attribute of one element below a node; absent means the default."""

    def __init__(self, path: str, name: str, default: str = "") -> None:
        self._path, self._name, self._default = path, name, default

    def __get__(self, owner: Element, _type: type[Element]) -> str:
        found = owner.node.find(self._path)
        return self._default if found is None else found.get(self._name, self._default)

    def __set__(self, owner: Element, value: str) -> None:
        child(owner.node, self._path).set(self._name, value)


class Text:
    """The text of one element below a node; absent means empty."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, owner: Element, _type: type[Element]) -> str:
        return (owner.node.findtext(self._path) or "").strip()

    def __set__(self, owner: Element, value: str) -> None:
        child(owner.node, self._path).text = value


class Present:
    """Whether an element is there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __get__(self, owner: Element, _type: type[Element]) -> bool:
        return owner.node.find(self._path) is not None


def child(node: etree._Element, path: str) -> etree._Element:
    """The element at a path below a node, made where it is not there."""
    for name in path.split("/"):
        if name == ".":
            continue
        found = node.find(name)
        node = etree.SubElement(node, name) if found is None else found
    return node


def remove(node: etree._Element, *paths: str) -> None:
    """Take out every element at these paths below a node."""
    for path in paths:
        for found in node.findall(path):
            parent = found.getparent()
            if parent is not None:
                parent.remove(found)


def parse(text: str, root: str) -> etree._Element:
    """Read XML whose outermost element has this name. Raises ``InvalidArgument``."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=False)
    try:
        node = etree.fromstring(text.encode(), parser)
    except etree.XMLSyntaxError as error:
        raise InvalidArgument(f"The machine's definition is no XML: {error}.") from error
    if node.tag != root:
        raise InvalidArgument(f"The machine's definition begins with <{node.tag}>, not with <{root}>.")
    return node


def written(node: etree._Element) -> str:
    """The element as text."""
    return etree.tostring(node, encoding="unicode", with_tail=False)
