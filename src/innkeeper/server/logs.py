"""The service's log: constant event names with fields, one line each, on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog

from innkeeper.wire.descriptors import is_shortage, tell_shortage
from innkeeper.wire.text import writable


def configure(log_json: bool | None) -> None:
    """Configure logging: JSON where asked for, colours on a terminal, else logfmt."""
    # What other libraries say goes out in our form, a line each.
    logging.basicConfig(level=logging.WARNING, handlers=[_Handed()])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_ending(log_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )


class _Unfailing:
    """A file that takes what it can: a log on a full disk breaks nothing that is logged."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Write, or lose, a text."""
        with contextlib.suppress(OSError):
            self._file.write(writable(text))

    def flush(self) -> None:
        """Write, or lose, what is left."""
        with contextlib.suppress(OSError):
            self._file.flush()


class _Handed(logging.Handler):
    """Hands the lines of other libraries' loggers to the service's log.

    DBOS tells of each try to reach its database, while the service itself says once that it is away; and
    what fails for want of descriptors is told of once in all.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line."""
        if record.name.startswith("dbos") and record.levelno < logging.ERROR:
            return
        if record.exc_info and record.exc_info[1] is not None and is_shortage(record.exc_info[1]):
            tell_shortage()
            return
        log = structlog.get_logger(record.name)
        text = record.getMessage().splitlines()
        log.log(record.levelno, "library_message", library=record.name, text=text[0] if text else "")


def _ending(log_json: bool | None) -> list[structlog.types.Processor]:
    if log_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer()]
    order = ["timestamp", "level", "event"]
    return [structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer(key_order=order)]
