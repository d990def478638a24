"""The service's process, from its start to its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import ipaddress
import resource
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import structlog
import uvicorn

from innkeeper.server import logs
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.http.limited import TIMEOUT_SECONDS
from innkeeper.server.http.serving import HttpServer, config
from innkeeper.server.notify import notify
from innkeeper.server.ownership import owned
from innkeeper.server.pages import rendering
from innkeeper.server.peer_door import peer_door
from innkeeper.server.peers import local_protocols
from innkeeper.server.remote import RemoteDoor, remote_doors, remote_protocols
from innkeeper.server.settings import Settings
from innkeeper.server.sockets import local_door
from innkeeper.wire.version import VERSION

_log = structlog.get_logger(__name__)

#: By then every room has looked round once.
_SETTLED_SECONDS = 5.0

#: Between two times at which free memory is given back to the host.
_GIVE_BACK_SECONDS = 30.0


def run(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT. Unfinished tasks go on at the next start."""
    logs.configure(settings.log_json)
    _allow_many_files()
    gc.disable()  # nothing of what is made at the start is garbage; see _settle
    asyncio.run(_serve(settings))


def _allow_many_files() -> None:
    """Raise the limit on open files; each running program holds two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _settle() -> None:
    """Start garbage collection, and exempt from it what the start has made.

    All that time nothing else runs in the process: with the machines of a large inn, a quarter of a second.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    asyncio.get_running_loop().call_later(_SETTLED_SECONDS, gc.freeze)


async def _give_back() -> None:
    """Return freed memory to the system, which the C library would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not every C library has it
    while trim is not None:
        await asyncio.sleep(_GIVE_BACK_SECONDS)
        await asyncio.to_thread(trim, 0)


async def _serve(settings: Settings) -> None:
    with owned(settings.state_dir):
        _log.info("service_starting", version=VERSION, state_dir=str(settings.state_dir))
        async with open_house(settings) as house:
            with local_door(settings) as door, remote_doors(settings) as remotes:
                await asyncio.to_thread(rendering.load)
                app = make_app(house)
                servers = [HttpServer(config(app, *local_protocols(settings)), [door])]
                protocols = remote_protocols(settings)
                servers += [
                    HttpServer(config(app, *protocols), each.sockets, each.tls, TIMEOUT_SECONDS)
                    for each in remotes
                ]
                _settle()
                async with peer_door(house, app):
                    with _stopping(servers, house):
                        _tell_ready(settings, remotes)
                        giving_back = house.loops.start("give memory back", _give_back)
                        try:
                            await asyncio.gather(*(server.serve() for server in servers))
                        finally:
                            giving_back.cancel()
                notify("STOPPING=1")
        _log.info("service_stopped")


def _tell_ready(settings: Settings, remotes: Sequence[RemoteDoor]) -> None:
    for remote in remotes:
        _log.info("listening", addresses=" ".join(remote.addresses), fingerprint=remote.fingerprint)
        if remote.tls is None and not all(map(_is_on_loopback, remote.sockets)):
            _log.warning("listening_without_tls", addresses=" ".join(remote.addresses))
    _log.info("service_ready", socket=str(settings.socket), fake=settings.fake is not None)
    notify("READY=1\nSTATUS=")


def _is_on_loopback(listening: socket.socket) -> bool:
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


@contextlib.contextmanager
def _stopping(servers: Sequence[uvicorn.Server], house: House) -> Iterator[None]:
    """Stop the servers at SIGTERM and SIGINT: streams first, since they would never end by themselves."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _log.info("service_stopping")
        house.events.close()
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    replaced = house.loops.start("end when replaced", lambda: _when_replaced(house, stop))
    try:
        yield
    finally:
        replaced.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _when_replaced(house: House, stop: Callable[[], None]) -> None:
    """Stop once another process has this server's name, or it was retired."""
    if house.ownership is None:
        return
    await house.ownership.replaced.wait()
    what = "service_retired" if house.ownership.is_retired else "service_replaced"
    _log.error(what, server=house.ownership.server.name)
    stop()
