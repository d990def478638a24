"""Keep the bitmaps of incremental backups right while an image is merged into the one below it.

QEMU marks the bitmaps of an image as broken for as long as it has the image open for writing: a kill in a
merge would leave no increment possible. So they are copied into the image that is merged first, where they
are safe: it is only read from then on. What is merged counts as changed in every bitmap of the base, so each
of them tells at least of what has changed.
"""

from __future__ import annotations

from innkeeper.disks.dirty_bitmaps import COPY
from innkeeper.hypervisor.libvirt.chain_nodes import BASE, TOP, Bitmap, OpenChain


def keep_bitmaps(chain: OpenChain) -> None:
    """Copy the base's bitmaps into the image that is merged, before the base is opened for writing."""
    whole = [each for each in chain.bitmaps(BASE).values() if not each.is_broken]
    if not whole:
        return
    chain.reopen(TOP, writable=True)
    there = chain.bitmaps(TOP)
    for bitmap in whole:
        if COPY + bitmap.name in there:
            # From a merge that failed: the base has told of what that one wrote, too.
            _remove(chain, TOP, COPY + bitmap.name)
        _add(chain, TOP, COPY + bitmap.name, bitmap, recording=False)
        _merge(chain, TOP, COPY + bitmap.name, BASE, bitmap.name)
    chain.reopen(TOP, writable=False)


def mend_bitmaps(chain: OpenChain) -> None:
    """Bring back those that a killed merge broke, and begin those that were begun above the base.

    The base is open for writing, and nothing is merged yet.
    """
    below, above = chain.bitmaps(BASE), chain.bitmaps(TOP)
    for name, bitmap in above.items():
        own = name.removeprefix(COPY)
        known = below.get(own)
        if own == name and known is None:
            # Begun while the undo disk was on: whatever has changed since then is in what is merged.
            _add(chain, BASE, own, bitmap, recording=True)
        elif own != name and not bitmap.is_broken and (known is None or known.is_broken):
            # A new one is stored when the base is closed: a second kill leaves none at all.
            if known is not None:
                _remove(chain, BASE, own)
            _add(chain, BASE, own, bitmap, recording=True)
            _merge(chain, BASE, own, TOP, name)


def _add(chain: OpenChain, node: str, name: str, like: Bitmap, *, recording: bool) -> None:
    chain.daemon.execute(
        "block-dirty-bitmap-add",
        {
            "node": node,
            "name": name,
            "granularity": like.granularity,
            "persistent": True,
            "disabled": not recording,
        },
    )


def _remove(chain: OpenChain, node: str, name: str) -> None:
    chain.daemon.execute("block-dirty-bitmap-remove", {"node": node, "name": name})


def _merge(chain: OpenChain, node: str, name: str, other: str, other_name: str) -> None:
    chain.daemon.execute(
        "block-dirty-bitmap-merge",
        {"node": node, "target": name, "bitmaps": [{"node": other, "name": other_name}]},
    )
