"""Collection of a task's triggers (``ITriggerCollection``)."""

from __future__ import annotations

from innkeeper.errors import ErrorCode, NotSupported
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.collection import Changeable
from innkeeper.schedule.model.enumerations import TriggerType
from innkeeper.schedule.xml import element as elements
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.markup import Tag, Verbatim
from innkeeper.schedule.xml.node import NAMESPACE, Node, local

_CALENDAR = (t.DailyTrigger, t.WeeklyTrigger, t.MonthlyTrigger, t.MonthlyDOWTrigger)
_PLAIN = (
    t.EventTrigger,
    t.TimeTrigger,
    t.IdleTrigger,
    t.RegistrationTrigger,
    t.BootTrigger,
    t.LogonTrigger,
    t.SessionStateChangeTrigger,
    t.CustomTrigger,
)
_KINDS: dict[TriggerType, type[t.Trigger]] = {kind.type: kind for kind in (*_CALENDAR, *_PLAIN)}
_TAGS: dict[str, type[t.Trigger]] = {kind.tag: kind for kind in _PLAIN}


class TriggerCollection(Changeable[t.Trigger]):
    """The triggers of a task (``ITriggerCollection``); 48 at most."""

    most = 48

    def __init__(self, items: tuple[t.Trigger, ...] = ()) -> None:
        super().__init__(items)
        self.kept: tuple[Verbatim, ...] = ()

    def create(self, kind: TriggerType) -> t.Trigger:
        """Add a new trigger of this type (``Create``)."""
        if kind not in _KINDS:
            raise NotSupported(f"There is no trigger of type {kind!r}.", code=ErrorCode.E_INVALIDARG)
        return self.append(_KINDS[TriggerType(kind)]())


class TriggersForm:
    """XML form of the triggers: in their order, calendar triggers told apart by their contents."""

    def read(self, node: Node, findings: Findings) -> TriggerCollection:
        elements.hoist(node, findings)
        found = []
        kept = []
        for child in node.children:
            kind = _kind(child, findings) if child.namespace == NAMESPACE else None
            if kind is not None:
                found.append(elements.read(kind, child, findings))
            elif child.name != t.CalendarTrigger.tag:
                findings.unexpected(child, "no trigger is called so; kept as it is")
                kept.append(elements.verbatim(child, findings))
        if len(found) > TriggerCollection.most:
            findings.add(
                node,
                ErrorCode.SCHED_E_TOO_MANY_NODES,
                "a task has at most 48 triggers",
                value=str(len(found)),
            )
        triggers = TriggerCollection(tuple(found[: TriggerCollection.most]))
        triggers.kept = tuple(kept)
        return triggers

    def write(self, name: str, value: TriggerCollection) -> Tag:
        children = tuple(elements.write(trigger.tag, trigger) for trigger in value)
        return Tag(name=name, children=(*children, *value.kept))

    def coerce(self, value: object) -> TriggerCollection:
        if not isinstance(value, TriggerCollection):
            raise ValueError("it is not a TriggerCollection")
        return value


def _kind(node: Node, findings: Findings) -> type[t.Trigger] | None:
    if node.name != t.CalendarTrigger.tag:
        return _TAGS.get(node.name)
    kinds = [kind for kind in _CALENDAR if local(node.children, kind.schedule) is not None]
    if not kinds:
        findings.missing(node, "ScheduleByDay", "a calendar trigger needs one of the ScheduleBy… elements")
        return None
    for extra in kinds[1:]:
        second = local(node.children, extra.schedule)
        assert second is not None  # it was found just above
        findings.unexpected(second, "a calendar trigger has one ScheduleBy… element", forgiven=False)
    return kinds[0]
