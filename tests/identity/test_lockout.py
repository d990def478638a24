"""Guessing is slow, whoever guesses, and costs little memory."""

from __future__ import annotations

import asyncio

import pytest

from innkeeper.errors import TooManyTries
from innkeeper.identity.lockout import Lockout, LockoutRules, network_of
from innkeeper.tasks.clock import FakeClock


async def _try(
    lockout: Lockout, account: str = "ana@local", address: str = "192.0.2.1", *, is_right: bool | None = False
) -> None:
    async with lockout.trying(account, address) as attempt:
        attempt.is_right = is_right


async def _guess(
    lockout: Lockout, account: str = "ana@local", address: str = "192.0.2.1", times: int = 1
) -> int:
    """How many of these guesses were let through."""
    through = 0
    for _ in range(times):
        try:
            await _try(lockout, account, address)
        except TooManyTries:
            continue
        through += 1
    return through


async def test_a_few_tries_are_free_and_then_each_waits_twice_as_long() -> None:
    """Until the longest wait."""
    clock = FakeClock()
    lockout = Lockout(clock, LockoutRules(account_tries=3, first_wait=1, longest_wait=8))
    assert await _guess(lockout, times=10) == 3
    for wait in (1, 2, 4, 8, 8):
        with pytest.raises(TooManyTries) as shut:
            await _try(lockout)
        assert shut.value.retry_after == wait
        assert shut.value.hresult == 0x80070005
        await clock.advance(wait)
        assert await _guess(lockout, times=10) == 1


async def test_ten_thousand_guesses_in_a_day_are_a_hundred() -> None:
    """Whoever tries all day tries in vain."""
    clock = FakeClock()
    lockout = Lockout(clock)
    through = 0
    for _ in range(10_000):
        through += await _guess(lockout)
        await clock.advance(8.64)
    assert through < 120


async def test_many_accounts_from_one_address_are_shut_out_too() -> None:
    """One password tried on everybody."""
    lockout = Lockout(FakeClock())
    through = [await _guess(lockout, f"user{n}@local") for n in range(200)]
    assert sum(through) == LockoutRules().address_tries
    assert await _guess(lockout, "bob@local", "198.51.100.7") == 1


def test_an_ipv6_network_counts_as_one_address() -> None:
    """Whoever has one has 2⁶⁴ of them."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("uid 1000") == "uid 1000"


async def test_the_guesses_of_others_do_not_shut_out_who_came_from_elsewhere_before() -> None:
    """Else anybody could lock an administrator out."""
    lockout = Lockout(FakeClock())
    await _try(lockout, address="198.51.100.7", is_right=True)
    assert await _guess(lockout, address="192.0.2.1", times=100) == LockoutRules().account_tries
    assert await _guess(lockout, address="198.51.100.7") == 1
    assert await _guess(lockout, address="198.51.100.8") == 0


async def test_a_right_password_makes_the_tries_free_again() -> None:
    """Of the account; those from the address count on, or one good account would hide many guesses."""
    lockout = Lockout(FakeClock())
    for _ in range(100):
        await _try(lockout, is_right=True)
    assert await _guess(lockout, times=4) == 4


async def test_a_try_that_a_realm_could_not_judge_is_given_back() -> None:
    """A directory that is down shuts nobody out."""
    lockout = Lockout(FakeClock())
    for _ in range(100):
        await _try(lockout, "ana@LAB", is_right=None)
    assert await _guess(lockout, "ana@LAB") == 1


async def test_wrong_tries_are_forgotten_after_an_hour() -> None:
    """People who mistyped are not punished for ever."""
    clock = FakeClock()
    lockout = Lockout(clock)
    assert await _guess(lockout, times=100) == 5
    await clock.advance(3601)
    assert await _guess(lockout, times=100) == 5


async def test_memory_is_bounded() -> None:
    """Whatever names and addresses are tried."""
    lockout = Lockout(FakeClock(), LockoutRules(remembered=100))
    for number in range(10_000):
        await _guess(lockout, f"user{number}@local", f"10.{number % 200}.{number // 200}.1")
    assert len(lockout) <= 100


@pytest.mark.parametrize("is_known", [True, False])
async def test_right_passwords_at_once_are_let_in_however_many(is_known: bool) -> None:
    """A program that sends its password with each request may send many; wrong ones at once are many."""
    lockout, at_once, most = Lockout(FakeClock()), 0, 0

    async def one(is_right: bool) -> None:
        nonlocal at_once, most
        async with lockout.trying("ana@local", "192.0.2.1") as attempt:
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            attempt.is_right = is_right

    if is_known:
        await one(True)
    await asyncio.gather(*(one(True) for _ in range(100)))
    assert most == LockoutRules().account_tries
    ended = await asyncio.gather(*(one(False) for _ in range(100)), return_exceptions=True)
    assert ended.count(None) == LockoutRules().account_tries
    assert sum(isinstance(each, TooManyTries) for each in ended) == 100 - LockoutRules().account_tries


async def test_who_is_known_at_an_address_is_not_shut_out_by_others_there() -> None:
    """Behind one router, or one proxy that does not say who asks."""
    lockout = Lockout(FakeClock())
    await _try(lockout, is_right=True)
    for number in range(100):
        await _guess(lockout, f"user{number}@local")
    assert await _guess(lockout, "bob@local") == 0
    await _try(lockout, is_right=True)


async def test_tries_of_known_accounts_count_for_their_address() -> None:
    """Else one who has logged in somewhere could guess there."""
    lockout = Lockout(FakeClock())
    for number in range(10):
        await _try(lockout, f"user{number}@local", is_right=True)
    assert sum([await _guess(lockout, f"user{number}@local", times=2) for number in range(10)]) == 20
    assert await _guess(lockout, "bob@local") == 0


async def test_who_logs_in_all_the_time_gives_nobody_elsewhere_free_tries() -> None:
    """A right password from a known address says nothing of those who guess."""
    lockout = Lockout(FakeClock())
    await _try(lockout, is_right=True)
    through = 0
    for number in range(100):
        through += await _guess(lockout, address=f"198.51.100.{number}")
        await _try(lockout, is_right=True)
    assert through == LockoutRules().account_tries


async def test_ones_own_right_password_shortens_no_wait() -> None:
    """Else somebody with an account would guess those of others without one."""
    lockout = Lockout(FakeClock())
    await _try(lockout, "mal@local", is_right=True)
    through = 0
    for number in range(100):
        through += await _guess(lockout, f"user{number}@local")
        await _try(lockout, "mal@local", is_right=True)
    assert through == LockoutRules().address_tries


async def test_who_is_not_let_in_leaves_nothing_behind() -> None:
    """Names tried from an address that must wait push nobody's wrong tries out of memory."""
    lockout = Lockout(FakeClock())
    for number in range(100):
        await _guess(lockout, f"user{number}@local")
    assert len(lockout) == LockoutRules().address_tries + 1


