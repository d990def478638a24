"""The realm of a real OpenLDAP: who is let in, who is not, and what is never sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.errors import ServiceError
from innkeeper.identity.realms import Known
from innkeeper.realms.closed_entries import is_closed
from tests.realms.slapd import PASSWORD, SLAPD, Slapd, running_slapd
from tests.serving import Service

pytest.importorskip("ldap")
if not SLAPD.exists():
    pytest.skip("OpenLDAP's server is not installed", allow_module_level=True)

from innkeeper.realms.directory import Directory, DirectoryRealm  # needs the extra


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """One directory for all tests."""
    with running_slapd(tmp_path_factory.mktemp("slapd")) as running:
        yield running


def _realm(slapd: Slapd, **other: object) -> DirectoryRealm:
    told: dict[str, object] = {
        "name": "LAB",
        "url": slapd.tls_url,
        "base": "dc=lab",
        "group_base": "ou=groups,dc=lab",
        "ca_file": slapd.certificate,
    }
    return DirectoryRealm(Directory(**told | other))  # type: ignore[arg-type]  # as the settings give them


@pytest.mark.parametrize("way", ["ldaps", "starttls"])
async def test_the_right_password_is_the_person_with_their_groups(slapd: Slapd, way: str) -> None:
    """Spelled as the directory spells it; over TLS both ways."""
    realm = _realm(slapd, url=slapd.tls_url if way == "ldaps" else slapd.url)
    known = await realm.check("ANA", PASSWORD)
    assert known is not None
    assert known.user == "ana"
    assert known.groups == {"Operators"}


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("ana", "wrong"),
        ("ana", ""),
        ("", PASSWORD),
        ("nobody", PASSWORD),
        ("*", PASSWORD),
        ("a*", PASSWORD),
        ("ana)(uid=*", PASSWORD),
        ("*)(|(uid=ana", PASSWORD),
        ("ana\0", PASSWORD),
        ("\\61na", PASSWORD),
        ("twin", PASSWORD),
        ("uid=ana,ou=people,dc=lab", PASSWORD),
        ("Operators", ""),
    ],
)
async def test_nobody_else_is_let_in(slapd: Slapd, user: str, password: str) -> None:
    """No empty password (which binds as nobody), no pattern, no filter of one's own, no two of one name."""
    assert await _realm(slapd).check(user, password) is None


async def test_a_name_with_the_filters_own_characters_is_a_name(slapd: Slapd) -> None:
    """It is escaped, not refused."""
    found = await _realm(slapd).check("bob(the)*builder", PASSWORD)
    assert found is not None
    assert found.user == "bob(the)*builder"


async def test_an_account_may_look_for_the_others(slapd: Slapd) -> None:
    """And its password is checked too."""
    as_ana = {"bind_dn": "uid=ana,ou=people,dc=lab", "bind_password": PASSWORD}
    assert await _realm(slapd, **as_ana).check("ana", PASSWORD)
    with pytest.raises(ServiceError, match="cannot be asked") as wrong:
        await _realm(slapd, **as_ana | {"bind_password": "wrong secret"}).check("ana", PASSWORD)
    assert "wrong secret" not in str(wrong.value)


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(slapd: Slapd, tmp_path: Path) -> None:
    """The password is never sent to it."""
    with pytest.raises(ServiceError, match="cannot be asked"):
        await _realm(slapd, ca_file=None).check("ana", PASSWORD)
    with pytest.raises(ServiceError, match="cannot be asked"):
        await _realm(slapd, ca_file=None, url=slapd.url).check("ana", PASSWORD)


async def test_who_is_gone_is_not_known_again(slapd: Slapd) -> None:
    """Groups are read anew too."""
    known = await _realm(slapd).check("ana", PASSWORD)
    assert known is not None
    assert known.groups == {"Operators"}
    assert await _realm(slapd).recall(known) == known
    assert await _realm(slapd).recall(Known(user="nobody")) is None
    slapd.change("dn: cn=Operators,ou=groups,dc=lab\nchangetype: delete\n")
    try:
        assert await _realm(slapd).recall(known) == dataclasses.replace(known, groups=frozenset())
    finally:
        slapd.change(
            "dn: cn=Operators,ou=groups,dc=lab\nchangetype: add\nobjectClass: groupOfNames\n"
            "cn: Operators\nmember: uid=ana,ou=people,dc=lab\n"
        )


