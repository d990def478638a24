"""What every hypervisor promises, as tests that run over each implementation.

A test module subclasses a part of the contract and gives it the fixture ``subject``: a ``Subject`` with one
machine, off, whose disks are image files.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from innkeeper.errors import MachineError, MachineNotFound, WrongState
from innkeeper.machines.change import (
    AdapterAdded,
    AdapterAddressed,
    AdapterAttached,
    AdapterRemoved,
    DriveAdded,
    DriveMoved,
    DriveRemoved,
    MediumChanged,
    MetadataChanged,
    Scope,
    SerialPortConfigured,
    SerialPortRemoved,
    SettingsChanged,
    ValueSet,
)
from innkeeper.machines.configuration import Adapter, Configuration, Drive, Location, Value
from innkeeper.machines.machine import DiskKind, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Json
from innkeeper.wire.machine_settings import SETTINGS, plain
from innkeeper.wire.setting import SettingValue
from innkeeper.wire.virtual_pc import Attachment, DriveBus, SerialPortType, UndoAction

_TIMEOUT_S = 180


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One implementation under test, and a machine of it that is off."""

    hypervisor: Host
    #: The machine's name.
    name: str
    #: Where overlays may be put.
    directory: Path
    #: What the host has published, oldest first.
    events: list[Event] = dataclasses.field(default_factory=list)

    async def state(self) -> MachineState:
        """What the machine does now."""
        return (await self.hypervisor.inventory.get(self.name)).state

    async def until(self, wanted: MachineState) -> None:
        """Wait for a state that the guest, or the end of QEMU, brings about."""
        async with asyncio.timeout(_TIMEOUT_S):
            while await self.state() is not wanted:
                await asyncio.sleep(0.05)

    async def sources(self) -> Mapping[str, str]:
        """The file that takes the writes of each disk."""
        return {disk.target: disk.path for disk in (await self.hypervisor.inventory.get(self.name)).disks}

    def overlays(self, bases: Mapping[str, str], suffix: str = "undo") -> dict[str, str]:
        """A path for an overlay of each disk."""
        return {target: str(self.directory / f"{self.name}-{target}.{suffix}") for target in bases}


