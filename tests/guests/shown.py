"""Build a guest with a screen of its own: a kernel with the virtio graphics driver, and a text console.

The tiny guest's kernel is made for clouds and has no graphics.
"""

from __future__ import annotations

from pathlib import Path

from tests.guests import system
from tests.guests.system import Recipe
from tests.guests.tiny import TinyGuest, guest_of

_KERNEL_PACKAGE = "linux-image-amd64"
#: Each behind those that it needs.
_MODULES = (
    "drivers/virtio/virtio_ring", "drivers/virtio/virtio", "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci_legacy_dev", "drivers/virtio/virtio_pci", "drivers/virtio/virtio_dma_buf",
    "drivers/gpu/drm/drm", "drivers/gpu/drm/drm_kms_helper", "drivers/gpu/drm/drm_shmem_helper",
    "drivers/gpu/drm/virtio/virtio-gpu",
)  # fmt: skip
_INIT = """#!/bin/sh
mount -t proc proc /proc
cd "/lib/modules/$(uname -r)/kernel"
for module in {modules}; do insmod "$module.ko"; done
echo guest is up
while :; do sleep 3600; done
"""


def build(cache: Path) -> TinyGuest:
    """Return the guest, built under ``cache`` where it is not there yet."""
    packages = [*system.kernel_packages(_KERNEL_PACKAGE), "busybox-static"]
    recipe = Recipe(name="shown", packages=packages, sources=[Path(__file__)], furnish=_furnish)
    built = system.build(cache, recipe)
    return guest_of(cache, built / "vmlinuz", built / "initrd")


def _furnish(root: Path, unpacked: Path) -> None:
    for name in ("dev", "proc"):
        (root / name).mkdir()
    system.add_busybox(root, unpacked)
    system.add_modules(root, unpacked, _MODULES)
    (root / "init").write_text(_INIT.format(modules=" ".join(_MODULES)))
    (root / "init").chmod(0o755)
