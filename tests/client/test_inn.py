"""``innkeeper.connect()`` and what hangs on it, against a real service."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from pathlib import Path

import pytest

import innkeeper
from innkeeper.errors import (
    BookingNotFound,
    ErrorCode,
    InvalidArgument,
    MachineNotFound,
    ServiceError,
    TaskNotCancelable,
    TaskNotFound,
    WrongState,
)
from tests.serving import Service

_LATER = dt.datetime(2031, 1, 1, tzinfo=dt.UTC)


def test_connecting_says_where_and_as_whom(service: Service) -> None:
    """The documented members of the connection."""
    with service.connect() as inn:
        assert inn.connected
        assert inn.target_server == socket.gethostname()
        assert inn.connected_user
        assert inn.connected_domain == "system"
        assert inn.highest_version == 0x00010006
    assert not inn.connected


@pytest.mark.parametrize(
    "given", [("", "ana", "", ""), ("", "ana", "LAB", ""), ("", "", "LAB", "secret"), ("", "", "", "secret")]
)
def test_some_but_not_all_of_user_domain_and_password_are_refused(given: tuple[str, ...]) -> None:
    """With the documented identifier, whatever it is called."""
    with pytest.raises(InvalidArgument) as refused:
        innkeeper.connect(*given)
    assert refused.value.hresult == 0x8007000E


def test_a_task_has_the_documented_members(service: Service) -> None:
    """While it runs, and when it has ended."""
    with service.connect() as inn:
        machine = inn.machines["files-2"]
        former = machine.state
        task = machine.turn_off() if former is innkeeper.MachineState.RUNNING else machine.startup()
        assert task.id > 0
        assert "files-2" in task.description
        assert task.wait(30) is True
        assert task.is_complete
        assert not task.is_cancelable
        assert (task.result, task.error, task.error_description) == (innkeeper.TaskResult.SUCCESS, 0, "")
        assert task.percent_completed == 100
        with pytest.raises(TaskNotCancelable) as refused:
            task.cancel()
        assert refused.value.hresult == 0x80004005


@pytest.mark.parametrize("timeout_ms", [-2, 4_000_001, -100])
def test_a_wait_outside_the_documented_range_is_an_invalid_argument(
    service: Service, timeout_ms: int
) -> None:
    """−1 for ever, or 0 to 4,000,000; nothing else."""
    with service.connect() as inn:
        task = next(iter(inn.tasks), None) or inn.machines["web-1"].pause()
        with pytest.raises(InvalidArgument):
            task.wait_for_completion(timeout_ms)


def test_time_running_out_is_no_error_and_the_task_goes_on(own_service: Service) -> None:
    """``WaitForCompletion`` returns; whoever waits looks at ``is_complete``."""
    own_service.start()
    with own_service.connect() as inn:
        task = inn.machines["db-1"].shutdown()
        task.wait_for_completion(0)
        assert task.wait(0) in (True, False)
        task.wait_for_completion(-1)
        assert task.is_complete


def test_errors_come_back_as_the_exceptions_they_were(service: Service) -> None:
    """Class, identifier and what they carry."""
    with service.connect() as inn:
        with pytest.raises(MachineNotFound) as unknown:
            inn.machines["nope"]
        assert (unknown.value.code, unknown.value.machine) == (ErrorCode.VM_E_VM_UNKNOWN, "nope")
        with pytest.raises(WrongState) as wrong:
            inn.machines["old-1"].pause()
        assert (wrong.value.machine, wrong.value.state.upper()) == ("old-1", "SAVED")
        with pytest.raises(TaskNotFound):
            inn.tasks[999_999]
        with pytest.raises(BookingNotFound):
            inn.machines["web-1"].updates["nope"]


def test_bookings_go_through_with_any_identifier(service: Service) -> None:
    """Slashes, spaces, letters of any script, and what looks like a path."""
    with service.connect() as inn:
        machine = inn.machines["web-1"]
        for identifier in (
            "a/b",
            "../../etc",
            "Oktober – Täglich",
            "100%",
            "a?b=c#d",
            ".",
            "..",
            "%2E",
            "{x}",
        ):
            update = machine.updates.book(label="L", identifier=identifier, start=_LATER, context=b"\0\xff")
            assert machine.updates[identifier].status is innkeeper.UpdateStatus.UNKNOWN
            assert [each.identifier for each in machine.updates] == [identifier]
            assert update.read().start == _LATER
            update.delete()


def test_a_time_without_a_zone_is_refused_before_it_is_sent(service: Service) -> None:
    """Nobody guesses what somebody else's wall clock means."""
    with service.connect() as inn, pytest.raises(InvalidArgument, match="zone"):
        inn.machines["web-1"].updates.book(label="", identifier="x", start=dt.datetime(2031, 1, 1))


