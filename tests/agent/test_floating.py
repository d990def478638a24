"""Which addresses float between the machines of a cluster, by what their managers are told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from innkeeper.agent.floating import floating
from innkeeper.agent.places import Places

_KEEPALIVED = """\
$NET=198.51.100
! 192.0.2.99 { virtual_ipaddress
include conf.d/*.conf
vrrp_instance one {
    interface eth0
    mcast_src_ip 192.0.2.5      # its own
    unicast_peer {
        192.0.2.6
    }
    virtual_ipaddress {
        192.0.2.10/24 dev eth1 label eth1:1
        @web-1 ${NET}.11
        # 192.0.2.98
        2001:db8::1/64
    }
    virtual_ipaddress_excluded {
        192.0.2.12
    }
    virtual_routes {
        203.0.113.0/24 via 192.0.2.1
        0.0.0.0/0 gw 192.0.2.1 table 100
    }
}
virtual_server 192.0.2.10 443 {
    real_server 192.0.2.7 443 {
    }
}
"""
_INCLUDED = """\
include keepalived.conf
include *.conf
vrrp_instance two {
    virtual_ipaddress {
        192.0.2.20/24
    }
    virtual_routes {
        src 192.0.2.20 to default via 192.0.2.1
    }
}
"""
_CIB = """\
<cib><configuration><resources>
  <primitive class="ocf" id="vip" provider="heartbeat" type="IPaddr2">
    <instance_attributes id="vip-instance_attributes">
      <nvpair id="vip-instance_attributes-ip" name="ip" value="198.51.100.10"/>
      <nvpair id="vip-instance_attributes-cidr_netmask" name="cidr_netmask" value="24"/>
      <nvpair value="198.51.100.11" name="ip" id="other"/>
    </instance_attributes>
  </primitive>
</resources></configuration></cib>
"""


def _write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def _start(root: Path, *words: str) -> None:
    """Let a program run in the guest, as its ``/proc`` has it."""
    _write(root, "proc/77/stat", f"77 ({words[0][:15]}) S 1 77 77 0 -1\n")
    _write(root, "proc/77/cmdline", "".join(f"{word}\0" for word in words))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A guest with the files of every manager, of which none runs."""
    _write(tmp_path, "etc/keepalived/keepalived.conf", _KEEPALIVED)
    _write(tmp_path, "etc/keepalived/conf.d/two.conf", _INCLUDED)
    _write(tmp_path, "srv/other.conf", "virtual_ipaddress {\n192.0.2.30\n}\n")
    _write(tmp_path, "var/lib/pacemaker/cib/cib.xml", _CIB)
    _write(tmp_path, "etc/ctdb/public_addresses", "192.0.2.40/24 eth1\n# 192.0.2.41\n\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["keepalived", "-D"], ["192.0.2.10", "192.0.2.12", "192.0.2.20", "198.51.100.11", "default"]),
        (["keepalived", "-f", "/srv/other.conf"], ["192.0.2.30"]),
        (["keepalived", "--use-file=/srv/other.conf"], ["192.0.2.30"]),
        (["pacemakerd"], ["198.51.100.10", "198.51.100.11"]),
        (["corosync"], []),
        (["ctdbd"], ["192.0.2.40"]),
        (["ucarp", "-i", "eth0", "--srcip=192.0.2.5", "--addr=192.0.2.50", "-v", "1"], ["192.0.2.50"]),
        (["ucarp", "-s", "192.0.2.5", "-a192.0.2.50"], ["192.0.2.50"]),
        (["vrrpd", "-i", "eth0", "-v", "50", "192.0.2.60"], ["192.0.2.60"]),
        (["sshd"], []),
    ],
)
def test_what_a_manager_that_runs_gives_away_floats(root: Path, words: list[str], told: list[str]) -> None:
    """Not what it says of its own addresses and its peers', nor what another one's files hold."""
    _start(root, *words)
    assert floating(Places(str(root))) == told


def test_a_file_that_cannot_be_read_gives_nothing_away(tmp_path: Path) -> None:
    """So what is lost counts."""
    _start(tmp_path, "keepalived")
    assert floating(Places(str(tmp_path))) == []


def test_a_file_that_waits_for_a_writer_holds_up_nothing(root: Path) -> None:
    """A named pipe in place of settings: whoever reads it would wait for ever."""
    os.mkfifo(root / "srv/pipe")
    _start(root, "keepalived", "-f", "/srv/pipe")
    assert floating(Places(str(root))) == []


def test_a_program_of_a_users_gives_nothing_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is called."""
    _start(root, "vrrpd", "192.0.2.60")
    real = os.stat

    def stat(path: str | os.PathLike[str], **more: bool) -> os.stat_result:
        found = real(path, **more)
        return os.stat_result((*found[:4], 4242, *found[5:])) if str(path).endswith("/proc/77") else found

    monkeypatch.setattr(os, "stat", stat)
    assert floating(Places(str(root))) == []
