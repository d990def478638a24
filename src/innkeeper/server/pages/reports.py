"""The page of an update's report: its verdict, what was found with its evidence, and what is no fault."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from innkeeper.errors import ErrorCode, UpdateError
from innkeeper.server.http.kept_slashes import kept
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.forms import read_form
from innkeeper.server.pages.rendering import show
from innkeeper.wire.configuration import IgnoredMessage, IgnoredRequest
from innkeeper.wire.messages import MachineMessage, UpdateDetail

#: What cannot be ignored has no button.
_ALWAYS_COUNTS: Final = "boot"


async def report(request: Request) -> Response:
    """Show the report of an update's run."""
    name, identifier = request.path_params["name"], request.query_params.get("identifier", "")
    door = Door(request)
    found = await door.get(f"/machines/{kept(name)}", MachineMessage)
    detail = await door.get(f"/updates/{kept(found.title)}/{identifier}", UpdateDetail)
    if detail.report is None:
        raise UpdateError(
            f"The update “{identifier}” of {found.title} has no report yet.",
            code=ErrorCode.ERROR_NOT_READY,
            advice="Reports are written when an update run ends.",
        )
    ignored = (await door.get(f"/machines/{kept(found.title)}/ignored", IgnoredMessage)).ignored
    values = {
        "machine": found,
        "update": detail.update,
        "report": detail.report,
        "ignored": ignored,
        "may_ignore": "ignore_findings" in found.allowed,
        "always_counts": _ALWAYS_COUNTS,
    }
    return await show(request, "machine_report.html", values, here="Machines")


async def ignore(request: Request) -> Response:
    """Count a finding against no update of the machine any more, or count it again."""
    name, form = request.path_params["name"], await read_form(request)
    subject, identifier = form.text("subject"), form.text("identifier")
    door = Door(request)
    if form.text("again"):
        await door.delete(f"/machines/{kept(name)}/ignored/{kept(subject)}")
    else:
        wanted = IgnoredRequest(subjects=(subject,))
        await door.post(f"/machines/{kept(name)}/ignored", IgnoredMessage, wanted)
    back = urlencode({"identifier": identifier})
    return RedirectResponse(f"/machines/{quote(name, safe='')}/updates/report?{back}", 303)
