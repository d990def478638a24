"""Which host a URI names, and where its files lie."""

from __future__ import annotations

import tempfile
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


def test_a_root_that_leaves_room_for_sockets_is_used_as_it_is() -> None:
    """The system's service needs no detour."""
    assert (
        embedded_uri(embedded_root(Path("/var/lib/innkeeper"))) == "qemu:///embed?root=/var/lib/innkeeper/hv"
    )


def test_a_long_root_is_reached_by_a_short_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state directory deep in somebody's home still has room for the sockets of its machines."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        root = embedded_root(tmp_path / ("x" * 80))
        link = Path(embedded_uri(root).removeprefix("qemu:///embed?root="))
        assert len(str(link)) <= 26
        assert link.readlink() == root
        assert embedded_uri(root).endswith(str(link))


def test_a_root_that_no_link_can_shorten_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how long the state directory may be."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(InvalidArgument) as caught:
        embedded_uri(embedded_root(tmp_path / ("x" * 80)))
    assert "at most 23 characters" in caught.value.advice


def test_a_runtime_directory_that_others_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever can change the link can lead the service to other disks."""
    (tmp_path / "inn").mkdir()
    (tmp_path / "inn").chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(InvalidArgument, match="not this user's alone"):
        embedded_uri(embedded_root(tmp_path / ("x" * 80)))
