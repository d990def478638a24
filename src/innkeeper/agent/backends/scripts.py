"""Update a guest by the executables of a directory, for all that has no package manager."""

import os
from typing import List

from innkeeper.agent.backends.backend import Backend
from innkeeper.agent.backends.cause import cause
from innkeeper.agent.command import Answer
from innkeeper.agent.places import Places
from innkeeper.agent.report import Failure
from innkeeper.agent.run import Request
from innkeeper.agent.status import Status

#: A script that ends so wants a reboot.
_REBOOT_NEEDED = 102
_MAX_VARIABLE_CHARS = 16 * 1024


class Scripts(Backend):
    """Runs ``update.d``, sorted by name; the booking is in the environment."""

    _reboot_asked = False

    @classmethod
    def is_present(cls, places: Places) -> bool:
        """Always: scripts can be put in at any time."""
        return True

    def update(self, request: Request, packages: List[str]) -> None:
        """Run one script after the other; the first that fails is the last."""
        self._report.state(Status.SEARCHING, "Looking for scripts")
        scripts = executables(self._places.scripts)
        if not scripts:
            raise Failure(
                "Not looked for updates: this guest has no package manager that its agent knows "
                f"(apt, dnf, yum, zypper, pacman, apk), and no script in {self._places.scripts}."
            )
        self.has_acted = True
        for number, script in enumerate(scripts):
            name = os.path.basename(script)
            self._report.state(Status.APPLYING, f"Running {name}", 99 * number // len(scripts))
            answer = self._run_script(script, request)
            self._reboot_asked = self._reboot_asked or answer.code == _REBOOT_NEEDED
            if answer.code not in (0, _REBOOT_NEEDED):
                raise Failure(f"{name} failed (exit code {answer.code}): {cause(answer.output)}")

    def needs_reboot(self) -> bool:
        """Whether a script asked for one."""
        return self._reboot_asked or super().needs_reboot()

    def _run_script(self, script: str, request: Request) -> Answer:
        booking = {
            "INNKEEPER_LABEL": request.label,
            "INNKEEPER_IDENTIFIER": request.identifier,
            "INNKEEPER_CONTEXT_FILE": self._report.context_path,
            # One variable can be no longer; the file has it all.
            "INNKEEPER_CONTEXT": _as_variable(request.context),
        }
        return self._report.conversation(may_stop=True).run([script], extra=booking)


def _as_variable(context: bytes) -> str:
    text = context.decode("utf-8", "replace").replace("\0", "")
    return text if len(text) <= _MAX_VARIABLE_CHARS else ""


def executables(directory: str) -> List[str]:
    """Return a directory's executables, sorted by name."""
    if not os.path.isdir(directory):
        return []
    paths = (os.path.join(directory, name) for name in sorted(os.listdir(directory)))
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK)]
