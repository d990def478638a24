"""Install the agent into the guest it runs in: its one file, a launcher, a service."""

import sys

from innkeeper.agent.inits import KINDS, home_of_services
from innkeeper.agent.inits.agent_files import BUNDLE, LAUNCHER, put, take_away
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import PluginError

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


def install(places: Places) -> str:
    """Copy this program into place, enable and start it; returns what was done, for a person.

    Doing it again replaces the files and restarts the agent; an update under way goes on.
    """
    if not sys.argv[0].endswith(".pyz"):
        raise PluginError("Only the one-file agent (innkeeper-agent.pyz) can install itself.")
    with open(sys.argv[0], "rb") as file:
        bundle = file.read()
    put(places, BUNDLE, bundle, 0o755)
    put(places, LAUNCHER, LAUNCHER_TEXT.encode(), 0o755)
    for init in home_of_services(places):
        done = init.install()
        if done:
            return done
    return f"Installed. No init that is known was found: arrange that /{LAUNCHER} run starts at boot."


def uninstall(places: Places) -> str:
    """Take the program and its service away; what it remembers, and what was configured, stays."""
    were = [kind.name for kind in KINDS if kind(places).remove()]
    take_away(places, LAUNCHER, BUNDLE)
    by = f" {' and '.join(were)} no longer starts it." if were else " No init started it."
    return "Uninstalled." + by
