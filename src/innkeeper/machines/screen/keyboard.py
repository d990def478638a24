"""Type on machines' keyboards (``IVMKeyboard``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError, WrongState
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.input_devices import InputDevices, Key, KeyMoved
from innkeeper.machines.screen.key_sequence import Step, Stroke, read_sequence
from innkeeper.machines.screen.keys import BY_CODE, find_key, strokes
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind

#: The longest text that is typed at once: about 30 seconds of typing.
MAX_TEXT = 1000
#: How long a key is held, and the time until the next: QEMU drops what comes too fast.
HOLD_MS = 20
_GAP_SECONDS = 0.03
#: The documented length of HOLD.
_PAUSE_SECONDS = 0.2
#: A keyboard is let go of by itself when its holder has been silent for so long.
LEASE_SECONDS = 300.0

#: What ends or begins a guest's life: no key of before is down any more.
_FORGETTING = frozenset(
    {
        EventKind.MACHINE_STARTED,
        EventKind.MACHINE_STOPPED,
        EventKind.MACHINE_SAVED,
        EventKind.MACHINE_REBOOTED,
        EventKind.MACHINE_CRASHED,
    }
)


@dataclasses.dataclass(slots=True)
class _Lease:
    holder: str
    until: float


class Keyboard:
    """The keyboards of all machines.

    ``session`` names the client's object: whoever has a keyboard exclusively is the only one heard, and
    the others' keys are passed over without a word, as documented.
    """

    def __init__(self, machines: Machines, *, clock: Clock) -> None:
        self._machines = machines
        self._clock = clock
        self._pressed: dict[str, set[int]] = {}
        self._leases: dict[str, _Lease] = {}

    def on_event(self, event: Event) -> None:
        """Forget the keys held in a guest that begins anew."""
        if event.kind in _FORGETTING:
            self._pressed.pop(event.about, None)
            if event.kind is not EventKind.MACHINE_REBOOTED:
                self._leases.pop(event.about, None)

    # Keys

    async def press(self, name: str, key: str, *, session: str) -> None:
        """Hold a key down (``PressKey``). Raises ``InvalidArgument`` for a name of no key."""
        await self._move(name, find_key(key), True, session)

    async def release(self, name: str, key: str, *, session: str) -> None:
        """Release a key (``ReleaseKey``)."""
        await self._move(name, find_key(key), False, session)

    async def press_and_release(self, name: str, keys: Sequence[str], *, session: str) -> None:
        """Press a key, or up to 16 together, and let go (``PressAndReleaseKey``)."""
        found = [find_key(key) for key in keys]
        if not 1 <= len(found) <= 16:
            raise InvalidArgument("Between 1 and 16 keys can be pressed together.", advice="Name fewer keys.")
        input_devices, machine = await self._reach(name, "be typed on")
        if self._is_heard(machine.key, session):
            await input_devices.press(machine.name, found, hold_ms=HOLD_MS)

    async def type_text(self, name: str, text: str, *, session: str) -> None:
        """Type ASCII text as a US keyboard does (``TypeAsciiText``); returns when it is typed.

        Raises ``InvalidArgument`` for a character of no key and beyond 1,000; nothing is typed then.
        """
        if len(text) > MAX_TEXT:
            raise InvalidArgument(
                f"A text of {len(text):,} characters is too long to be typed at once.",
                advice=f"Type it in parts of at most {MAX_TEXT:,}.",
            )
        chords = strokes(text)
        input_devices, machine = await self._reach(name, "be typed on")
        for chord in chords:
            if self._is_heard(machine.key, session):
                await input_devices.press(machine.name, chord, hold_ms=HOLD_MS)
                await self._clock.sleep(_GAP_SECONDS)

    async def type_sequence(self, name: str, sequence: str, *, session: str) -> None:
        """Type a documented key sequence (``TypeKeySequence``); nothing of a malformed one is typed."""
        steps = read_sequence(sequence)
        input_devices, machine = await self._reach(name, "be typed on")
        simple = all(step.key is not None and step.stroke is Stroke.PRESS_AND_RELEASE for step in steps)
        for step in steps:
            if not self._is_heard(machine.key, session):
                return
            if step.key is None:
                await self._clock.sleep(_PAUSE_SECONDS)
            elif simple:
                await input_devices.press(machine.name, [step.key], hold_ms=HOLD_MS)
            else:
                await self._step(input_devices, machine, step)
            await self._clock.sleep(_GAP_SECONDS)

    async def is_pressed(self, name: str, key: str) -> bool:
        """Whether a key is down, as far as it was pressed here (``IsPressed``): no guest can be asked."""
        found = find_key(key)
        machine = await self._machines.get(name)
        return found.code in self._pressed.get(machine.key, ())

    async def pressed(self, name: str) -> tuple[str, ...]:
        """The keys that are down, by their documented names."""
        machine = await self._machines.get(name)
        return tuple(sorted(key_name(code) for code in self._pressed.get(machine.key, ())))

    # Exclusive access

    async def has_exclusive_access(self, name: str, *, session: str) -> bool:
        """Whether this session alone is heard (``HasExclusiveAccess``)."""
        lease = self._lease((await self._machines.get(name)).key)
        return lease is not None and lease.holder == session

    async def set_exclusive_access(self, name: str, wanted: bool, *, session: str) -> None:
        """Reserve the keyboard for this session alone, or release it.

        Raises ``MachineError`` (``VM_E_SET_EXCLUSIVE_MODE_FAIL``) where another session has it, or the
        machine does not run. A silent session loses it after five minutes.
        """
        machine = await self._machines.get(name)
        lease = self._lease(machine.key)
        if lease is not None and lease.holder != session:
            raise _cannot_take(machine, "another session has it")
        if not wanted:
            self._leases.pop(machine.key, None)
        elif machine.state is not MachineState.RUNNING:
            raise _cannot_take(machine, "the machine does not run")
        else:
            self._leases[machine.key] = _Lease(session, self._clock.monotonic() + LEASE_SECONDS)

    # Machinery

    async def _move(self, name: str, key: Key, down: bool, session: str) -> None:
        input_devices, machine = await self._reach(name, "be typed on")
        if self._is_heard(machine.key, session):
            await input_devices.feed(machine.name, [KeyMoved(key, down)])
            self._remember(machine, key, down)

    async def _step(self, input_devices: InputDevices, machine: Machine, step: Step) -> None:
        assert step.key is not None
        if step.stroke is not Stroke.RELEASE:
            await input_devices.feed(machine.name, [KeyMoved(step.key, True)])
            self._remember(machine, step.key, True)
        if step.stroke is Stroke.PRESS_AND_RELEASE:
            await self._clock.sleep(HOLD_MS / 1000)
        if step.stroke is not Stroke.PRESS:
            await input_devices.feed(machine.name, [KeyMoved(step.key, False)])
            self._remember(machine, step.key, False)

    def _remember(self, machine: Machine, key: Key, down: bool) -> None:
        pressed = self._pressed.setdefault(machine.key, set())
        (pressed.add if down else pressed.discard)(key.code)

    async def _reach(self, name: str, command: str) -> tuple[InputDevices, Machine]:
        machine = await self._machines.get(name)
        expect_running(machine, command)
        return self._machines.hosts[machine.host].input_devices, machine

    def _is_heard(self, machine: str, session: str) -> bool:
        lease = self._lease(machine)
        if lease is not None and lease.holder == session:
            lease.until = self._clock.monotonic() + LEASE_SECONDS
        return lease is None or lease.holder == session

    def _lease(self, machine: str) -> _Lease | None:
        lease = self._leases.get(machine)
        if lease is not None and lease.until <= self._clock.monotonic():
            del self._leases[machine]
            return None
        return lease


def expect_running(machine: Machine, command: str) -> None:
    """Raises ``WrongState`` for a machine that does not run: paused ones take no input either."""
    if machine.state is not MachineState.RUNNING:
        paused = machine.state is MachineState.PAUSED
        raise WrongState.of(
            machine.title,
            machine.state,
            command,
            code=ErrorCode.VM_E_VM_PAUSED if paused else ErrorCode.VM_E_VM_NOT_RUNNING,
            advice=f"Run: innkeeper machine {'resume' if paused else 'start'} {machine.title}",
        )


def key_name(code: int) -> str:
    """The documented name of a key's code."""
    return BY_CODE[code].name


def _cannot_take(machine: Machine, why: str) -> MachineError:
    return MachineError(
        f"The keyboard of {machine.title} cannot be taken or given back: {why}.",
        machine=machine.title,
        code=ErrorCode.VM_E_SET_EXCLUSIVE_MODE_FAIL,
        advice="Wait until the other session gives it back, or for five minutes of its silence.",
    )
