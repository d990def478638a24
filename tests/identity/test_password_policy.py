"""New passwords are long, and none that is guessed first."""

from __future__ import annotations

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.identity.password_policy import PasswordPolicy, refused_in
from innkeeper.tasks.clock import FakeClock
from tests.identity.people import GOOD, memory_people


@pytest.mark.parametrize(
    "password",
    [
        "password123", "P@ssw0rd!!!", "1234567890", "qwertyuiop", "asdfasdfasdf", "Summer2024!",
        "letmeinletmein", "aaaaaaaaaaaa", "zyxwvutsrq", "innkeeper1!", "Admin123456", "abababababab",
        "ｐａｓｓｗｏｒｄ１２３４", "qwert1234567890", "password123456123456", "welcome2024",
    ],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(password: str) -> None:
    """Common words with what is put around them, keys in a row, a few letters again and again."""
    with pytest.raises(InvalidArgument, match="guessed first"):
        PasswordPolicy().check(password, "ana")
    PasswordPolicy(refuses_common=False).check(password, "ana")


@pytest.mark.parametrize(
    "password",
    [GOOD, "a long enough password", "tr0ub4dor and three", "corréct horse", "qwert-8273-9912-5531"],
)
def test_a_few_words_in_a_row_will_do(password: str) -> None:
    """Nothing is asked of them but their length."""
    PasswordPolicy().check(password, "ana")


@pytest.mark.parametrize(("password", "user"), [("ana-ana-2024", "ana"), ("Annabelle12", "annabelle")])
def test_the_name_of_its_account_is_no_password(password: str, user: str) -> None:
    """Nor with a few letters or figures more; within a sentence it may stand."""
    with pytest.raises(InvalidArgument, match="the account's name"):
        PasswordPolicy().check(password, user)
    PasswordPolicy().check(f"{user} likes her tea cold", user)


def test_a_name_of_a_letter_or_two_is_in_many_passwords() -> None:
    """By chance: it says nothing of them."""
    PasswordPolicy().check("7391-5528-6610-a", "a1")


def test_an_own_list_is_refused_whatever_the_case() -> None:
    """As lists of breaches have them, one a line."""
    policy = PasswordPolicy(shortest=8, refused=refused_in(["Tea at Five\r\n", "\n"]))
    with pytest.raises(InvalidArgument, match="guessed first"):
        policy.check("tea at FIVE")
    with pytest.raises(InvalidArgument, match="guessed first"):
        policy.check("ｔｅａ at five")
    with pytest.raises(InvalidArgument, match="8 to 1024"):
        policy.check("tea at")
    policy.check("tea at six")


async def test_an_account_is_held_to_it_at_each_new_password() -> None:
    """When it is made, and when its password is set."""
    house = memory_people(FakeClock())
    with pytest.raises(InvalidArgument, match="guessed first"):
        await house.accounts.add("ana", "password123")
    await house.accounts.add("annabelle", GOOD)
    with pytest.raises(InvalidArgument, match="the account's name"):
        await house.accounts.set_password("Annabelle", "annabelle12")
