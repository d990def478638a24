"""Files that other computers may have too are known by what is mounted, or by the pool that they lie in."""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from innkeeper.hypervisor.libvirt.images import PoolElement, network_storage_of
from innkeeper.hypervisor.network_storage import network_storage, storage_in

_MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:44 / /srv/vm rw,relatime shared:20 - nfs4 filer:/vm rw,vers=4.2
41 40 8:17 / /srv/vm/local rw - xfs /dev/sdb1 rw
42 22 0:50 / /srv/with\040space rw - fuse.glusterfs gluster:/images rw
43 22 0:51 / /srv/twice rw - nfs filer:/one rw
44 43 8:33 / /srv/twice rw - ext4 /dev/sdc1 rw
"""
_POOL = """<pool type='netfs'><name>vm</name><source><host name='filer'/><dir path='/vm'/>
  <format type='nfs'/></source><target><path>/srv/vm</path></target></pool>"""


def test_the_nearest_mount_tells_what_a_file_lies_on() -> None:
    """The last of those at one place; names with spaces are read as they are."""
    assert storage_in(_MOUNTS, "/srv/vm/web-1.qcow2") == "nfs4 filer:/vm"
    assert storage_in(_MOUNTS, "/srv/with space/web-1.qcow2") == "fuse.glusterfs gluster:/images"
    for path in ("/var/web-1.qcow2", "/srv/vm/local/web-1", "/srv/vmx/web-1", "/srv/twice/web-1"):
        assert storage_in(_MOUNTS, path) == ""


def test_a_file_of_this_computers_own_disk_lies_on_none(tmp_path: Path) -> None:
    """By the kernel's own list; a file that is not there yet too."""
    assert network_storage(str(tmp_path / "disk")) == ""


def test_a_pool_of_another_computer_tells_what_it_is_mounted_from() -> None:
    """As libvirt there describes it."""
    pool = PoolElement(etree.fromstring(_POOL))
    assert network_storage_of(pool, "/srv/vm/web-1.qcow2") == "nfs filer:/vm"
    assert network_storage_of(pool, "/srv/vmx/web-1.qcow2") == ""
