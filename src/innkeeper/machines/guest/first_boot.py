"""Write what a cloud image is told at its first boot (cloud-init's NoCloud)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from innkeeper.errors import InvalidArgument
from innkeeper.machines.guest.prepare import cloud_init_config
from innkeeper.machines.new_machine import FirstBoot

_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}\Z")
_HOSTNAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_SSH_KEY: Final = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\n\r\0]*)?\Z")


def seed_files(machine: str, told: FirstBoot) -> Mapping[str, str]:
    """The seed's files, by name."""
    return {"user-data": _user_data(told), "meta-data": _meta_data(machine, told)}


def _user_data(told: FirstBoot) -> str:
    config: dict[str, object] = dict(cloud_init_config()) if told.agent else {}
    if told.hostname:
        config["hostname"] = told.hostname
    if told.user:
        config["users"] = [
            {
                "name": told.user,
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": list(told.ssh_keys),
            }
        ]
    elif told.ssh_keys:
        config["ssh_authorized_keys"] = list(told.ssh_keys)
    # JSON is YAML, and needs no library to write.
    return "#cloud-config\n" + json.dumps(config, indent=2) + "\n"


def _meta_data(machine: str, told: FirstBoot) -> str:
    """Metadata by which cloud-init sees that a machine is new."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "-", machine).strip("-")[:63] or "machine"
    return (
        json.dumps({"instance-id": f"innkeeper-{machine}", "local-hostname": told.hostname or plain}) + "\n"
    )


def refuse_first_boot(told: FirstBoot) -> None:
    """Raises ``InvalidArgument`` for a user, key or host name that no guest can have."""
    if told.user and _USER.match(told.user) is None:
        raise InvalidArgument(
            f"“{told.user[:40]}” is not a name of a user.", advice="Such as ana or web_admin."
        )
    if told.hostname and _HOSTNAME.match(told.hostname) is None:
        raise InvalidArgument(
            f"“{told.hostname[:70]}” is not a host name.", advice="Letters, digits and hyphens."
        )
    for key in told.ssh_keys:
        if _SSH_KEY.match(key) is None:
            raise InvalidArgument(
                f"“{key[:30]}…” is not a public SSH key.",
                advice="Give a line of a .pub file, such as ~/.ssh/id_ed25519.pub.",
            )
