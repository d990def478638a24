"""The console of a real guest: what is typed into the page reaches the machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Page, async_playwright
from playwright.async_api import TimeoutError as NotYet
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.pages import rendering
from innkeeper.server.peers import PEER, Credentials
from innkeeper.server.settings import Settings
from tests.guests.machines import TinyMachine
from tests.guests.tiny import TinyGuest
from tests.server.pages.browsing import CHROMIUM, FLAGS

pytestmark = [pytest.mark.qemu, pytest.mark.slow]

#: Booting in software takes its time on a busy computer.
_TIMEOUT_SECONDS = 150


async def test_what_is_typed_into_the_console_reaches_the_guest(
    embedded_hypervisor: Host,
    echo_guest: TinyGuest,
    define_machine: Callable[..., Awaitable[TinyMachine]],
    tmp_path: Path,
) -> None:
    """A shell on the machine's own screen is told to power off, key by key, and the machine is off."""
    await define_machine("typed", guest=echo_guest, agent_port=False, display=True)
    definition = await embedded_hypervisor.definitions.read("typed")
    await embedded_hypervisor.definitions.define(
        definition.replace("console=ttyS0", "console=tty0 rdinit=/bin/sh")
    )
    await embedded_hypervisor.lifecycle.start("typed")
    async with _served(embedded_hypervisor, tmp_path) as address, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = await browser.new_page()
        await page.goto(f"{address}/machines/typed/console")
        await page.wait_for_selector("#console[data-connected] canvas")
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while (await embedded_hypervisor.inventory.get("typed")).state is MachineState.RUNNING:
                await page.locator("#console canvas").click()
                await page.keyboard.type("poweroff -f", delay=20)
                await page.keyboard.press("Enter")
                with contextlib.suppress(NotYet):
                    await page.wait_for_selector("#console:not([data-connected])", timeout=5000)
            while (await embedded_hypervisor.inventory.get("typed")).state is not MachineState.TURNED_OFF:
                await asyncio.sleep(0.1)  # QEMU ends
        # This host's events go elsewhere: what the service cannot hear, it sees within seconds.
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            while await _badge(page, f"{address}/machines/typed") != "off":
                await asyncio.sleep(0.5)
        await browser.close()


async def _badge(page: Page, url: str) -> str:
    """The state that the machine's page shows."""
    await page.goto(url)
    return await page.locator("#now .badge").first.inner_text()


@contextlib.asynccontextmanager
async def _served(hypervisor: Host, directory: Path) -> AsyncIterator[str]:
    """A service over this host, at an address of its own."""
    settings = Settings(state_dir=directory / "state", socket=directory / "s.sock")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        async with open_house(settings, Overrides(hypervisors=[hypervisor])) as house:
            await asyncio.to_thread(rendering.load)
            config = uvicorn.Config(
                _as_administrator(make_app(house)), ws="websockets-sansio", lifespan="off", log_level="error"
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}"
            finally:
                house.events.close()
                server.should_exit = True
                await serving


def _as_administrator(app: ASGIApp) -> ASGIApp:
    """The application as root sees it at the local door."""

    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, PEER: Credentials(pid=1, uid=0, gid=0)}, receive, send)

    return known
