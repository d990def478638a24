"""Contracts of ``machines.ports.configurations``."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from innkeeper.errors import MachineError, MachineNotFound
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
from innkeeper.machines.machine import MachineState
from innkeeper.wire.events import EventKind, Json
from innkeeper.wire.machine_settings import SETTINGS, plain
from innkeeper.wire.setting import SettingValue
from innkeeper.wire.virtual_pc import Attachment, DriveBus, SerialPortType, UndoAction
from tests.hypervisor.contracts.subject import Subject, an_image, bring_to


class ConfigurationsContract:
    """Hardware and settings of a machine are read and changed."""

    async def _made(self, subject: Subject, *, running: bool = False) -> Configuration:
        return await subject.hypervisor.configurations.read(subject.name, running=running)

    @pytest.mark.parametrize("runs", [False, True])
    async def test_a_note_that_is_taken_back_leaves_the_definition_as_it_was(
        self, subject: Subject, runs: bool
    ) -> None:
        """Not even an empty element stays, also in that of a machine that runs."""
        definitions, configurations = subject.hypervisor.definitions, subject.hypervisor.configurations
        if runs:
            await subject.hypervisor.lifecycle.start(subject.name)
        for labels in (("web",), ()):
            await configurations.change(subject.name, MetadataChanged(extras={"labels": labels}), Scope.BOTH)
        assert "<metadata" not in await definitions.read(subject.name)

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
        values_told = [
            event.data["config_key"]
            for event in subject.events[before:]
            if event.data.get("configuration_value")
        ]
        assert values_told == ["a/b"]
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
            values={"notes": notes, "undo_action": UndoAction.COMMIT, "undoable": True, "undo_exclude": "vdb"}
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
        assert (made.settings["undo_exclude"], machine.undo_exclude) == ("vdb", ("vdb",))
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

    async def test_autostart_is_kept(self, subject: Subject) -> None:
        """What was set is what is seen."""
        for wanted in (True, False):
            await subject.hypervisor.configurations.set_autostart(subject.name, wanted)
            assert (await subject.hypervisor.inventory.get(subject.name)).autostart is wanted

    async def test_all_configurations_are_those_of_each(self, subject: Subject) -> None:
        """By one question, or one a machine."""
        everything = await subject.hypervisor.configurations.read_all()
        names = {machine.name for machine in await subject.hypervisor.inventory.list()}
        assert set(everything) == names
        assert everything[subject.name] == await self._made(subject)

    async def test_a_description_says_what_the_single_questions_say(self, subject: Subject) -> None:
        """The machine, its configuration, its files, and the chains that were asked for."""
        host = subject.hypervisor
        described = await host.configurations.describe(subject.name)
        assert described.machine == await host.inventory.get(subject.name)
        assert described.configuration == await self._made(subject)
        assert described.definition_path == await host.definitions.path(subject.name)
        assert (described.saved_state_path, described.chains) == ("", {})
        with pytest.raises(MachineNotFound):
            await host.configurations.describe("nobody")


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