class LifeContract:
    """Machines are found, start, stop, pause and resume."""

    async def test_a_machine_is_found_by_name_and_in_the_list(self, subject: Subject) -> None:
        """Both ways of asking give the same value."""
        one = await subject.hypervisor.inventory.get(subject.name)
        assert one.state is MachineState.TURNED_OFF
        assert one in await subject.hypervisor.inventory.list()
        assert one.host == subject.hypervisor.name

    async def test_an_unknown_machine_is_refused_by_name(self, subject: Subject) -> None:
        """The error carries the name that was asked for."""
        with pytest.raises(MachineNotFound) as caught:
            await subject.hypervisor.inventory.get("nobody")
        assert caught.value.machine == "nobody"

    async def test_start_and_turn_off_may_be_repeated(self, subject: Subject) -> None:
        """A step that runs again after a crash changes nothing."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_pause_and_resume_may_be_repeated(self, subject: Subject) -> None:
        """The second call finds the work done."""
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.lifecycle.pause(subject.name)
            assert await subject.state() is MachineState.PAUSED
        for _ in range(2):
            await subject.hypervisor.lifecycle.resume(subject.name)
            assert await subject.state() is MachineState.RUNNING

    async def test_a_machine_can_be_started_paused(self, subject: Subject) -> None:
        """No instruction of the guest runs before somebody lets it."""
        await subject.hypervisor.lifecycle.start(subject.name, paused=True)
        assert await subject.state() is MachineState.PAUSED

    async def test_a_running_machine_cannot_be_forgotten(self, subject: Subject) -> None:
        """The refusal names the state and the command."""
        await subject.hypervisor.lifecycle.start(subject.name)
        with pytest.raises(WrongState) as caught:
            await subject.hypervisor.definitions.undefine(subject.name)
        assert caught.value.state == "RUNNING"

    async def test_every_act_of_a_host_is_done_to_a_machine_that_is_on(self, subject: Subject) -> None:
        """It runs on, or again; a machine that is off is refused, and stays off."""
        acts = [command for command in Command if command.declaration.is_one_act]
        for command in acts:
            with pytest.raises(WrongState):
                await subject.hypervisor.lifecycle.act(subject.name, command)
        await subject.hypervisor.lifecycle.start(subject.name)
        for command in acts:
            await subject.hypervisor.lifecycle.act(subject.name, command)
            assert await subject.state() is MachineState.RUNNING, command

    async def test_a_machine_that_is_off_cannot_be_paused(self, subject: Subject) -> None:
        """Nothing is started by accident."""
        with pytest.raises(WrongState):
            await subject.hypervisor.lifecycle.pause(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_autostart_is_kept(self, subject: Subject) -> None:
        """What was set is what is seen."""
        for wanted in (True, False):
            await subject.hypervisor.configurations.set_autostart(subject.name, wanted)
            assert (await subject.hypervisor.inventory.get(subject.name)).autostart is wanted

    async def test_the_agents_port_is_added_once(self, subject: Subject) -> None:
        """Live and in the definition, however often it is asked for."""
        for _ in range(2):
            await subject.hypervisor.agent_ports.attach(subject.name)
        assert (await subject.hypervisor.inventory.get(subject.name)).has_agent_port
        assert (await subject.hypervisor.definitions.read(subject.name)).count("org.innkeeper.agent.0") == 1


class SavedStateContract:
    """Memory is saved, restored and discarded."""

    async def test_a_saved_machine_runs_again(self, subject: Subject) -> None:
        """A save may be repeated, and a restore uses the saved state up."""
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.saved_states.save(subject.name)
            assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_saved_while_paused_comes_back_paused(self, subject: Subject) -> None:
        """No instruction runs that did not run before."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.lifecycle.pause(subject.name)
        await subject.hypervisor.saved_states.save(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.PAUSED

    async def test_a_saved_state_can_be_discarded(self, subject: Subject) -> None:
        """Nothing is left to restore, and asking again is no error."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.saved_states.save(subject.name)
        for _ in range(2):
            await subject.hypervisor.saved_states.discard(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_without_a_saved_state_shows_none(self, subject: Subject) -> None:
        """There is no definition inside it."""
        with pytest.raises(WrongState):
            await subject.hypervisor.saved_states.definition(subject.name)


class UndoDiskContract:
    """Undo disks are put over disks, merged and taken away."""

    async def test_disks_are_image_files(self, subject: Subject) -> None:
        """The suite needs one to put an overlay over."""
        machine = await subject.hypervisor.inventory.get(subject.name)
        assert machine.disks
        assert all(disk.kind is DiskKind.FILE for disk in machine.disks)

    @pytest.mark.parametrize("state", [MachineState.TURNED_OFF, MachineState.PAUSED, MachineState.RUNNING])
    async def test_overlays_are_added_and_merged_in_any_settled_state(
        self, subject: Subject, state: MachineState
    ) -> None:
        """Each step may be repeated, the state stays, and the machine is on its bases in the end."""
        await bring_to(subject, state)
        bases = await subject.sources()
        overlays = subject.overlays(bases)
        for _ in range(2):
            await subject.hypervisor.undo_disks.add(subject.name, overlays)
            assert await subject.sources() == overlays
        for target, path in overlays.items():
            assert list(await subject.hypervisor.disks.backing_chain(path))[:2] == [path, bases[target]]
        for _ in range(2):
            await subject.hypervisor.undo_disks.merge(subject.name, bases)
            assert await subject.sources() == bases
        assert await subject.state() is state
        for path in (*overlays.values(), *overlays.values()):
            await subject.hypervisor.disks.delete(path)
            assert not Path(path).exists()

    async def test_overlays_are_dropped_from_a_machine_that_is_off(self, subject: Subject) -> None:
        """The definition names the bases again; a running machine is refused."""
        bases = await subject.sources()
        await subject.hypervisor.undo_disks.add(subject.name, subject.overlays(bases))
        await subject.hypervisor.lifecycle.start(subject.name)
        with pytest.raises(WrongState):
            await subject.hypervisor.undo_disks.drop(subject.name, bases)
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.drop(subject.name, bases)
            assert await subject.sources() == bases

    async def test_trying_on_a_saved_machine_leaves_its_saved_state(self, subject: Subject) -> None:
        """It runs on overlays; turned off, it is saved again, and restores onto its own disks."""
        await bring_to(subject, MachineState.RUNNING)
        bases = await subject.sources()
        await subject.hypervisor.saved_states.save(subject.name)
        overlays = subject.overlays(bases)
        await subject.hypervisor.undo_disks.add(subject.name, overlays)
        for _ in range(2):
            await subject.hypervisor.saved_states.restore_keeping(subject.name, overlays)
            assert await subject.state() is MachineState.RUNNING
            assert await subject.sources() == overlays
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.undo_disks.drop(subject.name, bases)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases


class SavedUndoContract:
    """A machine that was saved on its undo disks is merged as it is."""

    async def test_a_machine_saved_on_undo_disks_is_merged_and_restored(self, subject: Subject) -> None:
        """Its memory goes on with the bases; the merge may be repeated."""
        bases = await subject.sources()
        await subject.hypervisor.undo_disks.add(subject.name, subject.overlays(bases))
        await bring_to(subject, MachineState.RUNNING)
        await subject.hypervisor.saved_states.save(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.merge(subject.name, bases)
            assert await subject.state() is MachineState.SAVED
            assert await subject.sources() == bases
        for path in subject.overlays(bases).values():
            assert path not in await subject.hypervisor.saved_states.definition(subject.name)
            await subject.hypervisor.disks.delete(path)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases


class ConfigurationContract:
    """How a machine is made is read and changed."""

    async def _made(self, subject: Subject, *, running: bool = False) -> Configuration:
        return await subject.hypervisor.configurations.read(subject.name, running=running)

    async def test_memory_processors_and_firmware_strings_are_kept(self, subject: Subject) -> None:
        """What was set is what is read, and what the machine is listed with."""
        values: Mapping[str, SettingValue] = {
            "memory_mib": 200,
            "vcpus": 2,
            "bios_serial_number": "S-1",
            "chassis_asset_tag": "T & 1",
        }
        await subject.hypervisor.configurations.change(subject.name, SettingsChanged(values=values))
        made = await self._made(subject)
        assert {**made.settings}.items() >= values.items()
        machine = await subject.hypervisor.inventory.get(subject.name)
        assert (machine.memory_mib, machine.vcpus) == (200, 2)

    async def test_a_clock_is_set_while_the_machine_runs_for_its_next_start(self, subject: Subject) -> None:
        """The running machine keeps the clock that it has."""
        await bring_to(subject, MachineState.RUNNING)
        for local in (True, False):
            changed = SettingsChanged(values={"local_clock": local})
            await subject.hypervisor.configurations.change(subject.name, changed)
            assert (await self._made(subject)).settings["local_clock"] is local
            assert not (await self._made(subject, running=True)).settings["local_clock"]
        definition = await subject.hypervisor.definitions.read(subject.name)
        assert "offset='utc'" in definition.replace('"', "'")

    async def test_a_change_is_told_with_its_documented_key_and_value(self, subject: Subject) -> None:
        """One event a setting; labels, values and devices by the client's names for them."""
        mac, network, before = "52:54:00:00:00:0a", "user", len(subject.events)
        values: Mapping[str, SettingValue] = {
            "notes": "N",
            "undo_action": UndoAction.COMMIT,
            "memory_mib": 200,
        }
        for change in (
            SettingsChanged(values=values),
            MetadataChanged(extras={"labels": ("web",)}),
            ValueSet(key="a/b", value=5),
            AdapterAdded(mac=mac, network=network),
            AdapterAddressed(mac=mac, new_mac=mac.replace("0a", "0b")),
            AdapterRemoved(mac=mac.replace("0a", "0b")),
        ):
            await subject.hypervisor.configurations.change(subject.name, change)
        await subject.hypervisor.configurations.set_autostart(subject.name, True)
        told = [
            (event.data["config_key"], event.data["config_data"])
            for event in subject.events[before:]
            if event.kind == EventKind.MACHINE_CONFIGURATION_CHANGED and event.subject == subject.name
        ]
        settings: list[tuple[Json, Json]] = [
            (SETTINGS[key].member, plain(value)) for key, value in values.items()
        ]
        assert settings == [("notes", "N"), ("undo_action", "COMMIT"), ("memory", 200)]
        assert told == [
            *settings,
            ("labels", ["web"]),
            ("a/b", 5),
            ("network_adapters", mac),
            ("ethernet_address", mac.replace("0a", "0b")),
            ("network_adapters", None),
            ("autostart", True),
        ]

    async def test_notes_labels_and_values_are_kept(self, subject: Subject) -> None:
        """Whatever their characters; and the machine is listed with its labels."""
        notes = "first <line>\nsecond & last ä"
        settings = SettingsChanged(
            values={"notes": notes, "undo_action": UndoAction.COMMIT, "undoable": True}
        )
        for change in (settings, MetadataChanged(extras={"labels": ("web", "a.b")})):
            await subject.hypervisor.configurations.change(subject.name, change, Scope.BOTH)
        for key, value in _VALUES.items():
            await subject.hypervisor.configurations.change(subject.name, ValueSet(key=key, value=value))
        made = await self._made(subject)
        assert made.settings["notes"] == notes
        assert (made.extras.labels, made.extras.undo_action) == (("web", "a.b"), UndoAction.COMMIT)
        assert made.extras.values == _VALUES
        machine = await subject.hypervisor.inventory.get(subject.name)
        assert (machine.labels, machine.undoable) == (("web", "a.b"), True)
        await subject.hypervisor.configurations.change(subject.name, ValueSet(key="a/text", value=None))
        assert "a/text" not in (await self._made(subject)).extras.values

    async def test_activation_values_are_gone_when_it_is_off(self, subject: Subject) -> None:
        """They begin as a copy, and change neither way."""
        await subject.hypervisor.configurations.change(subject.name, ValueSet(key="a", value=1))
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.configurations.change(
            subject.name, ValueSet(key="a", value=2), Scope.RUNNING
        )
        await subject.hypervisor.configurations.change(subject.name, ValueSet(key="b", value=3))
        assert (await self._made(subject, running=True)).extras.values == {"a": 2}
        assert (await self._made(subject)).extras.values == {"a": 1, "b": 3}
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert (await self._made(subject, running=True)).extras.values == {"a": 1, "b": 3}

    async def test_drives_come_move_and_go(self, subject: Subject) -> None:
        """A disk and a DVD drive, each at its location."""
        image = await an_image(subject)
        disk = Drive(
            target="vdc",
            device="disk",
            bus=DriveBus.VIRTIO,
            location=Location(bus=1, device=0),
            path=image,
            attachment=Attachment.IMAGE,
        )
        dvd = Drive(target="sdd", device="cdrom", bus=DriveBus.SATA, location=Location(bus=1, device=1))
        for drive in (disk, dvd):
            await subject.hypervisor.configurations.change(subject.name, DriveAdded(drive=drive))
        made = {drive.target: drive for drive in (await self._made(subject)).drives}
        assert made["vdc"].path == image
        assert (made["vdc"].location, made["sdd"].location) == (disk.location, dvd.location)
        assert (made["sdd"].device, made["sdd"].attachment) == ("cdrom", Attachment.NONE)
        moved = DriveMoved(target="vdc", new_target="vde", location=Location(bus=2, device=0))
        await subject.hypervisor.configurations.change(subject.name, moved)
        for target in ("vde", "sdd"):
            await subject.hypervisor.configurations.change(subject.name, DriveRemoved(target=target))
        assert {"vdc", "vde", "sdd"}.isdisjoint(d.target for d in (await self._made(subject)).drives)
        with pytest.raises(MachineError):
            await subject.hypervisor.configurations.change(subject.name, DriveRemoved(target="vde"))

    async def test_network_adapters_come_and_go(self, subject: Subject) -> None:
        """Plugged in, unplugged, under another address."""
        mac, other = "52:54:00:00:00:01", "52:54:00:00:00:02"
        await subject.hypervisor.configurations.change(subject.name, AdapterAdded(mac=mac, network="user"))
        assert _adapter(await self._made(subject), mac).network == "user"
        await subject.hypervisor.configurations.change(subject.name, AdapterAttached(mac=mac, network=""))
        assert _adapter(await self._made(subject), mac).network == ""
        await subject.hypervisor.configurations.change(subject.name, AdapterAddressed(mac=mac, new_mac=other))
        assert _adapter(await self._made(subject), other)
        await subject.hypervisor.configurations.change(subject.name, AdapterRemoved(mac=other))
        assert other not in [adapter.mac for adapter in (await self._made(subject)).adapters]

    async def test_serial_and_parallel_ports_are_joined(self, subject: Subject) -> None:
        """To a file, and to nothing."""
        count = len((await self._made(subject)).serial_ports)
        text = str(subject.directory / "serial.txt")
        configured = SerialPortConfigured(id=count, type=SerialPortType.TEXT_FILE, name=text)
        await subject.hypervisor.configurations.change(subject.name, configured)
        port = (await self._made(subject)).serial_ports[count]
        assert (port.type, port.name) == (SerialPortType.TEXT_FILE, text)
        await subject.hypervisor.configurations.change(subject.name, SerialPortRemoved(id=count))
        assert len((await self._made(subject)).serial_ports) == count

    async def test_a_machine_is_renamed_once(self, subject: Subject) -> None:
        """Asked again, nothing happens; running, it is refused."""
        for _ in range(2):
            await subject.hypervisor.definitions.rename(subject.name, "another name")
        assert (await subject.hypervisor.inventory.get("another name")).state is MachineState.TURNED_OFF
        with pytest.raises(MachineNotFound):
            await subject.hypervisor.inventory.get(subject.name)
        await subject.hypervisor.definitions.rename("another name", subject.name)

    async def test_the_host_is_described(self, subject: Subject) -> None:
        """With memory and processors, and the network that every host has."""
        facts = await subject.hypervisor.information.facts()
        assert facts.memory_mib > 0
        assert facts.logical_processors > 0
        assert "user" in [network.name for network in await subject.hypervisor.information.networks()]
        assert isinstance(list(await subject.hypervisor.information.usb_devices()), list)


class MediaContract:
    """Media come and go, and cables too, while the machine runs."""

    async def test_a_medium_is_changed_in_a_running_machine(self, subject: Subject) -> None:
        """Live, and in the definition that it starts with next."""
        image = await an_image(subject)
        dvd = Drive(target="sdd", device="cdrom", bus=DriveBus.SATA, location=Location(bus=1, device=1))
        await subject.hypervisor.configurations.change(subject.name, DriveAdded(drive=dvd))
        await subject.hypervisor.lifecycle.start(subject.name)
        for attachment, path in ((Attachment.IMAGE, image), (Attachment.NONE, "")):
            changed = MediumChanged(target="sdd", attachment=attachment, path=path)
            await subject.hypervisor.configurations.change(subject.name, changed, Scope.BOTH)
            for running in (True, False):
                made = await subject.hypervisor.configurations.read(subject.name, running=running)
                drive = next(drive for drive in made.drives if drive.target == "sdd")
                assert (drive.attachment, drive.path) == (attachment, path)

    async def test_a_cable_is_pulled_from_a_running_machine(self, subject: Subject) -> None:
        """And put back in."""
        mac = "52:54:00:00:00:01"
        await subject.hypervisor.configurations.change(subject.name, AdapterAdded(mac=mac, network="user"))
        await subject.hypervisor.lifecycle.start(subject.name)
        for network in ("", "user"):
            attached = AdapterAttached(mac=mac, network=network)
            await subject.hypervisor.configurations.change(subject.name, attached, Scope.BOTH)
            for running in (True, False):
                made = await subject.hypervisor.configurations.read(subject.name, running=running)
                assert _adapter(made, mac).network == network


_VALUES: dict[str, Value] = {
    "a/text": "x<y>\u00e4",
    "a/number": -5,
    "b": True,
    "c[@id=1]/raw": b"\x00\xff",
}


def _adapter(made: Configuration, mac: str) -> Adapter:
    return next(adapter for adapter in made.adapters if adapter.mac == mac)


async def an_image(subject: Subject) -> str:
    """One more image, as its host's disks are."""
    path = subject.directory / "another.img"
    disks = await subject.sources()
    size = Path(next(iter(disks.values()))).stat().st_size if "fake" in subject.hypervisor.uri else 1 << 20
    path.write_bytes(bytes(size))
    return str(path)


async def bring_to(subject: Subject, state: MachineState) -> None:
    """Bring a machine that is off to a settled state."""
    if state is not MachineState.TURNED_OFF:
        await subject.hypervisor.lifecycle.start(subject.name, paused=state is MachineState.PAUSED)
    assert await subject.state() is state
