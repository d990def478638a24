"""Which host a URI names, and where its files lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.hypervisor.libvirt.uris import HostUri, embedded_root, embedded_uri


@pytest.mark.parametrize(
    ("text", "is_local", "image"),
    [
        ("qemu:///system", True, "/var/lib/libvirt/qemu/save/web-1.save"),
        ("qemu:///session", True, "/home/ana/.config/libvirt/qemu/save/web-1.save"),
        ("qemu+unix:///session?socket=/run/x", True, "/home/ana/.config/libvirt/qemu/save/web-1.save"),
        ("qemu:///embed?root=/var/lib/inn", True, "/var/lib/inn/lib/qemu/save/web-1.save"),
        ("qemu+ssh://ana@host/system", False, "/var/lib/libvirt/qemu/save/web-1.save"),
        ("qemu+ssh://ana@host/session", False, None),
        ("qemu+tls://host/system", False, "/var/lib/libvirt/qemu/save/web-1.save"),
        ("test:///default", False, None),
    ],
)
def test_a_uri_says_where_saved_states_lie(
    monkeypatch: pytest.MonkeyPatch, text: str, is_local: bool, image: str | None
) -> None:
    """And whether they are this computer's files."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/home/ana/.config")
    uri = HostUri.parse(text)
    assert uri.is_local is is_local
    assert uri.saved_image("web-1") == (None if image is None else Path(image))


@pytest.mark.parametrize("text", ["", "xen:///system", "/var/lib/inn", "http://host"])
def test_another_hypervisor_is_refused(text: str) -> None:
    """With an example of what would do."""
    with pytest.raises(InvalidArgument) as caught:
        HostUri.parse(text)
    assert "qemu:///system" in caught.value.advice


def test_a_root_whose_sockets_would_not_fit_is_refused() -> None:
    """Before libvirt fails at it in its own words, at the first start."""
    assert embedded_uri(embedded_root(Path("/var/lib/innkeeper"))) == (
        "qemu:///embed?root=/var/lib/innkeeper/hypervisor"
    )
    with pytest.raises(InvalidArgument):
        embedded_uri(embedded_root(Path("/var/lib") / ("x" * 80)))
