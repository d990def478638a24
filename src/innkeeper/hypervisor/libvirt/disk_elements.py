"""Read and change the disks of libvirt's domain XML: where their content is, and what lies below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

from lxml import etree

from innkeeper.disks.export_files import MARK
from innkeeper.hypervisor.domain.fields import Attribute, Element, Present
from innkeeper.machines.machine import Disk, DiskKind

_KINDS: Mapping[str, DiskKind] = {
    "file": DiskKind.FILE,
    "block": DiskKind.BLOCK,
    "network": DiskKind.NETWORK,
    "volume": DiskKind.VOLUME,
}
#: The ports that libvirt writes into the definition of a machine that runs.
_DEFAULT_PORTS: Mapping[str, str] = {
    "nbd": "10809",
    "iscsi": "3260",
    "http": "80",
    "https": "443",
    "ftp": "21",
    "ftps": "990",
    "ssh": "22",
}

#: The format, in this house, of a VHD that a machine reaches by its export: QEMU itself sees plain bytes.
EXPORTED = "vhd"


class ImageElement(Element):
    """An element with a ``<source>``: a disk, or an image below one."""

    type = Attribute(".", "type", "file")
    source_file = Attribute("source", "file")
    block = Attribute("source", "dev")
    protocol = Attribute("source", "protocol")
    network_name = Attribute("source", "name")
    pool = Attribute("source", "pool")
    volume = Attribute("source", "volume")

    @property
    def kind(self) -> DiskKind:
        """The kind of storage; a VHD that is reached by its export is a file."""
        return DiskKind.FILE if self.is_exported else _KINDS.get(self.type, DiskKind.OTHER)

    @property
    def file(self) -> str:
        """The image file that takes the writes, by itself or by its export; empty where none does."""
        return self.source_file or exported_file(self.protocol, self.network_name)

    @property
    def is_exported(self) -> bool:
        """Whether the image is a VHD that the machine reaches by its export."""
        return bool(exported_file(self.protocol, self.network_name))

    def source(self) -> str:
        """File, device, ``pool/volume`` or address of the content; empty where there is no medium."""
        volume = f"{self.pool}/{self.volume}" if self.volume else ""
        return self.file or self.block or self._address() or volume

    def below(self) -> BackingElement | None:
        """The image right below, as far as the definition says it; ``None`` where nothing is said."""
        node = self.node.find("backingStore")
        found = None if node is None else BackingElement(node)
        return found if found is not None and found.source() else None

    def _address(self) -> str:
        if not self.protocol:
            return ""
        hosts = [*self.node.iterfind("source/host")]
        if hosts and hosts[0].get("transport") == "unix":
            socket = urlencode({"socket": hosts[0].get("socket", "")}, safe="/")
            return f"{self.protocol}+unix:///{self.network_name}?{socket}"
        default = _DEFAULT_PORTS.get(self.protocol, "")
        places = ",".join(_place(host, default) for host in hosts)
        return f"{self.protocol}://{places}/{self.network_name}" if places else self._name_alone()

    def _name_alone(self) -> str:
        return f"{self.protocol}:{self.network_name}"


class DiskElement(ImageElement):
    """``<disk>``: one drive."""

    device = Attribute(".", "device", "disk")
    target = Attribute("target", "dev")
    driver = Attribute("driver", "type", "raw")
    error_policy = Attribute("driver", "error_policy")
    read_error_policy = Attribute("driver", "rerror_policy")
    read_only = Present("readonly")
    shareable = Present("shareable")
    transient = Present("transient")
    encrypted = Present("source/encryption")
    encrypted_of_old = Present("encryption")
    sliced = Present("source/slices")
    mirror_job = Attribute("mirror", "job")
    mirror_ready = Attribute("mirror", "ready")

    @property
    def format(self) -> str:
        """The format of the image."""
        return EXPORTED if self.is_exported else self.driver

    def images_below(self) -> Iterator[BackingElement]:
        """Each image below, top first, as far as libvirt knows them."""
        for node in self.node.iterfind(".//backingStore"):
            level = BackingElement(node)
            if level.source():
                yield level

    def backing(self) -> Iterator[tuple[str, str]]:
        """Each image file below, top first, and its format, as far as libvirt knows them."""
        yield from ((level.file, level.format) for level in self.images_below() if level.file)

    def use_file(self, path: str, image_format: str) -> None:
        """Use another image file, whose chain libvirt finds out by itself."""
        self.type = "file"
        self.driver = image_format
        self._remove_source()
        etree.SubElement(self.node, "source").set("file", path)

    def use_export(self, path: str, socket: str) -> None:
        """Use a VHD by its export: QEMU would misread it, and could not save the machine."""
        self.type = "network"
        self.driver = "raw"
        # Where the export is killed the machine waits for it to be started again, and notices nothing.
        self.error_policy = self.read_error_policy = "stop"
        self._remove_source()
        source = etree.SubElement(self.node, "source", protocol="nbd", name=f"{MARK}{path}")
        etree.SubElement(source, "host", transport="unix", socket=socket)
        # Older libvirts pass over it.
        etree.SubElement(source, "reconnect", delay="30")

    def _remove_source(self) -> None:
        # An empty <backingStore/> says that nothing lies below: no merge could find its base.
        for stale in [*self.node.iterfind("source"), *self.node.iterfind("backingStore")]:
            self.node.remove(stale)

    def value(self) -> Disk:
        """The disk as a value of ``machines``."""
        source = self.source()
        return Disk(
            target=self.target,
            device=self.device,
            kind=self.kind if source else DiskKind.OTHER,
            path=source,
            format=self.format,
            read_only=self.read_only,
            shared=self.shareable,
            transient=self.transient,
            encrypted=self.encrypted or self.encrypted_of_old,
            sliced=self.sliced,
        )


class BackingElement(ImageElement):
    """``<backingStore>``: one image below another."""

    source_format = Attribute("format", "type", "raw")
    #: The number that the image has in a machine that runs; another one after each start.
    index = Attribute(".", "index")

    @property
    def format(self) -> str:
        """The image's format."""
        return EXPORTED if self.is_exported else self.source_format


def exported_file(protocol: str, name: str) -> str:
    """The VHD behind an export of Innkeeper's; empty for any other network disk."""
    return name.removeprefix(MARK) if protocol == "nbd" and name.startswith(f"{MARK}/") else ""


def _place(host: etree._Element, default_port: str) -> str:
    port = host.get("port", default_port)
    return f"{host.get('name', '')}:{port}" if port else str(host.get("name", ""))
