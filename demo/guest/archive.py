"""Find the distribution's package archive, as this host's apt is set up to reach it."""

from __future__ import annotations

import dataclasses
import platform
import subprocess
from collections.abc import Iterable

#: Where a host tells neither Debian's nor Ubuntu's archive, or is neither.
_DEFAULT_SUITE = "bookworm"
_ORIGINS = ("Debian", "Ubuntu")
#: qemu-guest-agent and busybox lie in Ubuntu's second component.
_COMPONENTS = ("main", "universe")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A suite, and where it comes from."""

    suite: str
    #: apt's own lines (``deb URI SUITE COMPONENT``); none lets mmdebstrap choose by the suite.
    sources: tuple[str, ...]


def host_archive() -> Archive:
    """Return the archive that this host is installed from: its suite, its updates, its mirror."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
         "Created-By: Packages"],
        check=False, capture_output=True, text=True,
    ).stdout  # fmt: skip
    sources = tuple(select_sources(listed.splitlines(), suite))
    if not suite or not sources:
        return Archive(suite=_DEFAULT_SUITE, sources=())
    return Archive(suite=suite, sources=sources)


def select_sources(lines: Iterable[str], suite: str) -> Iterable[str]:
    """Pick the distribution's own out of all that apt is told of; others may reuse its suite's name."""
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    for line in dict.fromkeys(lines):
        uri, release, component, *origin = line.split()
        known = not origin or origin[0] in _ORIGINS
        if known and release in wanted and component in _COMPONENTS:
            yield f"deb {uri} {release} {component}"
