"""The task agent: mediator between the host, the plug-ins, and programs in the guest."""

from typing import Callable, Dict, List, Optional

from innkeeper.agent import power
from innkeeper.agent.allowed_ports import AllowedPorts
from innkeeper.agent.booking import booking, deletion
from innkeeper.agent.boots import Boots
from innkeeper.agent.calls import Calls
from innkeeper.agent.channels import Channels
from innkeeper.agent.control import MAX_WAITING_BOOKINGS, Control
from innkeeper.agent.journal import Journal, Notice, PackageChange, TaskEntry
from innkeeper.agent.loop import Loop
from innkeeper.agent.parameters import Parameters
from innkeeper.agent.places import Places
from innkeeper.agent.plugin import S_OK, NotifySink, PluginError, TaskPlugin
from innkeeper.agent.port import open_port
from innkeeper.agent.preparation import Preparation
from innkeeper.agent.restarts import Restarts
from innkeeper.agent.status import Status, may_follow
from innkeeper.agent.version import VERSION
from innkeeper.wire.frames import Fault, Interruption
from innkeeper.wire.session import VERSION as PROTOCOL_VERSION
from innkeeper.wire.session import Began, Called, Event, GuestSession, Message, NoticeAcknowledged
from innkeeper.wire.streams import MAX_STREAMS, StreamData

_POLL_S = 0.25
_RESEND_S = 15.0
#: Begin anew at most this often after the host has broken the protocol.
_READY_PAUSE_S = 1.0
#: How long REBOOTING may wait for the host to have it.
_REBOOT_GRACE_S = 3.0
_MAX_GREETING_TEXT = 100
_MAX_GREETING_TASKS = 16

#: What this agent can do beyond updates, as its greeting says.
_ABILITIES = ("facts", "sessions", "parameters", "time", "scan", "evidence", "effect", "jobs")

OnAnswer = Callable[[Message], None]


