"""Ask many hosts at once: one that is away or silent holds up no answer of another."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Generic, TypeVar

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError, MachineNotFound
from innkeeper.machines.ports.host import Host

T = TypeVar("T")

#: A host answers a question in milliseconds; one that takes longer is told as silent.
ANSWER_SECONDS = 10.0
#: For a list of all servers a host has less time: they wait five seconds for each other's parts.
GATHERED_SECONDS = 4.0
#: So many are begun to be asked before others have their turn.
_AT_ONCE = 20


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Answers(Generic[T]):
    """What hosts have answered, and why others have not; each by the host's name."""

    given: Mapping[str, T]
    missing: Mapping[str, InnkeeperError]


async def ask_all(
    hosts: Iterable[Host], question: Callable[[Host], Awaitable[T]], seconds: float = ANSWER_SECONDS
) -> Answers[T]:
    """Ask every host the same, all at once."""
    asked = await _asked(hosts, question, seconds)
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    given: dict[str, T] = {}
    missing: dict[str, InnkeeperError] = {}
    for name, answer in zip(asked, answers, strict=True):
        if isinstance(answer, InnkeeperError):
            missing[name] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            given[name] = answer
    return Answers(given=given, missing=missing)


async def _asked(
    hosts: Iterable[Host], question: Callable[[Host], Awaitable[T]], seconds: float
) -> Mapping[str, asyncio.Task[T]]:
    """Begin to ask every host; with very many, others are answered in between."""
    asked: dict[str, asyncio.Task[T]] = {}
    try:
        for number, host in enumerate(hosts, 1):
            asked[host.name] = asyncio.create_task(ask(host, question, seconds))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
    except BaseException:
        for task in asked.values():
            task.cancel()
        raise
    return asked


async def ask(host: Host, question: Callable[[Host], Awaitable[T]], seconds: float = ANSWER_SECONDS) -> T:
    """Ask one host. Raises ``HypervisorError`` (ERROR_ONLY_IF_CONNECTED) where it says nothing."""
    try:
        async with asyncio.timeout(seconds):
            return await question(host)
    except TimeoutError:
        raise HypervisorError(
            f"The host {host.name} does not answer.",
            code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
            advice="Innkeeper goes on by itself as soon as it does.",
        ) from None


def is_away(error: InnkeeperError) -> bool:
    """Whether the error says that the host cannot be reached now."""
    return error.code is ErrorCode.ERROR_ONLY_IF_CONNECTED


def may_be_elsewhere(error: InnkeeperError) -> bool:
    """Whether another server may have a machine: no host here has it, of those that answer."""
    return isinstance(error, MachineNotFound) or is_away(error)
