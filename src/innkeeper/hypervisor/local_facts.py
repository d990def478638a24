"""Facts of this computer from /proc, /sys and /etc, as Linux keeps them."""

from __future__ import annotations

import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from innkeeper.machines.host_facts import HostFacts, UsbDevice
from innkeeper.wire.virtual_pc import UsbDeviceClass

_USB_NAME = re.compile(r"\d+-[\d.]+\Z")


def local_facts(name: str, root: Path = Path("/")) -> HostFacts:
    """Facts of the computer whose file system lies at ``root``."""
    memory = _pairs(root / "proc/meminfo")
    processors = _processors(root / "proc/cpuinfo")
    first = processors[0] if processors else {}
    release = _release(root / "etc/os-release")
    return HostFacts(
        name=name,
        memory_mib=_kib(memory.get("MemTotal", "")) // 1024,
        memory_available_mib=_kib(memory.get("MemAvailable", "")) // 1024,
        logical_processors=len(processors) or os.cpu_count() or 1,
        physical_processors=len({each.get("physical id", "0") for each in processors}) or 1,
        processor_mhz=_mhz(first),
        processor_manufacturer=first.get("vendor_id", ""),
        processor_version=first.get("model name", ""),
        processor_flags=frozenset(first.get("flags", "").split()),
        operating_system=release.get("PRETTY_NAME", platform.system()),
        os_version=platform.release(),
        os_service_pack=release.get("VERSION", ""),
        network_adapters=tuple(_network_adapters(root / "sys/class/net")),
        network_addresses=tuple(_network_addresses(root / "proc/net")),
        dvd_drives=_devices(root / "dev", "sr*"),
        floppy_drives=_devices(root / "dev", "fd[0-9]*"),
        serial_ports=_serial_ports(root),
        parallel_ports=_devices(root / "dev", "parport*"),
    )


def local_processor_mhz(root: Path = Path("/")) -> int:
    """The present speed of the computer's first processor; 0 where Linux does not tell it."""
    processors = _processors(root / "proc/cpuinfo")
    return _mhz(processors[0]) if processors else 0


def local_usb_devices(root: Path = Path("/")) -> list[UsbDevice]:
    """The computer's USB devices, without its root hubs, by bus and number."""
    base = root / "sys/bus/usb/devices"
    entries = sorted(base.iterdir()) if base.is_dir() else []
    found = [_usb_device(entry) for entry in entries if _USB_NAME.match(entry.name)]
    return sorted((each for each in found if each is not None), key=lambda each: (each.bus, each.device))


def _mhz(processor: Mapping[str, str]) -> int:
    return round(float(processor.get("cpu MHz", "0") or 0))


def _usb_device(entry: Path) -> UsbDevice | None:
    number, bus = _word(entry / "devnum"), _word(entry / "busnum")
    if not number.isdigit() or not bus.isdigit():
        return None
    return UsbDevice(
        bus=int(bus),
        device=int(number),
        hub=int(bus),
        port=int(_word(entry / "devpath").rpartition(".")[2] or "0"),
        device_class=_usb_class(_word(entry / "bDeviceClass")),
        vendor_id=int(_word(entry / "idVendor") or "0", 16),
        product_id=int(_word(entry / "idProduct") or "0", 16),
        name=_word(entry / "product"),
        manufacturer=_word(entry / "manufacturer"),
    )


def _usb_class(word: str) -> UsbDeviceClass:
    try:
        return UsbDeviceClass(int(word or "0", 16))
    except ValueError:
        return UsbDeviceClass.VENDOR


def _word(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _pairs(path: Path) -> Mapping[str, str]:
    lines = (line.partition(":") for line in _word(path).splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _processors(path: Path) -> list[Mapping[str, str]]:
    blocks = (block for block in _word(path).split("\n\n") if block.strip())
    parsed = (
        {n.strip(): v.strip() for n, _, v in (line.partition(":") for line in b.splitlines())} for b in blocks
    )
    return [each for each in parsed if "processor" in each]


def _release(path: Path) -> Mapping[str, str]:
    lines = (line.partition("=") for line in _word(path).splitlines() if "=" in line)
    return {name: value.strip("\"'") for name, _, value in lines}


def _kib(text: str) -> int:
    return int(text.split()[0]) if text[:1].isdigit() else 0


def _network_adapters(directory: Path) -> Iterator[str]:
    """The physical ones: those that stand for a device."""
    for entry in sorted(directory.iterdir()) if directory.is_dir() else []:
        if (entry / "device").exists():
            yield entry.name


def _network_addresses(directory: Path) -> Iterator[str]:
    """IPv4 from the routes that the kernel keeps for its own addresses, then IPv6; without the loopback."""
    seen: set[str] = set()
    address = ""
    for line in _word(directory / "fib_trie").splitlines():
        words = line.split()
        if line.strip().startswith("|--"):
            address = words[-1]
        elif "host LOCAL" in line and not address.startswith("127.") and address not in seen:
            seen.add(address)
            yield address
    for line in _word(directory / "if_inet6").splitlines():
        words = line.split()
        if len(words) == 6 and words[5] != "lo":
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[0]))


def _devices(directory: Path, pattern: str) -> tuple[str, ...]:
    return tuple(f"/dev/{path.name}" for path in sorted(directory.glob(pattern)))


def _serial_ports(root: Path) -> tuple[str, ...]:
    """Those with something behind them: Linux makes a file for many that are not there."""
    base = root / "sys/class/tty"
    entries = sorted(base.iterdir()) if base.is_dir() else []
    real = [entry.name for entry in entries if (entry / "device/driver").exists() and _is_there(entry)]
    return tuple(f"/dev/{name}" for name in real if name.startswith(("ttyS", "ttyUSB", "ttyACM", "ttyAMA")))


def _is_there(entry: Path) -> bool:
    """A port of type 0 is one that the kernel looked for and did not find."""
    return _word(entry / "type") != "0"