def test_booking_the_same_identifier_again_replaces_what_has_not_started(service: Service) -> None:
    """The rule for a second ``ScheduleTask``."""
    with service.connect() as inn:
        updates = inn.machines["web-1"].updates
        updates.book(label="first", identifier="x", start=_LATER)
        updates.book(label="second", identifier="x", start=_LATER)
        assert [update.read().label for update in updates] == ["second"]
        updates["x"].delete()


def test_the_stream_tells_what_happens_and_resumes_after_the_last_event(service: Service) -> None:
    """A reader that lost its connection loses no event."""
    with service.connect() as inn, service.connect() as other:
        events = inn.events(["window.*", "update.*"])
        listening = threading.Timer(0.5, lambda: _book_twice(other))
        listening.start()
        first, second = next(events), next(events)
        listening.join()
        assert (first.kind, first.subject) == ("update.booked", "web-1/one")
        (again,) = [next(iter(inn.events(["update.*"], last_id=first.id)))]
        assert again == second


def _book_twice(inn: innkeeper.Inn) -> None:
    for identifier in ("one", "two"):
        inn.machines["web-1"].updates.book(label="", identifier=identifier, start=_LATER)
    for identifier in ("one", "two"):
        inn.machines["web-1"].updates[identifier].delete()


def test_a_wait_bears_a_service_that_is_killed_and_started_again(own_service: Service) -> None:
    """The task goes on in the new service, and whoever waited for it is told."""
    own_service.start()
    with own_service.connect() as inn:
        task = inn.machines["web-1"].save()

        def restart() -> None:
            own_service.kill()
            own_service.start()

        restarting = threading.Thread(target=restart)
        restarting.start()
        assert task.wait(60)
        restarting.join()
        assert task.result is innkeeper.TaskResult.SUCCESS
        assert inn.machines["web-1"].state is innkeeper.MachineState.SAVED


@pytest.mark.timeout(120)
def test_a_call_to_a_service_that_has_gone_is_a_service_error(own_service: Service) -> None:
    """No call hangs."""
    own_service.start()
    with own_service.connect() as inn:
        own_service.kill()
        with pytest.raises(ServiceError) as gone:
            inn.machines.list()
        assert gone.value.hresult == 0x80041315


def test_something_else_behind_the_socket_is_not_believed(tmp_path: Path) -> None:
    """An answer that is not Innkeeper's is an error, not a crash of the client."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ServiceError) as refused:
            innkeeper.connect(socket=path)
    assert refused.value.code is ErrorCode.ERROR_INVALID_DATA


def test_collections_count_from_0(service: Service) -> None:
    """By number as Python's sequences, by name as documented."""
    with service.connect() as inn:
        names = [machine.name for machine in inn.machines]
        assert inn.machines[0].name == names[0]
        assert inn.machines[-1].name == names[-1]
        with pytest.raises(IndexError):
            inn.machines[len(names)]
        with pytest.raises(IndexError):
            inn.channels[0]
