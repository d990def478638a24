"""The interface of task agent plug-ins: ``IRDVTaskPlugin`` and ``IRDVTaskPluginNotifySink``, one to one.

A plug-in may leave out what the documented interfaces do not know (``resume``, ``rebooted``, ``cancel``,
``poll``, ``prepare``, ``may_have_changed``, ``disturbed``). All calls come from the agent's one thread; a
plug-in calls its sink from there too.
"""

from typing import List, Optional

from innkeeper.agent.journal import PackageChange
from innkeeper.agent.preparation import Preparation
from innkeeper.agent.status import Status

S_OK = 0
E_FAIL = 0x80004005


class PluginError(Exception):
    """The plug-in refuses, with a sentence for a person."""


class NotifySink:
    """What a plug-in may tell the agent, and the agent the host."""

    def schedule_task(
        self,
        start_time: int,
        end_time: int,
        deadline: int,
        label: str,
        identifier: str,
        context: bytes,
    ) -> None:
        """Book an update: earliest start, latest start (0 for none) and deadline (0 for none).

        Times are seconds since 1970, UTC. Raises ``PluginError`` for a booking no host would take.
        """
        raise NotImplementedError

    def delete_schedule(self, identifier: str) -> None:
        """Take a booking back."""
        raise NotImplementedError

    def on_task_state_change(self, identifier: str, status: Status) -> None:
        """Report an update's new state; one that may not follow the old one is ignored."""
        raise NotImplementedError

    def on_terminated(self, hresult: int) -> None:
        """Ask to be shut down."""
        raise NotImplementedError

    # More than the documented interface

    def on_task_progress(self, identifier: str, percent: Optional[int], text: str) -> None:
        """Report an update's progress; call it before the state change that it explains."""
        raise NotImplementedError

    def on_task_output(self, identifier: str, text: str) -> None:
        """Pass on what the update printed."""
        raise NotImplementedError

    def on_task_packages(self, identifier: str, packages: List[PackageChange]) -> None:
        """Report what the update changed."""
        raise NotImplementedError

    def on_task_unchanged(self, identifier: str) -> None:
        """Report that an update which is about to fail has changed nothing in the guest."""
        raise NotImplementedError

    def reboot_for(self, identifier: str, text: str) -> None:
        """Ask the agent to reboot the guest: REBOOTING now, REBOOTED and ``rebooted`` after it."""
        raise NotImplementedError


class TaskPlugin:
    """What starts updates."""

    @property
    def plugin_name(self) -> str:
        """The name for logs and people."""
        raise NotImplementedError

    def initialize(self, sink: NotifySink) -> None:
        """Take the sink; called once, first."""
        raise NotImplementedError

    def start_task(self, label: str, identifier: str, context: bytes) -> None:
        """Start an update and return at once; raises ``PluginError`` where it cannot.

        The three values are exactly those of the booking.
        """
        raise NotImplementedError

    def terminate(self, hresult: int) -> None:
        """Release the sink; returns ``S_OK`` when all is well. Running updates continue."""
        raise NotImplementedError

    # More than the documented interface

    @property
    def can_prepare(self) -> bool:
        """Whether the plug-in can prepare updates."""
        return False

    def prepare(self, label: str, identifier: str, context: bytes, attempt: str, offset: int) -> Preparation:
        """Prepare an update, touching nothing but caches, and return at once how far that is.

        The first call begins it, and the same ``attempt`` is never begun twice; ``offset`` says what was told
        before. Raises ``PluginError`` where it cannot.
        """
        raise PluginError("The plug-in cannot prepare updates.")

    def stop_preparing(self, identifier: str) -> None:
        """Stop the preparation of an update."""

    def resume(self, identifier: str) -> None:
        """Follow again what was started before the agent was restarted."""
        raise PluginError("The agent was restarted, and the plug-in cannot follow the update again.")

    def disturbed(self, identifier: str, start: bool) -> List[str]:
        """Return units whose jobs failed because of an update's lock; ``start`` starts them again, once."""
        return []

    def may_have_changed(self, identifier: str) -> bool:
        """Whether an update may have changed the guest by the time that the guest went down."""
        return True

    def rebooted(self, identifier: str) -> None:
        """Check an update after its reboot, and say SUCCESS or FAILED."""
        raise PluginError("The guest has rebooted, and the plug-in cannot check the update.")

    def cancel(self, identifier: str) -> None:
        """Stop an update if that is still safe."""

    def poll(self, identifier: str) -> None:
        """Called four times a second while the update lives."""
