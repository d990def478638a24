"""Objects of the model and their XML, declared once: fields, elements and attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Generic, TypeVar, cast

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.forms import Form
from innkeeper.schedule.xml.markup import Tag, Verbatim
from innkeeper.schedule.xml.node import NAMESPACE, Node

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """XML form of one field."""

    #: The documented element, or the attribute.
    name: str
    form: Form[object]
    #: The element between the object and the field, such as ``RestartOnFailure``.
    inside: str = ""
    #: The minor version that brought it.
    since: int = 0
    is_attribute: bool = False
    #: Whether its parent is refused without it.
    required: bool = False
    #: Whether it is written even where it is the default.
    always: bool = False
    #: What ``None`` means, where XML must say it.
    none: object = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What the XML held beyond the values, so that writing it again changes nothing."""

    #: For the object ("") and each element between it and its fields: the children in their order.
    children: Mapping[str, tuple[str | Verbatim, ...]] = dataclasses.field(default_factory=dict)
    #: Attributes that the model does not know.
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def order(self, inside: str) -> tuple[str | Verbatim, ...]:
        """Names of what stood there, in its order."""
        return self.children.get(inside, ())


def element(
    name: str,
    form: Form[T],
    *,
    default: T | None = None,
    factory: Callable[[], T] | None = None,
    inside: str = "",
    since: int = 0,
    required: bool = False,
    always: bool = False,
    none: T | None = None,
) -> T:
    """A field that stands as an element."""
    spec = Spec(
        name=name,
        form=cast("Form[object]", form),
        inside=inside,
        since=since,
        required=required,
        always=always,
        none=none,
    )
    return _field(spec, default, factory)


def attribute(name: str, form: Form[T], *, default: T | None = None) -> T:
    """A field that stands as an attribute."""
    return _field(Spec(name=name, form=cast("Form[object]", form), is_attribute=True), default, None)


def _field(spec: Spec, default: T | None, factory: Callable[[], T] | None) -> T:
    metadata = {"spec": spec}
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return cast("T", dataclasses.field(default=default, metadata=metadata))


def _once_a_class(work: Callable[[type[Element]], T]) -> Callable[[type[Element]], T]:
    """Cache a function of classes; there are few, and they do not change."""
    known: dict[type, T] = {}

    def remembered(kind: type[Element]) -> T:
        if kind not in known:
            known[kind] = work(kind)
        return known[kind]

    return remembered


@dataclasses.dataclass(kw_only=True, slots=True)
class Element:
    """An object of the documented model, each field checked when it is set.

    Setting a field takes what scripts have at hand (texts, ``timedelta``, ``datetime``, numbers) and
    raises ``ScheduleError`` (0x80041318) where no definition may have the value.
    """

    #: Its element in XML.
    tag: ClassVar[str] = ""
    #: Whether the schema fixes the order of the children; else the order read is the order written.
    ordered: ClassVar[bool] = False

    #: Where it came from, when it was read.
    origin: Origin | None = dataclasses.field(default=None, compare=False, repr=False)

    def __setattr__(self, name: str, value: object) -> None:
        spec = specs(type(self)).get(name)
        if spec is not None:
            value = spec.none if value is None else _taken(spec, value)
        object.__setattr__(self, name, value)

    def check(self, node: Node, findings: Findings) -> None:
        """Add what the fields may not hold together, each at its place under ``node``."""


@_once_a_class
def specs(kind: type[Element]) -> Mapping[str, Spec]:
    """Return the XML fields of a class, by attribute name, in the order they are written."""
    return {
        f.name: cast("Spec", f.metadata["spec"]) for f in dataclasses.fields(kind) if "spec" in f.metadata
    }


@_once_a_class
def _defaults(kind: type[Element]) -> Element:
    return kind()


def _taken(spec: Spec, value: object) -> object:
    try:
        return spec.form.coerce(value)
    except ValueError as problem:
        raise ScheduleError(
            f"{spec.name} cannot be {value!r}: {problem}.",
            code=ErrorCode.SCHED_E_INVALIDVALUE,
            node=spec.name,
            value=str(value),
        ) from problem


# Reading

K = TypeVar("K", bound=Element)


def read(kind: type[K], node: Node, findings: Findings) -> K:
    """Return the object of ``node``, with defaults where it has nothing or nothing sane."""
    reading = _Reading(kind, node, findings)
    reading.attributes()
    reading.group(node, "")
    made = cast("K", reading.object())
    made.check(node, findings)
    return made


