"""The editor's form: what it says becomes a definition, comes back as it was, and leaves the rest alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType, TriggerType
from innkeeper.schedule.model.triggers import DailyTrigger
from innkeeper.server.pages.drafts import DAYS, Draft, Drafting

_DAILY = Draft(name="Compact", when="daily", start="2026-11-25T02:30", every="2", command="/bin/true")


def _definition(draft: Draft, base: TaskDefinition | None = None) -> TaskDefinition:
    drafting = Drafting(draft, base or TaskDefinition.new())
    assert drafting.mistakes == []
    return TaskDefinition.from_xml(drafting.definition.xml_text, strict=True)


_DRAFTS = st.builds(
    Draft,
    name=st.just("Compact"),
    description=st.sampled_from(("", "Keep the images small.")),
    when=st.just("weekly"),
    start=st.sampled_from(("2026-11-25T02:30", "2027-03-28T00:00")),
    zone=st.sampled_from(("", "Europe/Madrid")),
    every=st.integers(1, 52).map(str),
    days=st.lists(st.sampled_from([name for name, _ in DAYS]), min_size=1, unique=True).map(
        lambda chosen: tuple(name for name, _ in DAYS if name in chosen)
    ),
    repeat_minutes=st.sampled_from(("", "90")),
    what=st.just("program"),
    command=st.just("/usr/bin/compact"),
    arguments=st.sampled_from(("", "--all 'two words'")),
    directory=st.sampled_from(("", "/srv")),
    limit_minutes=st.integers(1, 10_000).map(str),
    catch_up=st.booleans(),
    enabled=st.booleans(),
)


@given(_DRAFTS)
def test_what_was_filled_in_comes_back_as_it_was(draft: Draft) -> None:
    """Through the XML that is registered."""
    definition = _definition(draft)
    assert Draft.of_definition(draft.name, definition, enabled=draft.enabled) == draft


def test_an_operation_on_a_machine_comes_back_as_it_was() -> None:
    """It is kept as the handler's class id and its data."""
    draft = Draft(name="x", when="demand", what="operation", operation="save", machine="web-1")
    found = Draft.of_definition("x", _definition(draft), enabled=True)
    assert found is not None
    assert (found.when, found.operation, found.machine) == ("demand", "save", "web-1")


def test_what_the_form_has_no_field_for_stays_as_it_was() -> None:
    """Editing a task's name for its start does not lose its random delay."""
    base = TaskDefinition.new()
    base.actions.create(ActionType.EXEC).path = "/bin/false"
    trigger = base.triggers.create(TriggerType.DAILY)
    trigger.start_boundary, trigger.random_delay = Boundary("2026-01-01T00:00:00"), Duration("PT10M")
    base.settings.priority = 3
    changed = _definition(_DAILY, base)
    (kept,) = changed.triggers
    assert isinstance(kept, DailyTrigger)
    assert (kept.random_delay, kept.start_boundary) == ("PT10M", "2026-11-25T02:30:00")
    assert changed.settings.priority == 3


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("name", {"name": ""}),
        ("start", {"start": ""}),
        ("start", {"start": "tomorrow"}),
        ("every", {"every": "0"}),
        ("every", {"every": "a few"}),
        ("zone", {"zone": "Atlantis/Capital"}),
        ("days", {"when": "weekly", "days": ()}),
        ("repeat_minutes", {"repeat_minutes": "-1"}),
        ("command", {"command": ""}),
        ("command", {"command": "x" * 300}),
        ("machine", {"what": "operation", "machine": ""}),
        ("machine", {"what": "operation", "operation": "explode", "machine": "web-1"}),
        ("when", {"when": "never"}),
        ("limit_minutes", {"limit_minutes": "lots"}),
    ],
)
def test_a_mistake_is_told_beside_its_field(field: str, changes: dict[str, Any]) -> None:
    """With a sentence and the documented identifier."""
    drafting = Drafting(dataclasses.replace(_DAILY, **changes), TaskDefinition.new())
    assert [mistake.field for mistake in drafting.mistakes] == [field]
    (mistake,) = drafting.mistakes
    assert mistake.sentence.endswith(".")
    assert "0x8" in mistake.identifier


def test_a_task_with_more_than_the_form_can_say_is_edited_as_xml() -> None:
    """Nothing of it is dropped in silence."""
    definition = _definition(_DAILY)
    definition.actions.create(ActionType.EXEC).path = "/bin/true"
    assert Draft.of_definition("x", definition, enabled=True) is None
    definition = _definition(_DAILY)
    next(iter(definition.triggers)).end_boundary = Boundary("2027-01-01T00:00:00")
    assert Draft.of_definition("x", definition, enabled=True) is None
