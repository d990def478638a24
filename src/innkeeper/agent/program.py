"""Read the agent's command line: the agent itself, and what people and programs ask of it.

Each verb imports what it needs: under emulation a module costs a tenth of a second, and a worker starts
for every update.
"""

import argparse
import base64
import json
import os
import signal
import sys
from datetime import datetime, timezone
from typing import List, Optional

from innkeeper.agent.booking import parse_time
from innkeeper.agent.control import ask_agent
from innkeeper.agent.places import PORT_NAME, Places
from innkeeper.agent.plugin import PluginError
from innkeeper.agent.version import VERSION
from innkeeper.wire.session import Message

#: Exit codes, beside 0 for done and 2 for a wrong command line.
REFUSED = 1
NO_AGENT = 3
NO_ANSWER_YET = 4


def main(argv: List[str]) -> int:
    """Do what the command line asks and return the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.verb is None:
        _parser().print_help(sys.stderr)
        return 2
    places = Places(arguments.root)
    try:
        return int(arguments.verb(places, arguments))
    except PluginError as exc:
        print(f"innkeeper-agent: {exc}", file=sys.stderr)
        return REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="innkeeper-agent", description="Innkeeper's task agent.")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--root", default="/", help="where the guest's files begin (for tests)")
    parser.set_defaults(verb=None)
    verbs = parser.add_subparsers(metavar="VERB")
    run = verbs.add_parser("run", help="be the agent")
    run.add_argument("--port", default=PORT_NAME, help="a virtio port's name, or unix:PATH")
    run.set_defaults(verb=_run)
    worker = verbs.add_parser("work", help="do one step of an update (the agent starts this)")
    worker.add_argument("directory")
    worker.set_defaults(verb=_work)
    health = verbs.add_parser("health", help="print the health report")
    health.add_argument("--history", action="store_true", help="with what failed in the last week")
    health.set_defaults(verb=_health)
    verbs.add_parser("status", help="print what the agent is doing").set_defaults(verb=_status)
    verbs.add_parser("install", help="install this file as a service").set_defaults(verb=_install)
    verbs.add_parser("uninstall", help="take file and service away again").set_defaults(verb=_uninstall)
    _add_booking_verbs(verbs)
    _add_parameter_verbs(verbs)
    return parser


def _add_booking_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    book = verbs.add_parser("book", help="book an update of this guest with the host")
    book.add_argument("--label", default="", help="for people")
    book.add_argument("--identifier", required=True, help="the booking's identifier")
    book.add_argument("--start", default="now", help="the earliest start: now, +2h, or 2026-11-21T02:00Z")
    book.add_argument("--end", help="the latest start")
    book.add_argument("--deadline", help="the deadline")
    book.add_argument("--context", default="", help="text for the plug-in, or @FILE")
    book.set_defaults(verb=_book)
    unbook = verbs.add_parser("unbook", help="cancel a booking")
    unbook.add_argument("--identifier", required=True)
    unbook.set_defaults(verb=_unbook)
    for verb in (book, unbook):
        verb.add_argument(
            "--wait-seconds",
            "--wait",  # its name in release 0.1.0
            dest="wait_seconds",
            metavar="SECONDS",
            type=float,
            default=30,
            help="how long to wait for the host's answer",
        )


def _add_parameter_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    param = verbs.add_parser("param", help="read and write the named values that the host sees too")
    param.set_defaults(verb=_list_parameters)
    what = param.add_subparsers(metavar="WHAT")
    what.add_parser("list", help="print all").set_defaults(verb=_list_parameters)
    for word, verb in (("get", _get_parameter), ("set", _set_parameter), ("delete", _set_parameter)):
        named = what.add_parser(word)
        named.add_argument("name")
        named.set_defaults(verb=verb, value=None)
        if word == "set":
            named.add_argument("value")


def _list_parameters(places: Places, arguments: argparse.Namespace) -> int:
    return _ask(places, {"do": "parameters"}, 10.0)


def _get_parameter(places: Places, arguments: argparse.Namespace) -> int:
    return _ask(places, {"do": "get_parameter", "name": arguments.name}, 10.0)


def _set_parameter(places: Places, arguments: argparse.Namespace) -> int:
    return _ask(places, {"do": "set_parameter", "name": arguments.name, "value": arguments.value}, 10.0)


def _run(places: Places, arguments: argparse.Namespace) -> int:
    from innkeeper.agent.registry import find_plugin
    from innkeeper.agent.service import Agent

    agent = Agent(places, arguments.port)
    _go_first()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: agent.stop())
    agent.run(find_plugin(places, agent.journal))
    return 0


def _go_first() -> None:
    """Run before the servers that are spoken to through the agent; what it starts runs as ever."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    except (OSError, AttributeError):
        pass  # It is not root, as in a test; or its C library has no such call.


def _work(places: Places, arguments: argparse.Namespace) -> int:
    from innkeeper.agent.run import Run
    from innkeeper.agent.worker import work

    return work(places, Run(arguments.directory))


def _health(places: Places, arguments: argparse.Namespace) -> int:
    from innkeeper.agent.health import health

    print(json.dumps(health(places, arguments.history), indent=2))
    return 0


def _status(places: Places, arguments: argparse.Namespace) -> int:
    return _ask(places, {"do": "status"}, 10.0)


def _install(places: Places, arguments: argparse.Namespace) -> int:
    from innkeeper.agent.install import install

    print(install(places))
    return 0


def _uninstall(places: Places, arguments: argparse.Namespace) -> int:
    from innkeeper.agent.install import uninstall

    print(uninstall(places))
    return 0


def _book(places: Places, arguments: argparse.Namespace) -> int:
    request: Message = {
        "do": "book",
        "label": arguments.label,
        "identifier": arguments.identifier,
        "start": _seconds(arguments.start),
        "end": _seconds(arguments.end),
        "deadline": _seconds(arguments.deadline),
        "context": base64.b64encode(_context(arguments.context)).decode(),
    }
    return _ask(places, request, arguments.wait_seconds)


def _unbook(places: Places, arguments: argparse.Namespace) -> int:
    return _ask(places, {"do": "unbook", "identifier": arguments.identifier}, arguments.wait_seconds)


def _ask(places: Places, request: Message, timeout: float) -> int:
    try:
        answer = ask_agent(places.control, request, timeout)
    except OSError as exc:
        print(f"No agent answers at {places.control}: {exc.strerror}. Is it running?", file=sys.stderr)
        return NO_AGENT
    if answer is None:
        print("The host has not answered yet. The agent keeps the request and passes it on.", file=sys.stderr)
        return NO_ANSWER_YET
    if answer.get("error"):
        print(answer["error"], file=sys.stderr)
        return REFUSED
    return _tell(request, answer)


def _tell(request: Message, answer: Message) -> int:
    """Print an answer that is no refusal."""
    if request["do"] == "status":
        print(json.dumps(answer, indent=2))
    elif request["do"] == "parameters":
        for name, value in sorted(dict(answer["parameters"]).items()):  # type: ignore[call-overload]
            print("{}={}".format(name, value))
    elif request["do"] == "get_parameter":
        if answer["value"] is None:
            return REFUSED
        print(answer["value"])
    elif request["do"] in ("book", "unbook"):
        print("The host has accepted it.")
    return 0


def _seconds(text: Optional[str]) -> int:
    return parse_time(text, datetime.now(timezone.utc)) if text else 0


def _context(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode()
    try:
        with open(text[1:], "rb") as file:
            return file.read()
    except OSError as exc:
        raise PluginError(f"{text[1:]} cannot be read: {exc.strerror}.") from None
