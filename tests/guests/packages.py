"""Fetch and unpack distribution packages without root."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_TIMEOUT_S = 300


def dependencies(package: str) -> list[str]:
    """What ``package`` needs directly, as the local package lists say."""
    answer = _run(["apt-cache", "depends", "--important", package])
    return re.findall(r"^ +(?:Pre)?Depends: ([^<\s]+)$", answer, re.MULTILINE)


def fingerprint(packages: Sequence[str]) -> str:
    """A digest that changes when the distribution offers another version of one of them."""
    answer = _run(["apt-cache", "policy", *packages])
    candidates = re.findall(r"^(\S+):$|^ +Candidate: (\S+)$", answer, re.MULTILINE)
    return hashlib.sha256(repr(candidates).encode()).hexdigest()


def unpack(packages: Sequence[str], root: Path) -> None:
    """Download ``packages`` and unpack them into ``root``; nothing of theirs is run."""
    downloads = root.with_suffix(".debs")
    downloads.mkdir(parents=True)
    _run(["apt-get", "download", "-q", *packages], cwd=downloads)
    for archive in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(archive), str(root)])


def _run(command: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True, text=True, timeout=_TIMEOUT_S, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
