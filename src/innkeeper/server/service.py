"""Run the service from its start to its orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

import structlog
import uvicorn

from innkeeper.server import logs
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.notify import notify
from innkeeper.server.ownership import owned
from innkeeper.server.peers import PeerProtocol, PeerSocketProtocol
from innkeeper.server.settings import Settings
from innkeeper.server.sockets import local_door
from innkeeper.wire.version import VERSION

_log = structlog.get_logger(__name__)

#: How long requests under way may take to end when the service stops.
_GRACE_SECONDS = 5

#: One message of a WebSocket.
_MAX_MESSAGE_BYTES = 1024 * 1024

#: A request's line and headers, all together.
_MAX_HEAD_BYTES = 64 * 1024


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Unfinished tasks go on at the next start."""
    logs.configure(settings.log_json)
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    with owned(settings.state_dir):
        _log.info("service_starting", version=VERSION, state_dir=str(settings.state_dir))
        async with open_house(settings) as house:
            with local_door(settings) as door:
                server = _Server(_config(house))
                with _stopping(server, house):
                    _log.info("service_ready", socket=str(settings.socket), fake=settings.fake is not None)
                    notify("READY=1")
                    await server.serve(sockets=[door])
                notify("STOPPING=1")
        _log.info("service_stopped")


def _config(house: House) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(house),
        http=PeerProtocol,
        ws=PeerSocketProtocol,
        ws_max_size=_MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


class _Server(uvicorn.Server):
    """uvicorn, without its hold on signals: it would end the process before the house is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the service."""
        yield


@contextlib.contextmanager
def _stopping(server: uvicorn.Server, house: House) -> Iterator[None]:
    """Stop the server at SIGTERM and SIGINT: streams end first, since they would never end by themselves."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        _log.info("service_stopping")
        house.events.close()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
