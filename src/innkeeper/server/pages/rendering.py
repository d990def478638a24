"""Rendering of templates, compressed where the browser accepts it."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gzip
from collections.abc import Mapping
from urllib.parse import quote

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from innkeeper.server.identity.sessions import csrf_token
from innkeeper.server.pages import moments, static, words
from innkeeper.server.pages.headers import HEADERS
from innkeeper.server.pages.visitor import Visitor, may_cancel, visitor_of
from innkeeper.wire.plurals import counted
from innkeeper.wire.version import VERSION

#: Below this, compressing costs more than it spares.
_LEAST_BYTES = 1024
#: Above this, compressing would hold up the others.
_MANY_BYTES = 64 * 1024

#: What htmx may do: nothing that the policy forbids anyway.
HTMX = (
    '{"allowEval":false,"allowScriptTags":false,"includeIndicatorStyles":false,'
    '"selfRequestsOnly":true,"historyCacheSize":0,"scrollBehavior":"auto"}'
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One entry of the navigation."""

    name: str
    url: str
    icon: str


async def show(
    request: Request,
    template: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    live: str = "",
    here: str = "",
) -> Response:
    """Render a page. ``live`` names the kinds of events it follows, ``here`` its entry in the navigation."""
    visitor = await visitor_of(request)
    frame: dict[str, object] = {"visitor": visitor, "places": _places(visitor), "here": here, "live": live}
    frame["since"] = getattr(request.state, "since", "")
    return await answer(request, template, {**values, **frame}, status=status)


async def answer(
    request: Request, template: str, values: Mapping[str, object], *, status: int = 200
) -> Response:
    """Render a template alone: a fragment, or a page without a visitor."""
    text = environment().get_template(template).render(values, request=request)
    return await compressed(request, text.encode(), status)


async def compressed(request: Request, body: bytes, status: int = 200) -> Response:
    """Return HTML as a response that no cache keeps, since the next visitor may be another."""
    headers = HEADERS | {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= _LEAST_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        squeeze = functools.partial(gzip.compress, body, 5, mtime=0)
        body = await asyncio.to_thread(squeeze) if len(body) > _MANY_BYTES else squeeze()
        headers["Content-Encoding"] = "gzip"
    return Response(body, status, headers, "text/html; charset=utf-8")


def is_fragment(request: Request) -> bool:
    """Whether a script asks for a part of a page."""
    return request.headers.get("hx-request") == "true"


def load() -> None:
    """Load every template and file of the pages, before the first request needs them. Blocks."""
    static.assets()
    environment()


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates, all loaded and compiled."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("innkeeper.server.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=-1,
    )
    made.filters |= {
        "segment": lambda name: quote(str(name), safe=""),
        "moment": moments.moment,
        "clock": moments.clock,
        "span": moments.span,
        "day": moments.day,
        "size": words.size,
        "rejectattr_name": lambda attributes: {k: v for k, v in attributes.items() if k != "name"},
        "result_code": words.result_code,
        "counted": counted,
    }
    made.globals |= {
        "asset": static.url_of,
        "words": words,
        "version": VERSION,
        "htmx_config": HTMX,
        "csrf_token": csrf_token,
        "may_cancel": may_cancel,
    }
    for name in ("_parts.html", "_rows.html"):
        macros = made.get_template(name).module
        made.globals |= {macro: getattr(macros, macro) for macro in dir(macros) if not macro.startswith("_")}
    for name in made.list_templates(["html"]):
        made.get_template(name)
    return made


def _places(visitor: Visitor) -> list[Place]:
    """Return the entries of the navigation that the visitor may open."""
    places = [
        Place(name="Tonight", url="/tonight", icon="moon"),
        Place(name="Machines", url="/machines", icon="machine"),
        Place(name="Hosts", url="/hosts", icon="server"),
        Place(name="Tasks", url="/tasks", icon="task"),
        Place(name="Schedule", url="/schedule", icon="calendar"),
    ]
    if visitor.may_see_people:
        places.append(Place(name="People", url="/people", icon="people"))
    if visitor.may_see_audit:
        places.append(Place(name="Audit", url="/audit", icon="audit"))
    return places
