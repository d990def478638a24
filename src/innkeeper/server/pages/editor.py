"""The editor of scheduled tasks: a form or XML, with the next runs shown before saving."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import InnkeeperError, ScheduleError
from innkeeper.identity.roles import Role, folder
from innkeeper.schedule.calendar import zone_database
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import TaskCreation
from innkeeper.schedule.path import SchedulePath
from innkeeper.server.identity.needs import caller_of, refuse
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.drafts import DAYS, Draft, Drafting
from innkeeper.server.pages.forms import Form, Mistake, mistake_of, mistake_of_field, read_form, wrong
from innkeeper.server.pages.rendering import answer, show
from innkeeper.server.pages.schedule import coming
from innkeeper.wire.commands import Command
from innkeeper.wire.messages import MachineList
from innkeeper.wire.schedule import FolderMessage, RegisterRequest, ScheduledTaskMessage

#: Nothing of a form, or of a file, that is larger is read.
_MAX_XML_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Editing:
    """State of one editing session."""

    #: The folder that it lies in, or will.
    folder: str
    #: The registered task's path; empty for a new one.
    path: str = ""
    #: ``form`` or ``xml``.
    mode: str = "form"
    draft: Draft = dataclasses.field(default_factory=Draft)
    xml: str = ""
    mistakes: Sequence[Mistake] = ()
    #: Why the form cannot be used.
    only_xml: bool = False


async def edit(request: Request) -> Response:
    """Show the editor: of a registered task, or of a new one in a folder."""
    door, query = Door(request), request.query_params
    as_xml = query.get("as") == "xml"
    if query.get("path"):
        found = await door.get("/schedule/task", ScheduledTaskMessage, path=query["path"])
        return await _page(request, _editing(found, as_xml=as_xml))
    inside = await door.get("/schedule/folder", FolderMessage, path=query.get("folder") or "\\")
    tomorrow = request.app.state.house.clock.now() + dt.timedelta(days=1)
    draft = Draft(start=f"{tomorrow:%Y-%m-%d}T02:00")
    mode = "xml" if as_xml else "form"
    return await _page(request, Editing(folder=inside.path, draft=draft, mode=mode))


async def save(request: Request) -> Response:
    """Register the edited task; or show the editor again, with each mistake beside its field."""
    form = await read_form(request)
    door, path, inside = Door(request), form.text("path"), form.text("folder") or "\\"
    known = await door.get("/schedule/task", ScheduledTaskMessage, path=path) if path else None
    editing, xml = await _filled_in(form, known, inside)
    if editing.mistakes:
        return await _page(request, editing, status=422)
    wanted = path or f"{inside.rstrip(chr(92))}\\{form.text('name')}"
    flags = TaskCreation.UPDATE if path else TaskCreation.CREATE
    try:
        saved = await door.post(
            "/schedule/task", ScheduledTaskMessage, RegisterRequest(path=wanted, xml=xml, flags=int(flags))
        )
    except ScheduleError as error:
        mistakes = (_placed(error, editing.mode),)
        return await _page(request, dataclasses.replace(editing, mistakes=mistakes), status=422)
    return RedirectResponse(f"/schedule/task?path={quote(saved.path, safe='')}&saved=1", 303)


async def preview(request: Request) -> Response:
    """Show the next runs of the edited task without saving it."""
    form = await read_form(request)
    door, path = Door(request), form.text("path")
    known = await door.get("/schedule/task", ScheduledTaskMessage, path=path) if path else None
    editing, xml = await _filled_in(form, known, form.text("folder") or "\\")
    values: dict[str, object] = {"mistakes": editing.mistakes, "coming": (), "zone": ""}
    if not editing.mistakes:
        definition = TaskDefinition.from_xml(xml)
        runs = await coming(definition, request.app.state.house.clock.now())
        values |= {"coming": runs, "zone": definition.extension.zone or ""}
    return await answer(request, "schedule_preview.html", values)


async def _filled_in(form: Form, known: ScheduledTaskMessage | None, inside: str) -> tuple[Editing, str]:
    """Return what was filled in, and its XML."""
    path = known.path if known else ""
    if form.text("mode") == "xml":
        given = await form.file("file")
        xml = form.verbatim("xml") if not given else _text_of(given)
        name = known.name if known else form.text("name")
        draft = Draft(name=name)
        editing = Editing(folder=inside, path=path, mode="xml", xml=xml, draft=draft, only_xml=False)
        return dataclasses.replace(editing, mistakes=_mistakes_of_xml(xml, name)), xml
    draft = Draft.of_form(form)
    if known:
        draft = dataclasses.replace(draft, name=known.name)
    base = TaskDefinition.from_xml(known.xml) if known else TaskDefinition.new()
    drafting = Drafting(draft, base)
    editing = Editing(folder=inside, path=path, draft=draft, mistakes=drafting.mistakes)
    return editing, "" if drafting.mistakes else drafting.definition.xml_text


def _text_of(data: bytes) -> str:
    """Return a definition's file as text, whatever encoding it declares."""
    if len(data) > _MAX_XML_BYTES:
        return ""
    try:
        return TaskDefinition.from_xml(data).xml_text
    except ScheduleError:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", "replace")


def _mistakes_of_xml(xml: str, name: str) -> Sequence[Mistake]:
    mistakes = [] if name else [wrong("name", "A task needs a name.", "Fill in the name.")]
    if not xml.strip():
        return [*mistakes, wrong("xml", "The XML is missing.", "Paste a definition, or choose a file.")]
    try:
        TaskDefinition.from_xml(xml, strict=True)
    except ScheduleError as error:
        mistakes.append(_placed(error, "xml"))
    return mistakes


def _placed(error: InnkeeperError, mode: str) -> Mistake:
    """Return an error as a mistake of the field that it is about."""
    if not isinstance(error, ScheduleError):
        return mistake_of(error)
    if mode == "xml" and error.line:
        place = f" (line {error.line}, column {error.column})"
        mistake = mistake_of_field("xml", error)
        return dataclasses.replace(mistake, sentence=mistake.sentence.rstrip(".") + place + ".")
    return mistake_of_field("name", error)


def _editing(found: ScheduledTaskMessage, *, as_xml: bool) -> Editing:
    definition = TaskDefinition.from_xml(found.xml)
    draft = Draft.of_definition(found.name, definition, enabled=found.enabled)
    return Editing(
        folder=str(SchedulePath.parse(found.path).parent),
        path=found.path,
        mode="xml" if as_xml or draft is None else "form",
        draft=draft or Draft(name=found.name),
        xml=found.xml,
        only_xml=draft is None,
    )


async def _page(request: Request, editing: Editing, *, status: int = 200) -> Response:
    """Render the editor."""
    refuse(caller_of(request), Role.ADMINISTRATOR, folder(editing.path or editing.folder))
    machines = (await whole(Door(request), "/machines", MachineList)).machines
    values: Mapping[str, object] = {
        "editing": editing,
        "draft": editing.draft,
        "mistakes": editing.mistakes,
        "days": [name for name, _ in DAYS],
        "operations": [str(command) for command in Command],
        "machines": [machine.title or machine.name for machine in machines],
        "zones": zone_database.names(),
    }
    return await show(request, "schedule_edit.html", values, here="Schedule", status=status)
