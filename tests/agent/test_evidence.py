"""What the agent tells of a unit in trouble: its end, and its last words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from innkeeper.agent.inits import Inits
from innkeeper.agent.places import Places

_SYSTEMCTL = """\
case "$*" in *gone.service) echo LoadState=not-found; exit 0;; esac
echo LoadState=loaded
echo ActiveState=failed
echo SubState=failed
echo Result=exit-code
echo ExecMainCode=1
echo ExecMainStatus=3
echo NRestarts=5
echo ExecMainPID=612
echo ExecMainStartTimestampMonotonic=60000000
echo 'ExecStart={ path=/usr/bin/shop ; argv[]=/usr/bin/shop --port 80 ; ignore_errors=no }'
echo 'StateChangeTimestamp=Mon 2026-11-30 02:00:01 UTC'
"""
_JOURNALCTL = """\
case "$*" in
*_TRANSPORT=kernel*) cat "${0%/*}/kernel";;
*gone.service) exit 0;;
*_UID=1000*_SYSTEMD_USER_UNIT=sync.service) echo '2026-11-30T02:00:00+0000 sync[9]: no such folder';;
*) echo '2026-11-30T02:00:01+0000 shop[7]: cannot bind to port 80'; yes x | head -c 5000 | tr -d '\\n'; echo;;
esac
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A guest whose systemd says what one of Debian 12 says."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in (("systemctl", _SYSTEMCTL), ("journalctl", _JOURNALCTL)):
        (programs / name).write_text(f"#!/bin/sh\n{body}")
        (programs / name).chmod(0o755)
    (programs / "kernel").touch()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    return Places(str(tmp_path))


def test_a_unit_tells_how_it_ended_and_what_it_said_last(places: Places) -> None:
    """A line that has no end is cut."""
    told = Inits(places).evidence(["shop.service"])["shop.service"]
    assert told[0] == (
        "failed (failed), result exit-code, its program ended by exit code 3, started again 5 times, "
        "since Mon 2026-11-30 02:00:01 UTC"
    )
    assert told[1].endswith("shop[7]: cannot bind to port 80")
    assert len(told[2]) == 400


def test_of_a_unit_that_is_not_there_nothing_is_told(places: Places) -> None:
    """And of one of a user's manager, which answers its user alone, the journal's lines."""
    assert Inits(places).evidence(["gone.service", "user@1000.service/sync.service"]) == {
        "user@1000.service/sync.service": ["2026-11-30T02:00:00+0000 sync[9]: no such folder"]
    }


def test_a_guest_without_an_init_that_is_known_tells_nothing(tmp_path: Path) -> None:
    """There are no units."""
    assert Inits(Places(str(tmp_path))).evidence(["shop.service"]) == {}


#: As kernel 6.1 of Debian 12 and the audit system of Fedora print them.
_APPARMOR = (
    'audit: type=1400 audit(1764576000.1:77): apparmor="DENIED" operation="exec" profile="{}" '
    'name="/usr/bin/python3.11" pid={} comm="{}" requested_mask="x" denied_mask="x" fsuid=0 ouid=0'
)
_SELINUX = (
    'AVC avc:  denied  { name_bind } for  pid=612 comm="shop" src=80 path="port" '
    "scontext=system_u:system_r:shop_t:s0 tcontext=system_u:object_r:http_port_t:s0 tclass=tcp_socket"
)


def test_what_a_guard_has_denied_a_unit_is_told(places: Places) -> None:
    """Its own, since its last start, and once each: not what others were denied, or it was before."""
    messages = [
        (10, _APPARMOR.format("/usr/bin/shop", 400, "shop")),
        (61, "eth0: link is up"),
        (61, _APPARMOR.format("/usr/sbin/cupsd", 613, "cupsd")),
        (61, _APPARMOR.format("/usr/bin/shop", 611, "sh")),
        (62, _APPARMOR.format("/usr/bin/shop", 612, "sh")),
        (62, _SELINUX),
    ]
    entries = [json.dumps({"__MONOTONIC_TIMESTAMP": f"{at}000000", "MESSAGE": text}) for at, text in messages]
    (Path(places.root) / "bin/kernel").write_text("\n".join(["no JSON", *entries]))
    told = Inits(places).evidence(["shop.service"])["shop.service"]
    assert told[1].startswith('apparmor="DENIED" operation="exec" profile="/usr/bin/shop"')
    assert told[1].partition(" pid=")[2].startswith("612 ")
    assert told[2].startswith("avc:  denied  { name_bind } for")
    assert told[3].endswith("shop[7]: cannot bind to port 80")
