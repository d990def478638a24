"""The tiny guest with a real apt and dpkg, one package, and a repository that offers a newer version of it.

Nobody has signed the repository, so apt refuses it until the guest's administrator trusts it.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.guests import cpio, packages, tiny
from tests.guests.system import run
from tests.guests.tiny import TinyGuest, guest_of

_PACKAGES = (
    "apt", "dpkg", "libapt-pkg6.0", "libstdc++6", "libgcc-s1", "libgcrypt20", "libgpg-error0",
    "libsystemd0", "libudev1", "libcap2", "liblz4-1", "liblzma5", "libzstd1", "libbz2-1.0", "libxxhash0",
    "libseccomp2", "libmd0", "tar", "libacl1",
)  # fmt: skip
_PROGRAMS = (
    "usr/bin/apt-get", "usr/bin/apt-mark", "usr/bin/dpkg", "usr/bin/dpkg-deb", "usr/bin/dpkg-query",
    "usr/bin/dpkg-split", "usr/lib/apt/methods/copy", "usr/lib/apt/methods/store", "usr/lib/apt/methods/gpgv",
    "bin/tar",
)  # fmt: skip
_DIRECTORIES = (
    "etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial",
    "var/cache/apt/archives/partial", "var/log/apt", "var/lib/dpkg/info", "var/lib/dpkg/updates",
    "srv/repo", "usr/share",
)  # fmt: skip
#: What it needs to be unpacked in.
MEMORY_MIB = 288
#: What the guest's administrator writes to trust the repository.
TRUSTED = "deb [trusted=yes] copy:/srv/repo ./"
_UNSIGNED = "deb copy:/srv/repo ./"
_STATUS = """Package: hello
Status: install ok installed
Maintainer: Ana <ana@example.org>
Architecture: amd64
Version: 1.0
Description: a test
"""
_PLUGIN = "[plugin]\nCLSID = innkeeper.apt\nIsEnabled = 1\n"


def build(cache: Path, agent: bytes) -> TinyGuest:
    """Return the guest, built under ``cache`` where it is not there yet."""
    plain = tiny.build(cache, agent)
    layer = _layer(cache)
    initrd = plain.initrd.with_name(f"{plain.initrd.name}-{layer.name}")
    if not initrd.exists():
        making = initrd.with_suffix(".making")
        making.write_bytes(plain.initrd.read_bytes() + layer.read_bytes())
        making.rename(initrd)
    return guest_of(cache, plain.kernel, initrd)


def _layer(cache: Path) -> Path:
    """An archive with what the plain guest lacks."""
    key = packages.fingerprint(_PACKAGES) + Path(__file__).read_text()
    layer = cache / f"apt-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if not layer.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            root = Path(scratch) / "root"
            packages.unpack(_PACKAGES, Path(scratch) / "unpacked")
            _furnish(root, Path(scratch) / "unpacked")
            made = Path(scratch) / "layer"
            with made.open("wb") as archive:
                cpio.write_tree(root, archive)
            made.rename(layer)
    return layer


def _furnish(root: Path, unpacked: Path) -> None:
    for directory in _DIRECTORIES:
        (root / directory).mkdir(parents=True)
    for program in _PROGRAMS:
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(unpacked / program, root / program)
    for name in ("dpkg", "dpkg-deb"):  # in the place of busybox's own, which come first in the search path
        (root / "bin" / name).symlink_to(f"/usr/bin/{name}")
    libraries = root / "lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    for directory in ("lib", "usr/lib"):
        for library in sorted((unpacked / directory / "x86_64-linux-gnu").glob("*.so*")):
            shutil.copy(library, libraries / library.name)
    shutil.copytree(unpacked / "usr/share/dpkg", root / "usr/share/dpkg")
    # dpkg looks for it, and this guest's loader needs no cache.
    _write(root / "sbin/ldconfig", "#!/bin/sh\n", 0o755)
    _write(root / "etc/apt/sources.list", f"{_UNSIGNED}\n")
    _write(root / "etc/apt/apt.conf.d/50test", 'APT::Architecture "amd64";\nAPT::Sandbox::User "root";\n')
    _write(root / "etc/innkeeper/agent/plugins.d/50-scripts.conf", _PLUGIN)
    _write(root / "var/lib/dpkg/status", _STATUS)
    for name in ("hello.list", "hello.md5sums"):
        _write(root / "var/lib/dpkg/info" / name, "")
    _publish(root / "srv/repo")


def _publish(repository: Path) -> None:
    """Build the newer version, and the repository's lists."""
    tree = repository / "hello"
    (tree / "DEBIAN").mkdir(parents=True)
    control = _STATUS.replace("Status: install ok installed\n", "").replace("1.0", "2.0")
    (tree / "DEBIAN/control").write_text(control)
    _write(tree / "usr/share/hello", "2.0\n")
    package = repository / "hello_2.0_amd64.deb"
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", str(tree), str(package))
    shutil.rmtree(tree)
    for what in ("packages", "release"):
        index = subprocess.run(
            ["apt-ftparchive", what, "."], check=True, cwd=repository, stdout=subprocess.PIPE
        ).stdout
        (repository / what.title()).write_bytes(index)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