async def _hang(lockout: Lockout, account: str, address: str) -> None:
    async with lockout.trying(account, address):
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("hung", "account", "address"),
    [
        ([("ana@local", f"198.51.100.{number}") for number in range(5)], "ana@local", "192.0.2.1"),
        ([(f"user{number}@local", "192.0.2.1") for number in range(20)], "bob@local", "192.0.2.1"),
    ],
)
async def test_nobody_waits_long_for_tries_that_hang(
    hung: list[tuple[str, str]], account: str, address: str
) -> None:
    """Of the account, or from the address: who waits is told when to come again, and it counts as no try."""
    clock = FakeClock()
    lockout = Lockout(clock)
    hanging = [asyncio.create_task(_hang(lockout, *each)) for each in hung]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(_try(lockout, account, address, is_right=True))
    await clock.advance(LockoutRules().queue_seconds - 1)
    assert not waiting.done()
    await clock.advance(2)
    assert waiting.done()
    with pytest.raises(TooManyTries) as refused:
        await waiting
    assert refused.value.retry_after == LockoutRules().queue_seconds
    for each in hanging:
        each.cancel()
    await asyncio.wait(hanging)
    await _try(lockout, account, address, is_right=True)


async def test_a_limited_number_waits() -> None:
    """The next one is refused at once."""
    clock = FakeClock()
    lockout = Lockout(clock, LockoutRules(queue=7))
    hanging = [asyncio.create_task(_hang(lockout, "ana@local", "192.0.2.1")) for _ in range(5)]
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(_try(lockout, is_right=True)) for _ in range(7)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyTries):
        await asyncio.wait_for(_try(lockout, is_right=True), 1)
    for each in hanging:
        each.cancel()
    await asyncio.gather(*waiting)
    await asyncio.wait(hanging)


async def test_who_must_wait_is_not_forgotten_for_names_that_others_try() -> None:
    """While there is somebody else to forget."""
    lockout = Lockout(FakeClock(), LockoutRules(remembered=100))
    assert await _guess(lockout, times=6) == 5
    for number in range(1000):
        await _guess(lockout, f"user{number}@local", f"10.0.{number // 200}.{number % 200}")
    assert await _guess(lockout, address="198.51.100.1") == 0
    assert len(lockout) <= 100
