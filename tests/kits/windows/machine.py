"""A Windows guest as far as the kit sees one, made after Microsoft's documentation: nobody here has one."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import unescape

from innkeeper.channels.kits.powershell import source
from tests.kits.windows.powershell.cmdlets import Named, commands
from tests.kits.windows.powershell.dotnet import Files, casts, statics
from tests.kits.windows.powershell.language import Command, Interpreter
from tests.kits.windows.powershell.values import Error, Record, Thrown, Unknown, Value
from tests.kits.windows.updates import Collection, Fields, Session, Update, history_entry

_CBS = r"software\microsoft\windows\currentversion\component based servicing\rebootpending"
_BOOT = dt.datetime(2026, 11, 2, 22, 0, tzinfo=dt.UTC)
KIT = "C:/Program Files/Innkeeper/kit/windows.ps1"
SCM = "Service Control Manager"


@dataclasses.dataclass
class Service:
    """A service."""

    name: str
    display: str
    mode: str = "Auto"
    state: str = "Running"
    pid: int = 0
    exit_code: int = 0
    delayed: bool = False
    triggered: bool = False
    of_users: bool = False
    path: str = r"C:\Windows\system32\svchost.exe -k netsvcs"
    #: Where it listens, as ``tcp/80``.
    ports: Sequence[str] = ()
    #: What becomes of it with the next update.
    breaks: bool = False


@dataclasses.dataclass
class Process:
    """A program that runs."""

    pid: int
    name: str
    parent: int = 4
    session: int = 0
    ports: Sequence[str] = ()
    age: int = 0


class Windows:
    """The guest: its clock stands still between questions."""

    def __init__(self) -> None:
        self.now = _BOOT + dt.timedelta(hours=3)
        self.booted = _BOOT
        self.stdin = b""
        self.printed: list[str] = []
        self.owners: dict[str, str] = {}
        self.is_wow64 = False
        self.files = Files(self)
        self.registry: dict[str, dict[str, Value]] = {
            r"software\microsoft\windows nt\currentversion": {
                "currentmajorversionnumber": 10,
                "currentminorversionnumber": 0,
                "currentbuildnumber": "20348",
                "ubr": 2031,
                "displayversion": "21H2",
            }
        }
        self.services = [
            Service("RpcSs", "Remote Procedure Call (RPC)", pid=800, ports=["tcp/135"]),
            Service(
                "W3SVC",
                "World Wide Web Publishing Service",
                pid=1200,
                ports=["tcp/80"],
                path=r"C:\web\w3.exe",
            ),
            Service("Shop", "Shop of Müller & Söhne", pid=1300, path=r'"C:\Program Files\Shop\shop.exe" -s'),
            Service("W32Time", "Windows Time", pid=1400, triggered=True),
            Service("sppsvc", "Software Protection", state="Stopped", delayed=True, triggered=True),
            Service("wuauserv", "Windows Update", mode="Manual", state="Stopped"),
            Service("CDPUserSvc_4a2b1", "Connected Devices Platform User Service", pid=1500, of_users=True),
        ]
        self.processes = [
            Process(4, "System", parent=0, ports=["tcp/445"]),
            Process(800, "svchost.exe"),
            Process(1200, "w3.exe"),
            Process(1300, "shop.exe"),
            Process(1310, "java.exe", parent=1300, ports=["tcp/8080", "udp/50000"]),
            Process(1400, "svchost.exe", ports=["udp/123"]),
            Process(2000, "explorer.exe", session=1),
            Process(2010, "chat.exe", parent=2000, session=1, ports=["tcp/9000"]),
        ]
        #: Events of the log: time, provider, number and properties.
        self.events: list[tuple[dt.datetime, str, int, Sequence[str]]] = []
        self.volumes = ["C:\\", "D:\\", "\\\\?\\Volume{0000}\\"]
        #: Name, kind of interface, whether it is hardware, and what its media says, by number.
        self.adapters: dict[int, tuple[str, int, bool, int]] = {
            4: ("Ethernet", 6, True, 1),
            9: ("vEthernet (nat)", 6, False, 1),
        }
        #: Network, next hop and interface.
        self.routes = [
            ("0.0.0.0/0", "192.0.2.1", 4),
            ("192.0.2.0/24", "0.0.0.0", 4),
            ("192.0.2.7/32", "0.0.0.0", 4),
            ("224.0.0.0/4", "0.0.0.0", 4),
            ("198.51.100.0/24", "192.0.2.9", 4),
            ("172.20.0.0/20", "0.0.0.0", 9),
            ("0.0.0.0/0", "0.0.0.0", 30),
            ("::/0", "fe80::1", 4),
            ("2001:db8::/64", "::", 4),
            ("2001:db8::7/128", "::", 4),
            ("fe80::/64", "::", 4),
            ("127.0.0.0/8", "0.0.0.0", 1),
        ]
        self.updates: list[Update] = []
        self.history: list[Fields] = []
        self.search_code = 0
        self.search_warnings: list[int] = []
        self.must_reboot_first = False
        self.busy_looks = 0
        self.workers: dict[str, str] = {}
        #: Whether the Task Scheduler starts what it is told to at once.
        self.starts_workers = True
        self.is_log_broken = False
        #: What happens when it waits the next time.
        self.on_sleep: Callable[[], None] | None = None
        self.never_comes_back = False
        self.is_down = False
        self.boots = 0

    # Questions

    def ask(self, verb: str, *words: str, stdin: bytes = b"") -> bytes:
        """Run the kit, and return what it prints."""
        printed = self._printed(verb, *words, stdin=stdin)
        self._work()
        return printed.encode("ascii")

    def _printed(self, *arguments: str, stdin: bytes = b"") -> str:
        # A question may be asked while a worker is at it.
        others = self.stdin, self.printed
        self.stdin, self.printed = stdin, []
        try:
            self._run(*arguments)
            return "".join(self.printed)
        finally:
            self.stdin, self.printed = others

    def answer(self, verb: str, *words: str, stdin: bytes = b"") -> Mapping[str, object]:
        """Ask, and read the answer."""
        found = json.loads(self.ask(verb, *words, stdin=stdin))
        assert isinstance(found, dict)
        return found

    def _run(self, *arguments: str) -> None:
        interpreter = Interpreter(self._commands(), statics(self, self.files), casts())
        interpreter.scopes[0]["pscommandpath"] = KIT
        interpreter.run(source(), arguments)

    def _work(self) -> None:
        while self.starts_workers and self.workers:
            name = next(iter(self.workers))
            folder = self.workers.pop(name)
            assert not self._printed("work", folder), "a worker prints what nobody reads"

    def print(self, words: str) -> None:
        """Take what is written to standard output."""
        self.printed.append(words)

    # What happens to it

    def installed(self, update: Update) -> None:
        """Install an update, or fail to."""
        self.now += dt.timedelta(minutes=4)
        update.is_installed = not update.install_code
        self.history.append(history_entry(update, self.now, update.install_code))
        if update.is_installed and update.wants_reboot:
            self.registry[_CBS] = {}

    def reboot(self, seconds: int = 600) -> None:
        """Go down and come up, with what was to be put in place or taken back."""
        self.boots += 1
        self.registry.pop(_CBS, None)
        for path in [path for path, values in self.registry.items() if "(volatile)" in values]:
            del self.registry[path]
        self.now += dt.timedelta(seconds=seconds)
        self.booted, self.is_down = self.now - dt.timedelta(seconds=90), False
        self.workers.clear()
        for update in self.updates:
            if update.is_installed and update.taken_back:
                update.is_installed = False
                self.history.append(history_entry(update, self.now, update.taken_back))
        for service in self.services:
            if service.breaks:
                service.state, service.exit_code, service.pid = "Stopped", 1067, 0
        broken = {service.pid for service in self.services if service.breaks}
        self.processes = [one for one in self.processes if not one.session and one.pid not in broken]

    # Commands

    def _commands(self) -> Mapping[str, Command]:
        own: dict[str, Command] = {
            "get-ciminstance": self._cim,
            "invoke-cimmethod": self._cim_method,
            "get-winevent": self._win_events,
            "get-nettcpconnection": functools.partial(self._sockets, "tcp"),
            "get-netudpendpoint": functools.partial(self._sockets, "udp"),
            "get-nettcpsetting": self._tcp_settings,
            "get-netadapter": self._adapters,
            "get-netroute": self._routes,
            "get-service": self._get_service,
            "new-comobject": self._new_com,
            "register-scheduledtask": self._register,
            "start-scheduledtask": self._start,
            "unregister-scheduledtask": self._unregister,
            "start-process": self._start_process,
            "set-date": self._set_date,
        }
        return commands(self, self.files) | own

    def _cim(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        kinds = {
            "Win32_OperatingSystem": self._system,
            "Win32_Process": self._process_rows,
            "Win32_Service": self._service_rows,
            "Win32_Volume": self._volume_rows,
        }
        rows = list(kinds[named["classname"]]())
        condition = named.get("filter", "")
        if not condition or condition == "DriveType=3":
            return rows
        names = re.findall(r"Name='((?:\\.|[^'])*)'", condition)
        return [row for row in rows if row.get("name") in [re.sub(r"\\(.)", r"\1", name) for name in names]]

    def _system(self) -> Iterator[Record]:
        yield Record(
            caption="Microsoft Windows Server 2022 Standard ",
            version="10.0.20348",
            buildnumber="20348",
            producttype=3,
            lastbootuptime=self.booted,
        )

    def _process_rows(self) -> Iterator[Record]:
        for one in self.processes:
            yield Record(
                processid=one.pid,
                parentprocessid=one.parent,
                name=one.name,
                sessionid=one.session,
                creationdate=None if one.pid == 4 else self.booted + dt.timedelta(seconds=20),
            )

    def _service_rows(self) -> Iterator[Record]:
        for one in self.services:
            key = rf"system\currentcontrolset\services\{one.name.lower()}"
            self.registry[key] = {"type": 0xE0 if one.of_users else 0x10}
            if one.triggered:
                self.registry[key + r"\triggerinfo"] = {}
            yield Record(
                name=one.name,
                displayname=one.display,
                startmode=one.mode,
                state=one.state,
                processid=one.pid,
                exitcode=one.exit_code,
                delayedautostart=one.delayed,
                pathname=one.path,
            )

    def _volume_rows(self) -> Iterator[Record]:
        for place in self.volumes:
            yield Record(name=place, filesystem="NTFS", access=None)

    def _sockets(
        self, protocol: str, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        running = (service for service in self.services if service.state == "Running")
        owners: list[Process | Service] = [*self.processes, *running]
        pairs = [(one.pid, port.partition("/")) for one in owners for port in one.ports]
        return [
            Record(localaddress=address, localport=int(port), owningprocess=pid)
            for pid, (kind, _, port) in pairs
            for address in ("0.0.0.0", "fe80::1%5")
            if kind == protocol
        ]

    def _tcp_settings(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        return [Record(dynamicportrangestartport=49152, dynamicportrangenumberofports=16384)]

    def _adapters(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        return [
            Record(
                interfaceindex=number,
                name=name,
                interfacetype=kind,
                hardwareinterface=is_hardware,
                mediaconnectstate=media,
            )
            for number, (name, kind, is_hardware, media) in self.adapters.items()
        ]

    def _routes(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        assert named == {"policystore": "ActiveStore"}
        return [
            Record(
                destinationprefix=network,
                nexthop=hop,
                interfaceindex=number,
                interfacealias=self.adapters[number][0] if number in self.adapters else f"Interface {number}",
            )
            for network, hop, number in self.routes
        ]

    def _win_events(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        wanted = named["filterhashtable"]
        provider = wanted["ProviderName"]
        found = [
            Record(
                timecreated=at,
                providername=source_,
                id=number,
                properties=[Record(value=value) for value in properties],
                message=f"The {properties[0]} service says {number}.\nMore of it.",
            )
            for at, source_, number, properties in self.events
            if at >= wanted["StartTime"] and (provider is None) == (source_ != SCM)
            if not wanted.has("Id") or number in wanted["Id"]
        ]
        if self.is_log_broken:
            raise Thrown(Error("exception", "The event log service is not there"), "Other,Get-WinEvent")
        if not found and "erroraction" not in named:
            raise Thrown(Error("exception", "No events were found"), "NoMatchingEventsFound,Get-WinEvent")
        return found

    def _get_service(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        return []

    def _cim_method(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        return [Record(user="ana", domain="SRV-1")]

    def _new_com(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        made: dict[str, Callable[[], Value]] = {
            "Microsoft.Update.Session": lambda: Session(self),
            "Microsoft.Update.UpdateColl": Collection,
            "Microsoft.Update.SystemInfo": lambda: Fields(RebootRequired=_CBS in self.registry),
        }
        return [made[given[0]]()]

    def _register(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        arguments = unescape(re.findall("<Arguments>(.*)</Arguments>", named["xml"])[0])
        found = re.fullmatch(
            r'-NoProfile -NonInteractive -ExecutionPolicy Bypass -File "(.*)" work "(.*)"', arguments
        )
        assert found is not None
        assert found.group(1) == KIT
        self.registry["task " + named["taskname"]] = {"folder": found.group(2)}
        return [Record("task")]

    def _start(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        self.workers[named["taskname"]] = self.registry["task " + named["taskname"]]["folder"]
        return []

    def _unregister(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        del self.registry["task " + named["taskname"]]
        return []

    def _start_process(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        assert named["filepath"].endswith("/shutdown.exe")
        self.is_down = True
        return [Record("process", exitcode=0)]

    def _set_date(
        self, interpreter: Interpreter, given: list[Value], named: Named, piped: list[Value]
    ) -> list[Value]:
        # Windows tells the time of its boot anew by its new clock.
        self.booted += named["date"] - self.now
        self.now = named["date"]
        return [self.now]

    # For tests

    def service(self, name: str) -> Service:
        """Return a service."""
        return next(one for one in self.services if one.name == name)

    def happens(self, number: int, service: str, *rest: str) -> None:
        """Log an event of the service control manager's."""
        self.events.append((self.now, SCM, number, [self.service(service).display, *rest]))

    @contextlib.contextmanager
    def worker_dies(self) -> Iterator[None]:
        """Let whoever works die within: what it held is let go."""
        try:
            yield
        except Killed:
            self.files.held.clear()


class Killed(Exception):
    """The power failed, or somebody ended the process."""


__all__ = ["Killed", "Process", "Service", "Unknown", "Windows"]
