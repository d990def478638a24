"""The HTTP application: routes, pages and middleware put together."""

from __future__ import annotations

import warnings

from fastapi import APIRouter, Depends, FastAPI
from pydantic.warnings import UnsupportedFieldAttributeWarning

from innkeeper.server.house import House
from innkeeper.server.http import problems
from innkeeper.server.http.body_limit import BodyLimit
from innkeeper.server.http.checked_text import CheckedText
from innkeeper.server.http.compression import Compression
from innkeeper.server.http.conditional import ConditionalRequests
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.description import describe
from innkeeper.server.http.forwarded import Forwarded
from innkeeper.server.http.header_limit import HeadLimit
from innkeeper.server.http.idempotency import IdempotencyKeys
from innkeeper.server.http.kept_slashes import KeptSlashes
from innkeeper.server.http.known_queries import refuse_other_pages
from innkeeper.server.http.lines import Lines
from innkeeper.server.http.patience import BoundedPatience
from innkeeper.server.http.proxies import proxies_of
from innkeeper.server.identity.gate import Gate
from innkeeper.server.identity.identify import Identify
from innkeeper.server.identity.sight import Sight
from innkeeper.server.metrics import Measured
from innkeeper.server.pages import site
from innkeeper.server.pages.headers import PageHeaders
from innkeeper.server.peers import PEER, Admission, Peers
from innkeeper.server.relay.relay import Relay
from innkeeper.server.remote import host_names
from innkeeper.server.routes import (
    accountant,
    agent,
    audit,
    bulk,
    chains,
    channels,
    checks,
    configuration,
    creation,
    disks,
    display,
    events,
    guest_health,
    guest_os,
    health,
    host,
    hot,
    keyboard,
    login,
    machines,
    schedule,
    schedule_descriptors,
    schedule_instances,
    schedule_times,
    servers,
    sessions,
    tasks,
    tonight,
    updates,
    users,
    windows,
)
from innkeeper.wire.messages import Problem
from innkeeper.wire.version import VERSION

#: Every route can answer with a problem.
_RESPONSES: dict[int | str, dict[str, object]] = {"default": {"model": Problem, "description": "A problem"}}


def make_app(house: House) -> FastAPI:
    """Build the service's HTTP application; the outermost middleware comes last."""
    app = bare_app()
    app.state.house = house
    app.state.readiness = health.readiness(house)
    app.add_middleware(ConditionalRequests)
    app.add_middleware(
        IdempotencyKeys, store=house.answers, clock=house.clock, is_shared=house.fleet.is_shared
    )
    app.add_middleware(BodyLimit)
    app.add_middleware(hot.HotReads)
    if house.neighbours is not None:
        own = Relay(app.router, operations=app.state.operations, neighbours=house.neighbours)
        app.state.inner_door = own.raising
        app.add_middleware(Relay, operations=app.state.operations, neighbours=house.neighbours)
    app.add_middleware(Measured, metrics=house.metrics)
    app.add_middleware(Lines)
    app.add_middleware(Sight, house=house)
    people = house.people
    gate = Gate(
        peers=Peers(Admission.of(house.settings), people.grants),
        logins=people.logins,
        host_names=host_names(house.settings),
    )
    app.add_middleware(
        Identify,
        gate=gate,
        revocations=people.revocations,
        offers_tickets=people.logins.takes_tickets,
    )
    app.add_middleware(Compression, is_near=lambda scope: PEER in scope)
    app.add_middleware(KeptSlashes)
    app.add_middleware(BoundedPatience)
    app.add_middleware(CheckedText)
    app.add_middleware(HeadLimit)
    app.add_middleware(PageHeaders)
    if house.settings.trusted_proxies:
        app.add_middleware(
            Forwarded,
            proxies=proxies_of(house.settings.trusted_proxies),
            crowd=Crowd(
                most=house.settings.max_connections,
                most_from_one=house.settings.max_connections_from_one,
            ),
            header=house.settings.proxy_header,
        )
    return app


def bare_app() -> FastAPI:
    """Build the application without a service behind it, as its OpenAPI description needs it."""
    # FastAPI passes over it where it declares a field; ours are built later, at their first use.
    warnings.filterwarnings("ignore", category=UnsupportedFieldAttributeWarning)
    app = FastAPI(
        title="Innkeeper",
        version=VERSION,
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # It would ask anew at every request whether anybody measures; what is measured is in our metrics.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.allowed = {}
    app.state.machine_lists = {}
    v1 = APIRouter(prefix="/v1", responses=_RESPONSES, dependencies=[Depends(refuse_other_pages)])
    nouns = (
        health,
        accountant,
        display,
        guest_os,
        keyboard,
        chains,
        checks,
        guest_health,
        configuration,
        creation,
        host,
        bulk,
        machines,
        tasks,
        updates,
        windows,
        tonight,
        schedule,
        schedule_descriptors,
        schedule_instances,
        schedule_times,
        servers,
        sessions,
        disks,
        agent,
        channels,
        events,
        login,
        users,
        audit,
    )
    for noun in nouns:
        v1.include_router(noun.router)
    app.include_router(v1)
    app.state.operations = v1.routes
    #: Where the pages ask.
    app.state.inner_door = app.router
    app.include_router(health.probes)
    problems.install(app)
    describe(app)
    site.install(app)
    return app
