"""Guessing is slow, whoever guesses, and costs little memory."""

from __future__ import annotations

import pytest

from innkeeper.errors import TooManyTries
from innkeeper.identity.lockout import Lockout, LockoutRules, network_of
from innkeeper.tasks.clock import FakeClock


def _guess(lockout: Lockout, account: str = "ana@local", address: str = "192.0.2.1", times: int = 1) -> int:
    """How many of these guesses were let through."""
    through = 0
    for _ in range(times):
        try:
            lockout.charge(account, address)
        except TooManyTries:
            continue
        through += 1
    return through


async def test_a_few_tries_are_free_and_then_each_waits_twice_as_long() -> None:
    """Until the longest wait."""
    clock = FakeClock()
    lockout = Lockout(clock, LockoutRules(account_tries=3, first_wait=1, longest_wait=8))
    assert _guess(lockout, times=10) == 3
    for wait in (1, 2, 4, 8, 8):
        with pytest.raises(TooManyTries) as shut:
            lockout.charge("ana@local", "192.0.2.1")
        assert shut.value.retry_after == wait
        assert shut.value.hresult == 0x80070005
        await clock.advance(wait)
        assert _guess(lockout, times=10) == 1


async def test_ten_thousand_guesses_in_a_day_are_a_hundred() -> None:
    """Whoever tries all day tries in vain."""
    clock = FakeClock()
    lockout = Lockout(clock)
    through = 0
    for _ in range(10_000):
        through += _guess(lockout)
        await clock.advance(8.64)
    assert through < 120


def test_many_accounts_from_one_address_are_shut_out_too() -> None:
    """One password tried on everybody."""
    lockout = Lockout(FakeClock())
    assert sum(_guess(lockout, f"user{n}@local") for n in range(200)) == LockoutRules().address_tries
    assert _guess(lockout, "bob@local", "198.51.100.7") == 1


def test_an_ipv6_network_counts_as_one_address() -> None:
    """Whoever has one has 2⁶⁴ of them."""
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2")
    assert network_of("2001:db8::1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("uid 1000") == "uid 1000"


def test_the_guesses_of_others_do_not_shut_out_who_came_from_elsewhere_before() -> None:
    """Else anybody could lock an administrator out."""
    lockout = Lockout(FakeClock())
    lockout.charge("ana@local", "198.51.100.7")
    lockout.right("ana@local", "198.51.100.7")
    assert _guess(lockout, address="192.0.2.1", times=100) == LockoutRules().account_tries
    assert _guess(lockout, address="198.51.100.7") == 1
    assert _guess(lockout, address="198.51.100.8") == 0


def test_a_right_password_makes_the_tries_free_again() -> None:
    """Of the account; those from the address count on, or one good account would hide many guesses."""
    lockout = Lockout(FakeClock())
    for _ in range(100):
        lockout.charge("ana@local", "192.0.2.1")
        lockout.right("ana@local", "192.0.2.1")
    assert _guess(lockout, times=4) == 4


def test_a_try_that_a_realm_could_not_judge_is_given_back() -> None:
    """A directory that is down shuts nobody out."""
    lockout = Lockout(FakeClock())
    for _ in range(100):
        lockout.charge("ana@LAB", "192.0.2.1")
        lockout.refund("ana@LAB", "192.0.2.1")
    assert _guess(lockout, "ana@LAB") == 1


async def test_wrong_tries_are_forgotten_after_an_hour() -> None:
    """People who mistyped are not punished for ever."""
    clock = FakeClock()
    lockout = Lockout(clock)
    assert _guess(lockout, times=100) == 5
    await clock.advance(3601)
    assert _guess(lockout, times=100) == 5


def test_memory_is_bounded() -> None:
    """Whatever names and addresses are tried."""
    lockout = Lockout(FakeClock(), LockoutRules(remembered=100))
    for number in range(10_000):
        _guess(lockout, f"user{number}@local", f"10.{number % 200}.{number // 200}.1")
    assert len(lockout) <= 100