class _Reading:
    def __init__(self, kind: type[Element], node: Node, findings: Findings) -> None:
        self._kind = kind
        self._node = node
        self._findings = findings
        self._specs = specs(kind)
        self._values: dict[str, object] = {}
        self._children: dict[str, tuple[str | Verbatim, ...]] = {}
        self._foreign: dict[str, str] = {}
        hoist(node, findings)

    def object(self) -> Element:
        made = self._kind(**self._values)  # type: ignore[arg-type]  # each value came from its own form
        made.origin = Origin(children=self._children, attributes=self._foreign)
        return made

    def attributes(self) -> None:
        known = {spec.name: (key, spec) for key, spec in self._specs.items() if spec.is_attribute}
        for name, value in self._node.attributes.items():
            if name not in known:
                self._foreign[name] = value
                continue
            key, spec = known[name]
            try:
                self._values[key] = spec.form.coerce(value)
            except ValueError as problem:
                self._findings.add(
                    self._node,
                    ErrorCode.SCHED_E_INVALIDVALUE,
                    str(problem),
                    name=name,
                    value=value,
                    forgiven=True,
                )

    def group(self, node: Node, inside: str) -> None:
        """Read the children of the object, or of an element between it and its fields."""
        known = {spec.name: (key, spec) for key, spec in self._specs.items() if self._stands(spec, inside)}
        groups = {spec.inside for spec in self._specs.values() if spec.inside} if not inside else set()
        order: list[str | Verbatim] = []
        for child in node.children:
            if child.namespace != NAMESPACE or (child.name not in known and child.name not in groups):
                self._findings.unexpected(child, f"{node.name} does not know it; kept as it is")
                order.append(verbatim(child, self._findings))
            elif child.name in order:
                self._findings.unexpected(child, f"{node.name} has it twice", forgiven=False)
            else:
                order.append(child.name)
                self._child(child, known.get(child.name))
        self._children[inside] = tuple(order)
        self._complete(node, known, order)
        if self._kind.ordered and not inside:
            self._check_order(node, order)

    def _stands(self, spec: Spec, inside: str) -> bool:
        return spec.inside == inside and not spec.is_attribute

    def _child(self, child: Node, known: tuple[str, Spec] | None) -> None:
        if known is None:
            hoist(child, self._findings)
            self.group(child, child.name)
            return
        key, spec = known
        if spec.since > self._findings.minor:
            self._findings.unexpected(
                child, f"version 1.{self._findings.minor} does not have it; 1.{spec.since} does"
            )
        value = spec.form.read(child, self._findings)
        if value is not None:
            self._values[key] = value

    def _complete(
        self, node: Node, known: Mapping[str, tuple[str, Spec]], order: list[str | Verbatim]
    ) -> None:
        for name, (_, spec) in known.items():
            if spec.required and name not in order:
                self._findings.missing(node, name)

    def _check_order(self, node: Node, order: list[str | Verbatim]) -> None:
        declared = _declared(self._kind)
        ranks = [declared.index(name) for name in order if isinstance(name, str)]
        for child, rank, before in zip(node.children[1:], ranks[1:], ranks, strict=False):
            if rank < before:
                self._findings.unexpected(child, f"the schema wants it before {declared[before]}")
                return


@_once_a_class
def _declared(kind: type[Element]) -> tuple[str, ...]:
    """Return the names of a class's children in the order they are written."""
    names = (spec.inside or spec.name for spec in specs(kind).values() if not spec.is_attribute)
    return tuple(dict.fromkeys(names))


def hoist(node: Node, findings: Findings) -> None:
    """Record the prefixes that a known element declares: the root will declare them when written."""
    findings.prefixes.update({prefix: uri for prefix, uri in node.prefixes.items() if prefix})


def verbatim(node: Node, findings: Findings) -> Verbatim:
    """Return the element as it stands, with the same meaning where the task namespace is the default one."""
    outer = node.outer
    if not node.prefix and node.namespace != NAMESPACE and "" not in node.prefixes:
        outer = outer.replace(f"<{node.name}", f'<{node.name} xmlns="{node.namespace}"', 1)
    return Verbatim(outer)


# Writing


def write(name: str, value: Element) -> Tag:
    """Return the object's element: what differs from the defaults, and what was read."""
    origin = value.origin or Origin()
    attributes = dict(_attributes(value)) | dict(origin.attributes)
    return Tag(name=name, attributes=attributes, children=tuple(_children(value, "", origin)))


def _attributes(value: Element) -> Iterator[tuple[str, str]]:
    defaults = _defaults(type(value))
    for key, spec in specs(type(value)).items():
        message = getattr(value, key)
        if spec.is_attribute and message is not None and message != getattr(defaults, key):
            tag = spec.form.write(spec.name, message)
            assert isinstance(tag, Tag)  # an attribute is a leaf
            yield spec.name, tag.text


def _children(value: Element, inside: str, origin: Origin) -> Iterator[Tag | Verbatim]:
    ready = dict(_ready(value, inside, origin))
    kept = origin.order(inside)
    if type(value).ordered and not inside:
        yield from ready.values()
        yield from (child for child in kept if isinstance(child, Verbatim))
        return
    for child in kept:
        if isinstance(child, Verbatim):
            yield child
        elif child in ready:
            yield ready.pop(child)
    yield from ready.values()


def _ready(value: Element, inside: str, origin: Origin) -> Iterator[tuple[str, Tag | Verbatim]]:
    """Each child that is to be written, by name, in the declared order."""
    defaults = _defaults(type(value))
    groups: set[str] = set()
    for key, spec in specs(type(value)).items():
        message = getattr(value, key)
        if spec.is_attribute:
            continue
        if spec.inside != inside:
            if not inside and spec.inside not in groups:
                groups.add(spec.inside)
                yield from _group(value, spec.inside, origin)
        elif message is not None and (
            spec.name in origin.order(inside) or spec.always or message != getattr(defaults, key)
        ):
            tag = spec.form.write(spec.name, message)
            if tag is not None:
                yield spec.name, tag


def _group(value: Element, inside: str, origin: Origin) -> Iterator[tuple[str, Tag]]:
    children = tuple(_children(value, inside, origin))
    if children or inside in origin.order(""):
        yield inside, Tag(name=inside, children=children)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Nested(Generic[K]):
    """An object that stands as an element of its own."""

    kind: type[K]

    def read(self, node: Node, findings: Findings) -> K | None:
        return read(self.kind, node, findings)

    def write(self, name: str, value: K) -> Tag | None:
        return write(name, value)

    def coerce(self, value: object) -> K:
        if not isinstance(value, self.kind):
            raise ValueError(f"it is not a {self.kind.__name__}")
        return value


def used_since(value: Element) -> Iterator[int]:
    """Return the minor versions that brought the fields which are not at their defaults."""
    for key, spec in specs(type(value)).items():
        if spec.since and getattr(value, key) != getattr(_defaults(type(value)), key):
            yield spec.since
