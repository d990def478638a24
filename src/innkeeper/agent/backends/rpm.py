"""What the package managers over rpm share."""

from typing import List

from innkeeper.agent.backends.cause import cause
from innkeeper.agent.backends.stepped import Stepped
from innkeeper.agent.command import ask
from innkeeper.agent.packages import Installed, parse_installed


class RpmBackend(Stepped):
    """A package manager whose packages are rpms."""

    def installed(self) -> Installed:
        """What rpm says is installed."""
        return parse_installed(ask(["rpm", "-qa", "--qf", "%{NAME}.%{ARCH}\t%{VERSION}-%{RELEASE}\n"]).output)

    def complaints(self) -> List[str]:
        """Return what rpm finds wrong with its database."""
        answer = ask(["rpm", "-qa"], timeout=120)
        return [] if answer.code == 0 else [f"rpm cannot read its database: {cause(answer.output)}"]
