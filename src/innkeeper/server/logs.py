"""The service's log: constant event names with fields, one line each, on standard error."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(log_json: bool | None) -> None:
    """Configure logging: JSON where asked for, colours on a terminal, else logfmt."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_ending(log_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _ending(log_json: bool | None) -> list[structlog.types.Processor]:
    if log_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if sys.stderr.isatty():
        return [structlog.dev.ConsoleRenderer()]
    order = ["timestamp", "level", "event"]
    return [structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer(key_order=order)]