@pytest.mark.parametrize(
    "mark", ["shadowExpire: 1", "userAccountControl: 514", "accountExpires: 1", "nsAccountLock: TRUE"]
)
async def test_whose_entry_is_closed_is_nobody(slapd: Slapd, mark: str) -> None:
    """At the door, and for who is within, though the directory takes the password."""
    known = await _realm(slapd).check("ana", PASSWORD)
    assert known is not None
    attribute = mark.partition(":")[0]
    slapd.change(f"dn: uid=ana,ou=people,dc=lab\nchangetype: modify\nadd: {attribute}\n{mark}\n")
    try:
        assert await _realm(slapd).check("ana", PASSWORD) is None
        assert await _realm(slapd).recall(known) is None
    finally:
        slapd.change(f"dn: uid=ana,ou=people,dc=lab\nchangetype: modify\ndelete: {attribute}\n")
    assert await _realm(slapd).recall(known) == known


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"shadowExpire": [b"-1"], "accountExpires": [b"0"], "userAccountControl": [b"512"]},
        {"shadowExpire": [b"99999999"], "accountExpires": [b"9223372036854775807"]},
        {
            "nsAccountLock": [b"FALSE"],
            "pwdAccountLockedTime": [b"20260101120000Z"],
            "shadowExpire": [b"soon"],
        },
    ],
)
def test_an_entry_that_says_nothing_or_no_yet_is_open(values: dict[str, list[bytes]]) -> None:
    """A lock for wrong passwords closes none: anybody can bring it about."""
    now = dt.datetime(2026, 1, 10, tzinfo=dt.UTC)
    assert not is_closed(values, now)
    assert is_closed(values | {"pwdAccountLockedTime": [b"000001010000Z"]}, now)


async def test_a_name_that_was_given_to_another_is_somebody_else(slapd: Slapd) -> None:
    """Their entry is another, whatever it is called."""
    entry = (
        "dn: uid=eve,ou=people,dc=lab\nchangetype: add\nobjectClass: inetOrgPerson\n"
        f"uid: eve\ncn: Eve\nsn: E\nuserPassword: {PASSWORD}\n"
    )
    slapd.change(entry)
    known = await _realm(slapd).check("eve", PASSWORD)
    assert known is not None
    slapd.change("dn: uid=eve,ou=people,dc=lab\nchangetype: delete\n")
    slapd.change(entry)
    assert await _realm(slapd).check("eve", PASSWORD) is not None
    assert await _realm(slapd).recall(known) is None


async def test_a_directory_that_is_away_is_said_so_and_those_within_are_believed_for_a_while(
    slapd: Slapd,
) -> None:
    """Nobody new comes in meanwhile."""
    realm = _realm(slapd)
    known = await realm.recall(Known(user="ana"))
    assert known is not None
    assert known.groups == {"Operators"}
    slapd.stop()
    try:
        assert await realm.recall(known) == known
        with pytest.raises(ServiceError) as away:
            await realm.check("ana", PASSWORD)
        assert away.value.hresult == 0x80041312
        with pytest.raises(ServiceError):
            await realm.recall(Known(user="other"))
    finally:
        slapd.start()


def test_people_of_a_directory_connect_to_a_service(
    slapd: Slapd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their groups carry roles, by the settings and by a grant."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "inn.toml").write_text(
        f'[[ldap]]\nname = "LAB"\nurl = "{slapd.tls_url}"\nbase = "dc=lab"\n'
        f'group_base = "ou=groups,dc=lab"\nca_file = "{slapd.certificate}"\n'
        '[ldap.roles]\nOperators = "operator"\n'
    )
    service = Service(tmp_path)
    service.listen()
    service.add_arguments("--config", str(tmp_path / "inn.toml"))
    service.start()
    try:
        import innkeeper

        with innkeeper.connect(service.url, "ana", "lab", PASSWORD) as inn:
            assert (inn.connected_user, inn.connected_domain) == ("ana", "LAB")
            assert inn.read().role == "operator"
        with pytest.raises(innkeeper.InnkeeperError) as denied:
            innkeeper.connect(service.url, "ana", "LAB", "wrong wrong")
        assert denied.value.hresult == 0x80070005
        assert PASSWORD not in service.log.read_text()
    finally:
        service.end()
