"""Hosts that libvirt manages: this computer, another, or an embedded one."""

from innkeeper.hypervisor.libvirt.host import libvirt_host
from innkeeper.hypervisor.libvirt.met_hosts import id_of as met_id
from innkeeper.hypervisor.libvirt.roots import prepare_root
from innkeeper.hypervisor.libvirt.uris import choose_uri, embedded_root, embedded_uri

__all__ = [
    "choose_uri",
    "embedded_root",
    "embedded_uri",
    "libvirt_host",
    "met_id",
    "prepare_root",
]
