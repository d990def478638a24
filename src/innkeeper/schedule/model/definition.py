"""Definitions of tasks: triggers, conditions, principal, actions."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator, Mapping

from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.model import plan as plans
from innkeeper.schedule.model.actions import ActionCollection, ActionsForm
from innkeeper.schedule.model.data import Data, DataForm
from innkeeper.schedule.model.enumerations import Compatibility
from innkeeper.schedule.model.extension import Extension
from innkeeper.schedule.model.plan import Plan
from innkeeper.schedule.model.principal import Principal
from innkeeper.schedule.model.registration_info import RegistrationInfo
from innkeeper.schedule.model.settings import TaskSettings
from innkeeper.schedule.model.trigger_collection import TriggerCollection, TriggersForm
from innkeeper.schedule.xml import document
from innkeeper.schedule.xml import element as elements
from innkeeper.schedule.xml.deviation import Deviation, Findings
from innkeeper.schedule.xml.element import Element, Nested, element
from innkeeper.schedule.xml.encoding import Encoding, encode
from innkeeper.schedule.xml.node import Node, local

# The first moment that every zone can show.
_EVER = dt.datetime(1, 1, 3, tzinfo=dt.UTC)


@dataclasses.dataclass(kw_only=True, slots=True)
class TaskDefinition(Element):
    """A task's definition (``ITaskDefinition``).

    It is a document to fill in: a registered task keeps its XML, and hands out a new definition each time.
    """

    tag = "Task"

    #: ``RegistrationInfo``.
    registration_info: RegistrationInfo = element(
        "RegistrationInfo", Nested(kind=RegistrationInfo), factory=RegistrationInfo
    )
    #: ``Triggers``; 48 at most.
    triggers: TriggerCollection = element("Triggers", TriggersForm(), factory=TriggerCollection, always=True)
    #: ``Principal``.
    principal: Principal = element(
        "Principal", Nested(kind=Principal), factory=Principal, inside="Principals"
    )
    #: ``Settings``.
    settings: TaskSettings = element("Settings", Nested(kind=TaskSettings), factory=TaskSettings)
    #: What ``Data`` holds: the user's part and ours.
    content: Data = element("Data", DataForm(), factory=Data)
    #: ``Actions``; 32 at most, done in order.
    actions: ActionCollection = element(
        "Actions", ActionsForm(), factory=ActionCollection, required=True, always=True
    )
    #: Where the XML it was read from is not what the schema says.
    deviations: tuple[Deviation, ...] = dataclasses.field(default=(), compare=False, repr=False)
    #: Namespaces that what was kept verbatim needs, by prefix.
    prefixes: dict[str, str] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def new(cls) -> TaskDefinition:
        """A new definition (``NewTask``), with one default changed: a computer that runs machines for
        others is not kept from it by its batteries.
        """
        made = cls()
        made.settings.disallow_start_if_on_batteries = False
        made.settings.stop_if_going_on_batteries = False
        return made

    @classmethod
    def from_xml(cls, data: bytes | str, *, strict: bool = False) -> TaskDefinition:
        """Read a definition from the bytes of a file, whatever encoding it declares, or from text.

        A lenient reader mends what can be meant in one way only and lists it in ``deviations``; a strict
        one refuses it, as registration does. Raises ``ScheduleError`` with line, column, node and value.
        """
        findings = Findings()
        made = _read(data, findings)
        findings.raise_first(strict=strict)
        return made

    def to_xml(self, encoding: Encoding = Encoding.UTF_16) -> bytes:
        """Return the bytes of a file that Windows reads: the same each time, and after reading them again."""
        return encode(self._text(encoding), encoding)

    @property
    def xml_text(self) -> str:
        """The definition as XML (``XmlText``)."""
        return self._text(Encoding.UTF_16)

    @xml_text.setter
    def xml_text(self, text: str) -> None:
        other = TaskDefinition.from_xml(text)
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(other, field.name))

    @property
    def data(self) -> str:
        """The user's data in the task (``Data``): markup or text, kept to the character."""
        return self.content.text

    @data.setter
    def data(self, text: str) -> None:
        self.content.text = text

    @property
    def extension(self) -> Extension:
        """Innkeeper's additions: time zone, calendars, policies."""
        return self.content.extension

    def plan(
        self,
        *,
        zone: dt.tzinfo | None = None,
        calendars: Mapping[str, NamedCalendar] | None = None,
        effective: bool = False,
    ) -> Plan:
        """Return the plan of runs, for a host in ``zone`` (this host's own by default); see ``Plan``."""
        home = host_zone() if zone is None else zone
        return plans.of(self.triggers, self.extension, home=home, calendars=calendars, effective=effective)

    def run_times(
        self,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        count: int | None = None,
        *,
        zone: dt.tzinfo | None = None,
        calendars: Mapping[str, NamedCalendar] | None = None,
    ) -> list[dt.datetime]:
        """Return the first ``count`` runs from ``start`` on and before ``end`` (``GetRunTimes``), aware.

        Naive moments are on the schedule's wall; ``None`` is all time. Raises ``InvalidArgument`` where
        neither ``end`` nor ``count`` bounds the answer.
        """
        if end is None and count is None:
            raise InvalidArgument("The number of run times has no limit.", advice="Give an end or a count.")
        if count is not None and count < 0:
            raise InvalidArgument(f"{count} run times cannot be given.")
        plan = self.plan(zone=zone, calendars=calendars)
        return list(itertools.islice(plan.runs(plan.aware(start or _EVER), end and plan.aware(end)), count))

    def next_run_time(self, after: dt.datetime, *, zone: dt.tzinfo | None = None) -> dt.datetime | None:
        """Return the first run after a moment (``NextRunTime``), or ``None``."""
        plan = self.plan(zone=zone)
        return plan.next_after(plan.aware(after))

    def _text(self, encoding: Encoding) -> str:
        needed = max(self.settings.compatibility, *_needed(self))
        version = Compatibility(needed).version
        return document.closed(elements.write(self.tag, self), version, self.prefixes, encoding)

    def check(self, node: Node, findings: Findings) -> None:
        _check_ids(node, findings)
        principals = [child for child in _under(node, "Principals") if child.name == "Principal"]
        context = local(node.children, "Actions")
        if (
            context is not None
            and self.actions.context is not None
            and self.actions.context != self.principal.id
        ):
            findings.add(
                context,
                ErrorCode.SCHED_E_INVALIDVALUE,
                "it is not a Principal's id" if principals else "there is no Principal",
                name="Context",
                value=self.actions.context,
                forgiven=True,
            )
        self._check_expiry(node, findings)

    def _check_expiry(self, node: Node, findings: Findings) -> None:
        settings = local(node.children, "Settings")
        expiry = None if settings is None else local(settings.children, "DeleteExpiredTaskAfter")
        if expiry is None or self.settings.delete_expired_task_after is None:
            return
        if not any(trigger.end_boundary for trigger in self.triggers):
            findings.missing(
                expiry, "EndBoundary", "a task that expires needs a trigger that ends", forgiven=True
            )