class Agent(NotifySink):
    """One guest's agent; everything happens in the loop's thread."""

    def __init__(self, places: Places, address: str) -> None:
        self._places = places
        #: What the agent remembers.
        self.journal = Journal(places.journal)
        #: The named values that host and guest share.
        self.parameters = Parameters(places.parameters)
        #: How this guest's boots went.
        self.boots = Boots(places)
        self._boot_id = places.boot_id
        self._plugin: Optional[TaskPlugin] = None
        self._is_polling = False
        self._is_going_down = False
        self._loop = Loop()
        #: How often services were started again.
        self.restarts = Restarts(places, self._loop)
        self._session = GuestSession(self._greeting)
        self._allowed_ports = AllowedPorts(places.channels)
        self._channels = Channels(self._loop, self._session, self._allowed_ports)
        self._calls = Calls(self, self._loop, places, self._session)
        #: Who waits for the host's answer to which notice.
        self._waiting: Dict[int, OnAnswer] = {}
        self._control = Control(self._loop, places.control, self)
        self._port = open_port(
            self._loop, address, self._start_over, self._session.room, self._receive, self._take_output
        )
        self._channels.flush = self.flush
        self._channels.post = self._post

    # Life

    def run(self, plugin: TaskPlugin) -> None:
        """Serve until ``stop``."""
        self._plugin = plugin
        plugin.initialize(self)
        self._take_up()
        self._poll()
        self._resend()
        self.boots.watch(self._loop)
        self._loop.run()
        plugin.terminate(S_OK)
        self._control.close()

    def stop(self) -> None:
        """Make ``run`` return; may be called from a signal handler."""
        self._loop.stop()

    # The host's questions

    def start_task(self, label: str, identifier: str, context: bytes, attempt: str = "") -> TaskEntry:
        """Start an update, or return what is known of it. Raises ``PluginError``.

        One that changed nothing is started again where another of the host's runs asks.
        """
        known = self.journal.tasks.get(identifier)
        if known is not None and not (known.unchanged and attempt and attempt != known.attempt):
            return known
        task = TaskEntry(identifier, label, self._boot_id, attempt)
        self.journal.tasks[identifier] = task
        self.journal.save()
        try:
            self.plugin.start_task(label, identifier, context)
        except PluginError:
            del self.journal.tasks[identifier]
            self.journal.save()
            raise
        if not self._is_polling:
            self._poll()
        return task

    def prepare(self, label: str, identifier: str, context: bytes, attempt: str, offset: int) -> Preparation:
        """Prepare an update, or return how far that is. Raises ``PluginError``."""
        return self.plugin.prepare(label, identifier, context, attempt, offset)

    def stop_preparing(self, identifier: str) -> None:
        """Stop the preparation of an update."""
        self.plugin.stop_preparing(identifier)

    def disturbed(self, identifier: str, start: bool) -> List[str]:
        """The jobs that an update has disturbed; ``start`` starts them again."""
        return self.plugin.disturbed(identifier, start)

    def task(self, identifier: str) -> Optional[TaskEntry]:
        """What is known of an update."""
        return self.journal.tasks.get(identifier)

    def cancel_task(self, identifier: str) -> None:
        """Stop an update where that is still safe."""
        if identifier in self.journal.tasks:
            self.plugin.cancel(identifier)

    @property
    def plugin(self) -> TaskPlugin:
        """The one plug-in in use."""
        assert self._plugin is not None
        return self._plugin

    def status(self) -> Message:
        """What this guest's people may want to know."""
        return dict(self._greeting(), connected=self._session.is_begun, waiting=len(self.journal.notices))

    def may_reach(self, port: int) -> bool:
        """Whether channels may be joined to this port; who says so is the guest's own administrator."""
        return port in self._allowed_ports

    def flush(self) -> None:
        """Send what there is to send."""
        self._port.flush()

    # What the plug-in tells

    def schedule_task(
        self, start_time: int, end_time: int, deadline: int, label: str, identifier: str, context: bytes
    ) -> None:
        """Book an update with the host."""
        self.book(booking(start_time, end_time, deadline, label, identifier, context), None)

    def delete_schedule(self, identifier: str) -> None:
        """Take a booking back."""
        self.book(deletion(identifier), None)

    def on_task_state_change(self, identifier: str, status: Status) -> None:
        """Write the state down, then tell the host."""
        task = self.journal.tasks.get(identifier)
        if task is None:
            return
        if task.status is status:
            self._session.send_message(dict(task.report(), tell="progress"))
        elif may_follow(task.status, status):
            task.status, task.boot_id = status, self._boot_id
            self._notify({"tell": "task_state", "task": task.full_report()})

    def on_terminated(self, hresult: int) -> None:
        """Pass on that the agent wants to be shut down."""
        self._notify({"tell": "terminated", "hresult": hresult})

    def on_task_progress(self, identifier: str, percent: Optional[int], text: str) -> None:
        """Remember it; the next state change tells it."""
        task = self.journal.tasks.get(identifier)
        if task is not None:
            if percent is not None:
                task.percent = max(task.percent or 0, percent)
            task.text = text

    def on_task_output(self, identifier: str, text: str) -> None:
        """Pass it on, if the host can take it now."""
        self._session.send_message({"tell": "output", "identifier": identifier, "text": text})

    def on_task_packages(self, identifier: str, packages: List[PackageChange]) -> None:
        """Remember them; the next state change tells them."""
        if identifier in self.journal.tasks:
            self.journal.tasks[identifier].packages = packages

    def on_task_unchanged(self, identifier: str) -> None:
        """Remember it; the next state change tells it."""
        if identifier in self.journal.tasks:
            self.journal.tasks[identifier].unchanged = True

    def reboot_for(self, identifier: str, text: str) -> None:
        """Write REBOOTING down, and reboot when the host has it, or has had the time to."""
        self.on_task_progress(identifier, None, text)
        self.on_task_state_change(identifier, Status.REBOOTING)
        if self.journal.notices:
            self._waiting[self.journal.notices[-1].number] = lambda answer: self._reboot(identifier)
        self._loop.after(_REBOOT_GRACE_S, lambda: self._reboot(identifier))

    # Notices

    def book(self, message: Message, on_answer: Optional[OnAnswer]) -> None:
        """Give the host notice of a booking; the answer comes when there is a host.

        Raises ``PluginError`` when too many wait for the host already.
        """
        if sum("identifier" in notice.message for notice in self.journal.notices) >= MAX_WAITING_BOOKINGS:
            raise PluginError("Too many bookings wait for the host's answer.")
        notice = self._notify(message)
        if on_answer is not None:
            self._waiting[notice.number] = on_answer

    def _notify(self, message: Message) -> Notice:
        notice = self.journal.add_notice(self._boot_id, message)
        self.journal.save()
        self._session.give_notice(notice.number, notice.message)
        self._port.flush()
        return notice

    def _noted(self, number: int, answer: Message) -> None:
        if self.journal.drop_notice(number):
            self.journal.save()
        on_answer = self._waiting.pop(number, None)
        if on_answer is not None:
            on_answer(answer)

    def _send_notices(self) -> None:
        for notice in self.journal.notices:
            self._session.give_notice(notice.number, notice.message)

    # Machinery

    def _start_over(self) -> None:
        self._channels.drop_all()
        self._session.ready()

    def _receive(self, size: int) -> int:
        session = self._session
        for event in session.received(size):
            if type(event) is StreamData:
                self._channels.receive(event)
            else:
                self._channels.pass_on()
                self._take(event)
        self._channels.pass_on()
        if session.output_size:
            self._port.flush()
        return session.wanted

    def _take_output(self, size: int) -> bytes:
        output = self._session.take_output(size)
        self._channels.resume()
        return output

    def _post(self, frame: memoryview) -> None:
        # At once where nothing goes before it, for its place is used again; what does not go is kept.
        sent = 0 if self._session.output_size else self._port.write(frame)
        if sent < len(frame):
            self._session.put(bytes(frame[sent:]))
            self._port.flush()

    def _take(self, event: Event) -> None:
        if isinstance(event, Began):
            # What came before it belongs to a session that is lost.
            self._channels.drop_all()
            self._send_notices()
        elif isinstance(event, Called):
            self._calls.answer(event.number, event.message)
        elif isinstance(event, NoticeAcknowledged):
            self._noted(event.number, event.message)
        elif isinstance(event, (Fault, Interruption)):
            if not self._session.is_begun:
                self._channels.drop_all()
            if isinstance(event, Fault):
                self._loop.after(_READY_PAUSE_S, self._begin_anew)
        else:
            self._channels.take(event)

    def _begin_anew(self) -> None:
        if not self._session.is_begun:
            self._session.ready()
            self._port.flush()

    def _greeting(self) -> Message:
        # One frame holds a greeting: the newest are what a host may ask for.
        tasks = [task.report() for task in self.journal.tasks.values()][-_MAX_GREETING_TASKS:]
        for task in tasks:
            task["text"] = str(task["text"])[:_MAX_GREETING_TEXT]
        return {
            "protocol": PROTOCOL_VERSION,
            "agent_version": VERSION,
            "boot_id": self._boot_id,
            "plugin_name": self._plugin.plugin_name if self._plugin else "",
            "os_name": self._places.os_name,
            "channels": MAX_STREAMS,
            "tasks": tasks,
            "knows": [*_ABILITIES, *(["prepare"] if self._plugin and self._plugin.can_prepare else [])],
        }

    def _poll(self) -> None:
        for task in self.journal.live_tasks:
            if task.status is not Status.REBOOTING:
                self.plugin.poll(task.identifier)
        self._port.flush()
        self._is_polling = bool(self.journal.live_tasks)
        if self._is_polling:
            self._loop.after(_POLL_S, self._poll)

    def _resend(self) -> None:
        self._send_notices()
        self._port.flush()
        self._loop.after(_RESEND_S, self._resend)

    def _take_up(self) -> None:
        """Go on with every update that had not ended when the agent, or the guest, went down."""
        for task in self.journal.live_tasks:
            has_rebooted = task.boot_id != self._boot_id
            if task.status is Status.REBOOTING and not has_rebooted:
                self._reboot(task.identifier)
            elif task.status is Status.REBOOTING:
                self.on_task_state_change(task.identifier, Status.REBOOTED)
                self._try(self.plugin.rebooted, task.identifier)
            elif has_rebooted:
                task.unchanged = not self.plugin.may_have_changed(task.identifier)
                when = (
                    "before the update had begun to change it"
                    if task.unchanged
                    else "in the middle of the update"
                )
                self._fail(task.identifier, f"The guest went down {when}.")
            else:
                self._try(self.plugin.resume, task.identifier)

    def _try(self, command: Callable[[str], None], identifier: str) -> None:
        try:
            command(identifier)
        except PluginError as exc:
            self._fail(identifier, str(exc))

    def _fail(self, identifier: str, text: str) -> None:
        self.on_task_progress(identifier, None, text)
        self.on_task_state_change(identifier, Status.FAILED)

    def _reboot(self, identifier: str) -> None:
        if self._is_going_down:
            return
        self._is_going_down = power.reboot(self._places)
        if not self._is_going_down:
            self._fail(identifier, "The guest has no program to reboot it.")
