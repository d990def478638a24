"""A guest's tables of its networks, as Linux has them."""

from __future__ import annotations

from pathlib import Path

#: As Linux 6.1 prints it, with an address that is the network's own too (RFC 3021).
FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        +-- 127.0.0.0/31 1 0 0
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.0.2.0/24 2 0 2
        +-- 192.0.2.0/30 2 0 2
           |-- 192.0.2.0
              /32 host LOCAL
              /24 link UNICAST
           |-- 192.0.2.2
              /32 host LOCAL
        |-- 192.0.2.255
           /32 link BROADCAST
"""


def write(root: Path, path: str, text: str) -> None:
    """Put a file into the guest."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def lay(root: Path) -> None:
    """Cards, one of them without a link; a bridge over one; and networks of containers and of a tunnel."""
    for device, kind in (("eth0", "1"), ("eth1", "1"), ("docker0", "1"), ("wg0", "65534"), ("br0", "1")):
        write(root, f"sys/class/net/{device}/type", f"{kind}\n")
    (root / "sys/class/net/eth0/device").mkdir()
    (root / "sys/class/net/eth1/device").mkdir()
    write(root, "sys/class/net/eth1/carrier", "0\n")
    (root / "sys/class/net/br0/lower_eth0").symlink_to(root / "sys/class/net/eth0")
    write(
        root,
        "proc/net/route",
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "br0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "wg0\t00000000\t00000000\t0001\t0\t0\t9\t00000000\t0\t0\t0\n"
        "*\t00000000\t00000000\t0200\t0\t0\t9\t00000000\t0\t0\t0\n"
        "br0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
        "eth1\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n",
    )
    none = 32 * "0"
    write(
        root,
        "proc/net/ipv6_route",
        f"20010db8{24 * '0'} 40 {none} 00 {none} 00000100 00000001 00000000 00000001     br0\n"
        f"fe80{28 * '0'} 40 {none} 00 {none} 00000100 00000002 00000000 00000001     br0\n"
        f"{none} 00 {none} 00 fe80{27 * '0'}1 00000400 00000002 00000000 00000003     br0\n"
        f"{none} 00 {none} 00 {none} ffffffff 00000001 00000000 00200200       lo\n",
    )
    write(root, "sys/class/net/eth0/flags", "0x1002\n")
    write(root, "proc/net/fib_trie", FIB_TRIE)
