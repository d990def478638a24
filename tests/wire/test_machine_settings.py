"""The table of settings is one table: every interface shows what it declares, and nothing else."""

from __future__ import annotations

import inspect
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.cli.app import whole
from innkeeper.client import Machine
from innkeeper.errors import InvalidArgument, NotSupported
from innkeeper.hypervisor.domain.elements import Domain
from innkeeper.hypervisor.domain.fields import parse, written
from innkeeper.machines.settings import refuse_setting
from innkeeper.server.app import bare_app
from innkeeper.wire.host import (
    CreateMachineRequest,
    FirstBootOptions,
    FirstBootRequest,
    NewMachineOptions,
)
from innkeeper.wire.machine_settings import (
    SETTINGS,
    MachineChanges,
    SettingsInJson,
    SettingsInPython,
)
from innkeeper.wire.setting import Changeable, NumberLimits, Setting, TextLimits

#: Settings that stand in no definition: the host has them.
_OF_THE_HOST = {"autostart"}


def test_what_is_read_and_what_is_changed_have_the_same_types() -> None:
    """The names in JSON are those of ``MachineChanges``, the names in Python those of the table."""
    in_json, in_python = get_type_hints(SettingsInJson), get_type_hints(SettingsInPython)
    assert in_json == get_type_hints(MachineChanges)
    assert in_python == {declared.member: declared.type for declared in SETTINGS.values()}


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_is_a_property_of_the_clients_machine(key: str) -> None:
    """It can be read and set, and its documentation says its limits."""
    found = inspect.getattr_static(Machine, SETTINGS[key].member)
    assert isinstance(found, property)
    assert found.fset is not None
    assert SETTINGS[key].setting.documented in (found.__doc__ or "")


@pytest.mark.parametrize("key", sorted(SETTINGS.keys() - _OF_THE_HOST))
def test_a_setting_has_a_field_in_the_definition(key: str) -> None:
    """It is called as the setting is, so that the one editor and the one reader find it."""
    assert key in vars(Domain)


@pytest.mark.parametrize("key", SETTINGS)
def test_a_setting_is_described_with_its_limits_in_openapi(key: str) -> None:
    """As JSON schema has them."""
    schema = bare_app().openapi()["components"]["schemas"]["MachineChanges"]["properties"][key]
    setting = SETTINGS[key].setting
    limits = setting.limits.schema if setting.limits is not None else {}
    assert schema.items() >= dict(limits).items()
    assert setting.help.rstrip(".") in schema["description"]


def test_the_options_of_machine_set_are_the_settings() -> None:
    """Each has one, but for what never changes."""
    command = whole().commands["machine"].commands["set"]  # type: ignore[attr-defined]  # a group
    options = {str(each.name) for each in command.params if str(each.name).startswith("new_")}
    assert options == {
        f"new_{key}" for key, declared in SETTINGS.items() if declared.setting.option is not None
    }
    assert {key for key, declared in SETTINGS.items() if declared.setting.option is None} == {
        key for key, declared in SETTINGS.items() if declared.setting.changes is Changeable.NEVER
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("vcpus", 0),
        ("vcpus", 513),
        ("memory_mib", 3),
        ("notes", "x" * 65_537),
        ("notes", "\ud800"),
        ("chassis_asset_tag", "two\nlines"),
        ("bios_guid", "no"),
    ],
)
def test_a_value_outside_the_limits_is_refused_by_name(key: str, value: str | int) -> None:
    """The sentence has the setting's noun, and the advice the limits."""
    with pytest.raises(InvalidArgument) as refused:
        refuse_setting(SETTINGS[key], value)
    limits = SETTINGS[key].setting.limits
    assert limits is not None
    assert limits.words in refused.value.advice


def test_what_never_changes_is_refused_with_the_way_out() -> None:
    """Also where the value would do."""
    with pytest.raises(NotSupported) as refused:
        refuse_setting(SETTINGS["bios_guid"], "{00000000-0000-0000-0000-000000000001}")
    assert "UUID" in refused.value.advice


@given(number=st.integers(), least=st.integers(-9, 9), more=st.none() | st.integers(0, 9))
def test_a_number_does_where_it_is_within_its_limits(number: int, least: int, more: int | None) -> None:
    """Both bounds are within."""
    most = None if more is None else least + more
    limits = NumberLimits(least=least, most=most)
    assert (limits.complaint("count", number) == "") == (number >= least and (most is None or number <= most))


@given(text=st.text(st.characters(exclude_characters="\r"), max_size=20))
def test_a_text_that_is_let_through_is_read_as_it_was_written(text: str) -> None:
    """Every text of several lines that is not complained of can stand in a definition."""
    domain = Domain(parse("<domain><name>x</name></domain>", "domain"))
    if not TextLimits(longest=10, lines=True).complaint("notes", text):
        domain.notes = text
        assert Domain(parse(written(domain.node), "domain")).notes == text


def test_a_description_names_documentation_limits_and_time() -> None:
    """In one paragraph."""
    setting = Setting(
        help="How many.",
        noun="count",
        documented="Count",
        limits=NumberLimits(least=1, most=2),
        changes=Changeable.NEXT_START,
    )
    assert setting.description == (
        "How many (``Count``). From 1 to 2. "
        "Can be set in every state; a running machine uses it from its next start."
    )


def test_the_options_of_a_new_machine_are_the_fields_of_its_request() -> None:
    """So that mypy knows all that ``create`` takes."""
    options, first_boot = get_type_hints(NewMachineOptions), get_type_hints(FirstBootOptions)
    assert options.keys() | {"name"} == CreateMachineRequest.model_fields.keys()
    assert first_boot.keys() == FirstBootRequest.model_fields.keys()
