"""The page that edits the settings of one machine: its fields follow from the table of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import InnkeeperError
from innkeeper.identity.roles import Role
from innkeeper.identity.roles import machine as on_machine
from innkeeper.server.http.kept_slashes import kept
from innkeeper.server.identity.needs import caller_of, refuse
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.forms import Form, Mistake, mistake_of, read_form, wrong
from innkeeper.server.pages.rendering import show
from innkeeper.wire.configuration import ChangeRequest, ConfigurationMessage
from innkeeper.wire.machine_settings import SETTINGS, DeclaredSetting, plain
from innkeeper.wire.messages import MachineMessage
from innkeeper.wire.setting import Changeable, SettingValue, TextLimits

_EDITED: Final = tuple(each for each in SETTINGS.values() if each.setting.changes is not Changeable.NEVER)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A setting in the form."""

    key: str
    label: str
    hint: str
    #: ``text``, ``lines``, ``number``, ``switch`` or ``choice``.
    kind: str
    value: SettingValue
    #: What a choice offers, by the value that is sent.
    choices: Mapping[str, str]
    #: The limits as attributes of an input.
    attributes: Mapping[str, int]


async def edit(request: Request) -> Response:
    """Show the form with the settings as they are."""
    made = await _made(request)
    return await _page(request, made, {declared.key: getattr(made, declared.key) for declared in _EDITED})


async def save(request: Request) -> Response:
    """Change what has another value now; or show the form again, with each mistake beside its field."""
    form, made = await read_form(request), await _made(request)
    given, mistakes = _filled_in(form)
    if mistakes:
        return await _page(request, made, given, mistakes)
    wanted = {key: value for key, value in given.items() if value != getattr(made, key)}
    try:
        if wanted:
            body = ChangeRequest.model_validate(wanted)
            made = await Door(request).patch(f"/machines/{_kept(request)}", ConfigurationMessage, body)
    except InnkeeperError as error:
        nouns = {SETTINGS[key].setting.noun: key for key in wanted}
        return await _page(request, made, given, [mistake_of(error, nouns)])
    renamed = f"{made.host}/{made.name}" if "/" in _asked(request) else made.name
    here = renamed if "name" in wanted else _asked(request)
    return RedirectResponse(f"/machines/{quote(here, safe='')}", 303)


async def _made(request: Request) -> ConfigurationMessage:
    door, name = Door(request), _kept(request)
    found = await door.get(f"/machines/{name}", MachineMessage)
    names = (f"{found.host}/{found.name}", found.key)
    refuse(caller_of(request), Role.ADMINISTRATOR, on_machine(found.title, found.labels, names=names))
    return await door.get(f"/machines/{name}/configuration", ConfigurationMessage)


def _asked(request: Request) -> str:
    """What the machine is called in the page's address: its name, or its host and its name."""
    return str(request.path_params["name"])


def _kept(request: Request) -> str:
    return kept(_asked(request))


def _filled_in(form: Form) -> tuple[dict[str, SettingValue], list[Mistake]]:
    given: dict[str, SettingValue] = {}
    mistakes: list[Mistake] = []
    for declared in _EDITED:
        try:
            given[declared.key] = _value(declared, form)
        except (ValueError, KeyError):
            given[declared.key] = form.text(declared.key)
            mistakes.append(wrong(declared.key, "That is no value of this setting.", "Choose another."))
    return given, mistakes


def _value(declared: DeclaredSetting, form: Form) -> SettingValue:
    """What was filled in, as the setting's type. Raises ``ValueError`` or ``KeyError``."""
    if declared.type is bool:
        return form.ticked(declared.key)
    if declared.members:
        return {member.name: member for member in declared.members}[form.text(declared.key)]
    if declared.type is int:
        return int(form.text(declared.key))
    # A form sends the lines of a text as the network has them.
    return form.verbatim(declared.key).replace("\r\n", "\n")


def _field(declared: DeclaredSetting, value: SettingValue) -> Field:
    setting = declared.setting
    names = {"minimum": "min", "maximum": "max", "maxLength": "maxlength"}
    schema = setting.limits.schema if setting.limits is not None else {}
    label = setting.label or f"{setting.noun[0].upper()}{setting.noun[1:]}"
    return Field(
        key=declared.key,
        label=label,
        hint=setting.words.replace("`", ""),
        kind=_kind(declared),
        value=plain(value),
        choices={member.name: declared.value_words(member) for member in declared.members},
        attributes={names[key]: limit for key, limit in schema.items()},
    )


def _kind(declared: DeclaredSetting) -> str:
    if declared.members:
        return "choice"
    limits = declared.setting.limits
    if isinstance(limits, TextLimits) and limits.lines:
        return "lines"
    return {bool: "switch", int: "number"}.get(declared.type, "text")


async def _page(
    request: Request,
    made: ConfigurationMessage,
    given: Mapping[str, SettingValue],
    mistakes: Sequence[Mistake] = (),
) -> Response:
    fields = [_field(declared, given[declared.key]) for declared in _EDITED]
    values = {"made": made, "machine": _asked(request), "fields": fields, "mistakes": mistakes}
    status = 422 if mistakes else 200
    return await show(request, "machine_settings.html", values, here="Machines", status=status)
