"""Write the reference of a machine's settings from the table of settings and the fields of definitions."""

from __future__ import annotations

from innkeeper.hypervisor.domain.elements import Domain
from innkeeper.wire.machine_settings import SETTINGS, DeclaredSetting

_HEAD = """# The settings of a machine

Written by `scripts/reference.py` from the table of settings, `src/innkeeper/wire/machine_settings.py`.

Read them with `innkeeper machine show`, `machine.configuration()` or
`GET /v1/machines/{name}/configuration`. Change them with `innkeeper machine set`, by the properties of the
client's machine, several at once by `machine.change(…)`, or with `PATCH /v1/machines/{name}`: all of them, or
none. Each change is told as `machine.configuration_changed` ([events](events.md)), with the property as its
key. What says nothing of when it is set can be set in every state.
"""


def machine_settings_reference() -> str:
    """Every setting: its names, its limits, and when it can change."""
    lines = [_HEAD, "| in JSON | property | documented | option | libvirt | |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *map(_row, SETTINGS.values())]) + "\n"


def _row(declared: DeclaredSetting) -> str:
    setting = declared.setting
    names = (
        declared.key,
        f"machine.{declared.member}",
        setting.documented,
        declared.option,
        _path(declared.key),
    )
    meaning = setting.words
    if declared.members:
        meaning += f" One of {', '.join(f'`{member.name}`' for member in declared.members)}."
    return "| " + " | ".join([*(f"`{name}`" if name else "" for name in names), meaning]) + " |"


def _path(key: str) -> str:
    """Where it stands in libvirt's definition; empty where a call of its own sets it."""
    field = vars(Domain).get(key)
    name = getattr(field, "name", "")
    return getattr(field, "path", "") + (f"/@{name}" if name else "")
