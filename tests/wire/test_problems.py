"""Errors cross the door whole: the class, the identifier, the sentence, the advice, and what they carry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from innkeeper import errors
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.server.http.problems import STATUS, problem_of
from innkeeper.wire.messages import Problem
from innkeeper.wire.problems import revive


def _kinds(kind: type[InnkeeperError] = InnkeeperError) -> Iterator[type[InnkeeperError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


_CARRIED: dict[type[InnkeeperError], dict[str, object]] = {
    errors.MachineBusy: {"machine": "web-1", "task_id": 7},
    errors.WrongState: {"machine": "web-1", "state": "RUNNING", "command": "resume"},
    errors.DiskError: {"path": "/a.qcow2"},
    errors.TooManyTries: {"retry_after": 7},
}


#: Errors whose sentence is made of what they carry.
_OWN_SENTENCE: dict[type[InnkeeperError], InnkeeperError] = {
    errors.AlreadyThere: errors.AlreadyThere("The window “nightly”"),
    errors.ChangedMeanwhile: errors.ChangedMeanwhile("The window “nightly”"),
    errors.MachineAmbiguous: errors.MachineAmbiguous("web-1", ["attic/web-1", "cellar/web-1"]),
    errors.JsonError: errors.JsonError("is missing", path="disks[2].size"),
    errors.NewerVersion: errors.NewerVersion(version=3, newest=2, path="order"),
}


def _example(kind: type[InnkeeperError]) -> InnkeeperError:
    if kind in _OWN_SENTENCE:
        return _OWN_SENTENCE[kind]
    carried = dict(_CARRIED.get(kind, {}))
    if issubclass(kind, errors.MachineError):
        carried.setdefault("machine", "web-1")
    if issubclass(kind, errors.DiskError):
        carried.setdefault("path", "/a.qcow2")
    return kind("It will not do.", advice="Do otherwise.", **carried)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_every_error_comes_back_as_what_it_was(kind: type[InnkeeperError]) -> None:
    """No class is forgotten: a new one is tested from the day it is written."""
    if kind.__module__ != "innkeeper.errors":
        pytest.skip("rooms may have errors of their own, which their doors tell")
    error = _example(kind)
    revived = revive(Problem.model_validate_json(problem_of(error).model_dump_json()))
    assert type(revived) is kind
    assert str(revived) == str(error)
    assert vars(revived) == vars(error)


@pytest.mark.parametrize("kind", list(_kinds()), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_its_status(kind: type[InnkeeperError]) -> None:
    """The table is complete: what a new class answers is a decision, not an accident."""
    assert kind.__module__ != "innkeeper.errors" or kind in STATUS


def test_an_error_that_this_client_does_not_know_is_an_error_still() -> None:
    """A newer service may say more than an older client understands."""
    problem = problem_of(InnkeeperError("New.")).model_copy(
        update={"error": "BrandNew", "hresult": 0x8000_1234}
    )
    revived = revive(problem)
    assert type(revived) is InnkeeperError
    assert (str(revived), revived.code) == ("New.", ErrorCode.E_FAIL)
