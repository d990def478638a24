"""Answers that are not understood, and services that may come back."""

from __future__ import annotations

from innkeeper.errors import ErrorCode, ServiceError


def is_away(error: ServiceError) -> bool:
    """Whether the service may come back: not where we have closed the connection, or do not understand it."""
    return error.code not in (ErrorCode.ERROR_ONLY_IF_CONNECTED, ErrorCode.ERROR_INVALID_DATA)


def foreign(what: str) -> ServiceError:
    """Return the error for an answer that is not what this version of the client reads."""
    return ServiceError(
        f"The service answered {what} with something that this version of Innkeeper does not understand.",
        code=ErrorCode.ERROR_INVALID_DATA,
        advice="Check that client and service are of the same version: `innkeeper version`.",
    )
