"""The realm of a real MIT KDC: tickets, passwords, and what is neither."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import innkeeper
from innkeeper.errors import NotPermitted, ServiceError
from tests.realms.kdc import KDC, PASSWORD, REALM, Kdc, running_kdc
from tests.serving import Service

gssapi = pytest.importorskip("gssapi")
if not KDC.exists():
    pytest.skip("MIT Kerberos' KDC is not installed", allow_module_level=True)

from innkeeper.realms.kerberos import KerberosRealm  # noqa: E402  # needs the extra


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kdc]:
    """One realm for all tests."""
    with running_kdc(tmp_path_factory.mktemp("kdc")) as running:
        yield running


@pytest.fixture(autouse=True)
def environment(kdc: Kdc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The libraries of this process speak with that KDC."""
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def _realm(kdc: Kdc, keytab: Path | None = None) -> KerberosRealm:
    return KerberosRealm(name=REALM, keytab=keytab or kdc.keytab, service="HTTP@localhost")


def _ticket(service: str = "HTTP@localhost") -> bytes:
    name = gssapi.Name(service, gssapi.NameType.hostbased_service)
    return bytes(gssapi.SecurityContext(name=name, usage="initiate").step())


async def test_a_ticket_is_its_owner(kdc: Kdc) -> None:
    """Once: a copy of it is refused."""
    realm, ticket = _realm(kdc), _ticket()
    known = await realm.by_ticket(ticket)
    assert known is not None
    assert known.user == "ana"
    assert known.ends_at is not None
    assert known.ends_at > dt.datetime.now(dt.UTC)
    assert await realm.by_ticket(ticket) is None
    again = await realm.by_ticket(_ticket())
    assert again is not None
    assert again.user == "ana"


async def test_what_is_no_ticket_for_this_service_is_refused(kdc: Kdc) -> None:
    """For another service, cut off, changed, none at all, too long."""
    realm, good = _realm(kdc), _ticket()
    bad = [
        _ticket("HTTP@other"),
        good[:-10],
        good[:50] + bytes([good[50] ^ 1]) + good[51:],
        b"",
        b"x",
        b"\0" * 99_999,
    ]
    for ticket in bad:
        assert await realm.by_ticket(ticket) is None
    other = KerberosRealm(name="OTHER.TEST", keytab=kdc.keytab, service="HTTP@localhost")
    assert await other.by_ticket(_ticket()) is None


async def test_a_password_is_tried_on_the_services_own_key(kdc: Kdc) -> None:
    """So that a KDC that only pretends to be one lets nobody in; what it proves ends as the ticket does."""
    known = await _realm(kdc).check("ana", PASSWORD)
    assert known is not None
    assert known.user == "ana"
    assert known.ends_at is not None
    assert await _realm(kdc).recall(known) == known
    past = dataclasses.replace(known, ends_at=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1))
    assert await _realm(kdc).recall(past) is None
    for user, password in (("ana", "wrong"), ("nobody", PASSWORD), ("ana", ""), ("ana@OTHER.TEST", PASSWORD)):
        assert await _realm(kdc).check(user, password) is None
    assert await _realm(kdc, kdc.home / "other.keytab").check("ana", PASSWORD) is None


async def test_a_kdc_that_is_away_is_said_so(kdc: Kdc) -> None:
    """It is no wrong password."""
    kdc.stop()
    try:
        with pytest.raises(ServiceError) as away:
            await _realm(kdc).check("ana", PASSWORD)
        assert away.value.hresult == 0x80041312
    finally:
        kdc.start()


def test_a_ticket_connects_and_a_password_too(
    kdc: Kdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a user it is the ticket's owner; by HTTP it is Negotiate, which is offered."""
    (tmp_path / "inn.toml").write_text(
        f'[[kerberos]]\nname = "{REALM}"\nkeytab = "{kdc.keytab}"\nservice = "HTTP@localhost"\n'
    )
    service = Service(tmp_path)
    service.listen("localhost:0")
    service.add_arguments("--config", str(tmp_path / "inn.toml"))
    service.start()
    server = f"http://localhost:{service.url.rsplit(':', 1)[1]}"
    try:
        with pytest.raises(NotPermitted):  # known, and without a role
            innkeeper.connect(server)
        assert service.run("user", "role", f"ana@{REALM}", "operator").code == 0
        with innkeeper.connect(server) as inn:
            assert (inn.connected_user, inn.connected_domain) == ("ana", REALM)
        with innkeeper.connect(server, "ana", REALM, PASSWORD) as inn:
            assert inn.read().role == "operator"
        unknown = httpx.get(f"{server}/v1/inn")
        assert unknown.headers.get_list("www-authenticate") == ["Bearer", "Negotiate"]
        proof = base64.b64encode(_ticket()).decode()
        known = httpx.get(f"{server}/v1/inn", headers={"Authorization": f"Negotiate {proof}"})
        assert known.json()["proof"] == "ticket"
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/none")
        with pytest.raises(NotPermitted):
            innkeeper.connect(server)
    finally:
        service.end()