def deviations(data: bytes | str) -> tuple[Deviation, ...]:
    """Return each place where a file deviates from the schema, in the order of the file."""
    findings = Findings()
    try:
        _read(data, findings)
    except ScheduleError as problem:
        if not findings.deviations:
            return (_unreadable(problem),)
    return tuple(sorted(findings.deviations, key=lambda found: (found.line, found.column)))


def _unreadable(problem: ScheduleError) -> Deviation:
    return Deviation(
        code=problem.code,
        line=problem.line,
        column=problem.column,
        node=problem.node,
        value=problem.value,
        sentence=problem.sentence,
        forgiven=False,
    )


def _read(data: bytes | str, findings: Findings) -> TaskDefinition:
    root = document.opened(data, findings)
    version = root.attributes.pop("version", None)
    made = elements.read(TaskDefinition, root, findings)
    if version is not None:
        made.settings.compatibility = Compatibility(findings.minor)
    made.prefixes = findings.prefixes
    made.deviations = tuple(findings.deviations)
    return made


def _check_ids(root: Node, findings: Findings) -> None:
    seen: set[str] = set()
    for group in ("Principals", "Triggers", "Actions"):
        for node in _under(root, group):
            name = node.attributes.get("id")
            if name is not None and name in seen:
                findings.add(
                    node,
                    ErrorCode.SCHED_E_INVALIDVALUE,
                    "the id is taken",
                    name="id",
                    value=name,
                    forgiven=True,
                )
            seen |= {name} if name else set()


def _under(root: Node, group: str) -> list[Node]:
    node = local(root.children, group)
    return [] if node is None else node.children


def _needed(definition: TaskDefinition) -> Iterator[int]:
    """Return the minor versions that the definition's features need."""
    yield 0
    for part in (definition.settings, definition.principal):
        yield from elements.used_since(part)
