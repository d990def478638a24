"""Install the agent into the guest it runs in: its one file, a launcher, a unit."""

import os
import sys
from typing import List

from innkeeper.agent.command import ask
from innkeeper.agent.places import Places, write_durably
from innkeeper.agent.plugin import PluginError

BUNDLE = "usr/local/lib/innkeeper/innkeeper-agent.pyz"
LAUNCHER = "usr/local/bin/innkeeper-agent"
UNIT = "etc/systemd/system/innkeeper-agent.service"

LAUNCHER_TEXT = """\
#!/bin/sh
# Start Innkeeper's task agent with whatever Python 3 this guest has.
bundle=${INNKEEPER_AGENT_BUNDLE:-/usr/local/lib/innkeeper/innkeeper-agent.pyz}
for python in python3 /usr/libexec/platform-python /usr/bin/python3; do
    if command -v "$python" >/dev/null 2>&1; then
        exec "$python" -I -S "$bundle" "$@"
    fi
done
echo "innkeeper-agent: there is no Python 3 in this guest" >&2
exit 127
"""

# Early, and bound to nothing: the host waits for the agent before it judges the boot. Not bound to
# the port's device unit either, for udev tags only qemu-guest-agent's port for systemd.
UNIT_TEXT = """\
[Unit]
Description=Innkeeper task agent
DefaultDependencies=no
After=systemd-udev-trigger.service systemd-remount-fs.service local-fs.target
Wants=local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
ExecStart=/usr/local/bin/innkeeper-agent run
Restart=always
RestartSec=1
OOMScoreAdjust=-500
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def install(places: Places) -> str:
    """Copy this program into place, enable and start it; returns what was done, for a person.

    Doing it again replaces the files and restarts the agent; an update under way goes on.
    """
    if not sys.argv[0].endswith(".pyz"):
        raise PluginError("Only the one-file agent (innkeeper-agent.pyz) can install itself.")
    with open(sys.argv[0], "rb") as file:
        bundle = file.read()
    _write(places, BUNDLE, bundle, 0o755)
    _write(places, LAUNCHER, LAUNCHER_TEXT.encode(), 0o755)
    if not os.path.isdir(places.under("etc/systemd/system")):
        return f"Installed. There is no systemd here: arrange that /{LAUNCHER} run starts at boot."
    _write(places, UNIT, UNIT_TEXT.encode(), 0o644)
    return _enable(places)


def _write(places: Places, path: str, data: bytes, mode: int) -> None:
    whole = places.under(path)
    os.makedirs(os.path.dirname(whole), mode=0o755, exist_ok=True)
    write_durably(whole, data)
    os.chmod(whole, mode)


def _enable(places: Places) -> str:
    if not places.has_systemd:
        wants = places.under("etc/systemd/system/multi-user.target.wants/innkeeper-agent.service")
        os.makedirs(os.path.dirname(wants), exist_ok=True)
        if not os.path.lexists(wants):
            os.symlink("/" + UNIT, wants)
        return "Installed; it starts with the next boot."
    commands: List[List[str]] = [
        ["systemctl", "daemon-reload"],
        ["systemctl", "enable", "innkeeper-agent.service"],
        ["systemctl", "restart", "--no-block", "innkeeper-agent.service"],
    ]
    for argv in commands:
        answer = ask(argv)
        if answer.code != 0:
            raise PluginError(f"{' '.join(argv)} failed: {answer.output.strip()[:300]}")
    return "Installed and started."
