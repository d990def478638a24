"""Build what QEMU boots without a boot loader: a distribution kernel, and an initramfs made of its packages.

No root is needed, and the same packages give the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.guests import cpio, packages

#: Fills the root of a system (the first path) from the unpacked packages (the second).
Furnish = Callable[[Path, Path], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a system is made of; it is built anew when something of it changes."""

    name: str
    packages: Sequence[str]
    #: The files of ours that say how it is made.
    sources: Sequence[Path]
    furnish: Furnish

    def key(self) -> str:
        """Tells this system from those of other packages or sources."""
        digest = hashlib.sha256(packages.fingerprint(self.packages).encode())
        for source in (Path(__file__), *self.sources):
            digest.update(source.read_bytes())
        return digest.hexdigest()[:16]


def build(cache: Path, recipe: Recipe) -> Path:
    """Return the directory with the system's ``vmlinuz`` and ``initrd``, made where it is missing."""
    cache.mkdir(parents=True, exist_ok=True)
    built = cache / f"{recipe.name}-{recipe.key()}"
    if built.exists():
        return built
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        result = _build(recipe, Path(scratch))
        # Two sessions may build at once: whoever comes second throws its own away.
        if not built.exists():
            result.rename(built)
    return built


def _build(recipe: Recipe, scratch: Path) -> Path:
    unpacked, root, result = scratch / "unpacked", scratch / "root", scratch / "result"
    packages.unpack(recipe.packages, unpacked)
    result.mkdir()
    [kernel] = (unpacked / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, result / "vmlinuz")
    root.mkdir()
    recipe.furnish(root, unpacked)
    with (result / "initrd").open("wb") as archive:
        cpio.write_tree(root, archive)
    return result


def kernel_packages(package: str) -> list[str]:
    """The packages of the kernel that a package stands for."""
    return [name for name in packages.dependencies(package) if name.startswith("linux-image-")]


def add_busybox(root: Path, unpacked: Path) -> None:
    """Put its commands into ``/bin``."""
    (root / "bin").mkdir(exist_ok=True)
    binary = unpacked / "bin/busybox"
    shutil.copy(binary, root / "bin/busybox")
    for applet in run(str(binary), "--list").split():
        if not (root / "bin" / applet).exists():
            (root / "bin" / applet).symlink_to("busybox")


def add_modules(root: Path, unpacked: Path, modules: Sequence[str]) -> None:
    """Put modules of the kernel, by their paths below its ``kernel``, where they belong."""
    [versions] = (unpacked / "lib/modules").iterdir()
    for module in modules:
        source = versions / "kernel" / f"{module}.ko"
        target = root / source.relative_to(unpacked)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def run(*command: str, environment: dict[str, str] | None = None) -> str:
    """Run a command to its good end; returns what it printed."""
    done = subprocess.run(
        command, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"} | (environment or {}),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout
