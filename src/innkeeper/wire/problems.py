"""Turn a problem that a service told back into the exception that it was."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.messages import Problem


def revive(problem: Problem) -> InnkeeperError:
    """The exception that a problem stands for; one of an unknown kind becomes an ``InnkeeperError``."""
    kind = _kinds().get(problem.error, InnkeeperError)
    error = kind.__new__(kind, problem.detail)
    InnkeeperError.__init__(error, problem.detail, code=_code(problem.hresult), advice=problem.advice)
    for name, value in problem.extra.items():
        if name == "way_out" or not hasattr(InnkeeperError, name):  # the rest of what all have is set already
            setattr(error, name, value)
    return error


def _kinds() -> dict[str, type[InnkeeperError]]:
    return {kind.__name__: kind for kind in _tree(InnkeeperError)}


def _tree(kind: type[InnkeeperError]) -> Iterator[type[InnkeeperError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


def _code(hresult: int) -> ErrorCode:
    try:
        return ErrorCode(hresult)
    except ValueError:  # a newer service knows more of them
        return ErrorCode.E_FAIL
