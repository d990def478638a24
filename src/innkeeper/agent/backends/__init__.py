"""Update the guest by its own package manager; each module knows one."""

from typing import Dict, Type

from innkeeper.agent.backends.apk import Apk
from innkeeper.agent.backends.apt import Apt
from innkeeper.agent.backends.backend import Backend
from innkeeper.agent.backends.dnf import Dnf
from innkeeper.agent.backends.pacman import Pacman
from innkeeper.agent.backends.scripts import Scripts
from innkeeper.agent.backends.yum import Yum
from innkeeper.agent.backends.zypper import Zypper

#: In the order in which they are looked for; scripts are always there.
BACKENDS: Dict[str, Type[Backend]] = {
    "apt": Apt,
    "dnf": Dnf,
    "yum": Yum,
    "zypper": Zypper,
    "pacman": Pacman,
    "apk": Apk,
    "scripts": Scripts,
}
