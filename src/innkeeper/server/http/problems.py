"""Errors as problem details (RFC 9457), by one table."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from innkeeper import errors
from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument, ServiceError
from innkeeper.wire.descriptors import is_shortage, tell_shortage
from innkeeper.wire.messages import Problem
from innkeeper.wire.text import writable

_log = structlog.get_logger(__name__)

#: What the doors answer to each class of error; a class that is not here answers as the one above it.
STATUS: dict[type[InnkeeperError], int] = {
    errors.InnkeeperError: 500,
    errors.InvalidArgument: 422,
    errors.ChangedMeanwhile: 412,
    errors.AlreadyThere: 412,
    errors.NotSupported: 501,
    errors.NotPermitted: 403,
    errors.NotAuthenticated: 401,
    errors.TooManyTries: 429,
    errors.IdentityError: 409,
    errors.ServiceError: 503,
    errors.StoreAway: 503,
    errors.JsonError: 500,
    errors.NewerVersion: 500,
    errors.TaskError: 409,
    errors.TaskNotFound: 404,
    errors.TaskNotCancelable: 409,
    errors.MachineError: 409,
    errors.MachineNotFound: 404,
    errors.MachineAmbiguous: 409,
    errors.MachineBusy: 409,
    errors.WrongState: 409,
    errors.MachineUnfit: 409,
    errors.AgentError: 502,
    errors.AgentSilent: 502,
    errors.AgentQuarantined: 502,
    errors.HypervisorError: 502,
    errors.DiskError: 409,
    errors.UpdateError: 409,
    errors.BookingNotFound: 404,
    errors.ScheduleError: 409,
}

#: An error without a class of its own says by its identifier that something is not there.
_NOT_THERE = {ErrorCode.ERROR_NOT_FOUND, ErrorCode.ERROR_FILE_NOT_FOUND, ErrorCode.ERROR_PATH_NOT_FOUND}


def status_of(error: InnkeeperError) -> int:
    """Return the HTTP status of an error."""
    if error.code in _NOT_THERE:
        return 404
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def problem_of(error: InnkeeperError) -> Problem:
    """Return the problem details of an error, which can be written whatever the error carries."""
    kind = type(error).__name__
    carried = {name: value for name, value in vars(error).items() if name not in ("code", "advice")}
    return Problem(
        type=f"urn:innkeeper:error:{kind}",
        title=(type(error).__doc__ or kind).splitlines()[0],
        status=status_of(error),
        detail=writable(error.sentence),
        error=kind,
        hresult=error.hresult,
        code=error.code.name,
        advice=writable(error.advice),
        extra={name: _carried(value) for name, value in carried.items() if isinstance(value, str | int)},
    )


def _carried(value: str | int) -> str | int:
    return writable(value) if isinstance(value, str) else value


def response_of(error: InnkeeperError, *, status: int | None = None) -> Response:
    """Return the response to a request that ended with this error; ``status`` overrides the table."""
    problem = problem_of(error)
    if status is not None:
        problem = problem.model_copy(update={"status": status})
    # Browsers ask for a password by themselves where Basic is offered; the pages do that better.
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    if isinstance(error, errors.TooManyTries | errors.StoreAway):
        headers["Retry-After"] = str(error.retry_after)
    return Response(problem.model_dump_json(), problem.status, headers, "application/problem+json")


def install(app: FastAPI) -> None:
    """Install the handlers that answer every error with problem details."""
    app.add_exception_handler(InnkeeperError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _no_such_thing)
    app.add_exception_handler(Exception, _broken)


def _out_of_descriptors() -> ServiceError:
    return ServiceError(
        "The service can open no more files or connections now.",
        code=ErrorCode.VM_E_OUT_OF_RESOURCE,
        advice="Try again soon. Its log says what to do where it lasts.",
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, InnkeeperError)  # the table above says so; the signature is Starlette's
    return response_of(error)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return malformed(error)


def malformed(error: RequestValidationError) -> Response:
    """Return the response to a request that does not parse."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    fault = first["msg"].removeprefix("Value error, ").rstrip(".")
    refused = InvalidArgument(
        f"The request's {place or 'body'} is not valid: {fault}.",
        advice="See docs/reference/http-api.md, or /v1/openapi.json of this service.",
    )
    refused.field = place
    return response_of(refused)


async def _no_such_thing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, InnkeeperError):  # FastAPI wraps what went wrong while it read the body
        return response_of(error.__cause__)
    refused = InvalidArgument(
        f"There is no {request.method} {request.url.path}: {error.detail}.",
        code=ErrorCode.ERROR_NOT_FOUND if error.status_code == 404 else ErrorCode.E_INVALIDARG,
        advice="See docs/reference/http-api.md, or /v1/openapi.json of this service.",
    )
    return response_of(refused, status=error.status_code)


async def _broken(request: Request, error: Exception) -> Response:
    if is_shortage(error):
        tell_shortage()
        return response_of(_out_of_descriptors())
    _log.error("request_broke", method=request.method, path=request.url.path, exc_info=error)
    return response_of(
        InnkeeperError(
            f"The service failed while it answered {request.method} {request.url.path}.",
            code=ErrorCode.E_UNEXPECTED,
            advice="Its log says why; please report it.",
        )
    )
