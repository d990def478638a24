"""Compare the installed packages before and after an update."""

from typing import Dict, List

from innkeeper.agent.journal import PackageChange

#: Version by package.
Installed = Dict[str, str]


def parse_installed(text: str) -> Installed:
    """Read lines of ``name<TAB>version``; a package installed in several versions has them all."""
    versions: Dict[str, List[str]] = {}
    for line in text.splitlines():
        name, tab, version = line.strip().partition("\t")
        if tab and version:
            versions.setdefault(name, []).append(version)
    return {name: ", ".join(sorted(found)) for name, found in versions.items()}


def changes(before: Installed, after: Installed) -> List[PackageChange]:
    """Return what differs, by name."""
    names = sorted(set(before) | set(after))
    return [
        (name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name) != after.get(name)
    ]
