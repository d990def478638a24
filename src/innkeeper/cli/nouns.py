"""Table of commands and their modules, read for help and completion without importing the modules.

A test holds the names and lines of help against the modules.
"""

from __future__ import annotations

from innkeeper.cli.lazy import Part


def _part(module: str, **commands: str) -> Part:
    return Part(module=f"innkeeper.cli.{module}", commands=commands)


#: All that stands below ``innkeeper``, in the order of the help.
NOUNS = (
    _part(
        "serve",
        serve="Run the service until it is told to stop (Ctrl-C, or SIGTERM).",
    ),
    _part(
        "login",
        login="Log in at a server, and keep a token for the commands to come (with --server).",
        logout="Revoke the token that login has kept, and remove it.",
    ),
    _part(
        "tonight",
        tonight="Show what will happen in the next 24 hours, to whom, when, where, and whether it fits.",
    ),
    _part(
        "version",
        version="Print the versions of this program and of the service, where one runs.",
    ),
    _part(
        "agent",
        agent="Get the guest's task agent, to install it by hand.",
    ),
    _part(
        "channel",
        channel="Reach TCP ports inside guests, without a network.",
    ),
    _part(
        "host",
        host="Look at hosts, their networks and USB devices, and set folders.",
    ),
    _part(
        "machine",
        machine="Show machines and command them.",
    ),
    _part(
        "schedule.verbs",
        schedule="Work on scheduled tasks (Task Scheduler 2.0).",
    ),
    _part(
        "task",
        task="Follow, cancel and remember running operations.",
    ),
    _part(
        "update",
        update="Book updates, and read their results.",
    ),
    _part(
        "window",
        window="Manage the windows in which machines may be maintained.",
    ),
    _part(
        "disk.verbs",
        disk="Work on virtual hard disks; a service is not needed.",
    ),
    _part(
        "user",
        user="Look after people: accounts, roles, tokens.",
    ),
    _part(
        "session",
        session="See who is logged in, and end their sessions.",
    ),
    _part(
        "server",
        server="Look after the servers that share a database.",
    ),
    _part(
        "audit",
        audit="Read the audit log, and check it.",
    ),
    _part(
        "context",
        context="Name several servers, and choose between them.",
    ),
)

#: The commands of ``innkeeper machine`` that are not in its own module.
MACHINE_COMMANDS = (
    _part(
        "screen",
        screenshot="Write what a machine shows to a PNG file (MACHINE.png).",
        type="Type text on a machine's keyboard, as a US layout has it.",
        keys="Press keys on a machine's keyboard, one chord or sequence after the other.",
        console="Sit down at a machine's serial console.",
    ),
    _part(
        "guest",
        guest="Show what a machine's guest says of itself, and who is logged on.",
        restart="Ask the guests of machines to reboot, and wait until they have.",
        logoff="Log everybody off from the guests of machines.",
        param="Share named values with a machine's guest, both ways.",
    ),
    _part(
        "check",
        check="Check which machines can be maintained tonight, and what changes it for the others.",
    ),
    _part(
        "health",
        health="Show a guest's health now, and what the loss of each part by an update would count.",
        ignore="Count a finding against no update of a machine any more, or list what is ignored.",
    ),
    _part(
        "watch",
        watch="Watch state, processor, memory, disks, network and heartbeat live.",
    ),
    _part(
        "configuration",
        set="Change a machine's name, notes, memory, processors and what happens to it by itself.",
        label="Give labels to a machine or to those of a selector, take them away, or list them.",
        values="Show, set or remove configuration values of a machine.",
        attach="Attach a disk, a DVD or floppy drive or what goes into it, a network, a port or "
        "a USB device.",
        detach="Detach a device: empty a DVD or floppy drive, or take a disk, adapter, port or "
        "USB device out.",
    ),
    _part(
        "creation",
        create="Create a machine: empty, or from a cloud image that gets a user, a key and the task agent.",
        register="Take in a machine by its definition, as `unregister` has left it.",
        unregister="Forget a machine and keep all its files: disks, undo disks, saved state.",
        delete="Delete a machine with its saved state, undo disks and firmware variables; its disks stay.",
    ),
)
