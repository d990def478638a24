"""Settings of the service: file, then environment, then command line; the later wins."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
import os
import re
import socket
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.identity.realm_settings import KerberosSettings, LdapSettings, PamSettings
from innkeeper.updates.policy import Policy
from innkeeper.wire.places import SYSTEM_STATE_DIR, default_socket, default_state_dir

#: The longest path that fits a Unix socket's address on Linux.
MAX_SOCKET_PATH_BYTES = 107
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: The settings that the environment can set, each with what parts the values of one that is a list.
ENVIRONMENT: Mapping[str, str] = {
    "state_dir": "",
    "socket": "",
    "socket_group": "",
    "database": "",
    "database_events": "",
    "server_name": "",
    "hypervisors": " ",
    "listen": " ",
    "disk_roots": ":",
}


class FakeSettings(BaseModel):
    """Settings of the simulated hypervisor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: How many machines each host has.
    machines: int = Field(default=3, ge=1, le=100_000)
    #: How many hosts there are (`attic`, `cellar` …). If not set: one, called `fake`.
    hosts: int | None = Field(default=None, ge=1, le=10_000)
    #: The number of the first of these hosts: another server may have those before it.
    first_host: int = Field(default=1, ge=1, le=1_000_000)
    #: What everything made up follows from: machines, their memory and paces, how updates go, failures.
    seed: int = 0
    #: The directory of hosts and clock; servers that use the same one share both. If not set: `fake` in the
    #: state directory. A line such as `cellar hung` in its file `failures` makes a host fail: `away`, `hung`,
    #: `slow`, `full` or `flapping`, until `cellar none`.
    fleet: Path | None = None
    #: How many failures each host has in a simulated day, on average, by the seed.
    failures_a_day: float = Field(default=0.0, ge=0, le=1000)
    #: Write down every act on a machine, in the file `ledger.jsonl` of its host.
    ledger: bool = False
    #: How many times faster than the wall clock its time goes; in a `fleet`, by the first server's word.
    speed: float = Field(default=60.0, gt=0, le=100_000)
    #: Simulate activity too: a window every night, updates booked for it, scheduled tasks.
    lively: bool = False


class Settings(BaseModel):
    """Settings of the service."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: Where everything that must outlive the service is kept.
    state_dir: Path
    #: The local socket.
    socket: Path
    #: The group whose members may use the local socket, besides root and the service's own user. By scheduled
    #: tasks its members can run programs as the service's user: give it to administrators alone.
    socket_group: str | None = None
    #: Users who may use the local socket too.
    socket_users: tuple[str, ...] = ()
    #: The role of that group's members and of these users: ``viewer``, ``operator`` or ``administrator``.
    socket_role: Literal["viewer", "operator", "administrator"] = "administrator"
    #: Where to listen for other computers: ``HOST:PORT``, or ``:PORT`` for all addresses.
    listen: tuple[str, ...] = ()
    #: The certificate for that, as a PEM file; one is created and kept where none is named.
    tls_certificate: Path | None = None
    #: The certificate's key; in the certificate's file if not set.
    tls_key: Path | None = None
    #: Whether to use TLS for ``listen``; if not set, everywhere but on the loopback without a certificate.
    tls: bool | None = None
    #: Lets this computer's users log in from other computers too.
    pam: PamSettings | None = None
    #: LDAP directories whose users may log in.
    ldap: tuple[LdapSettings, ...] = ()
    #: Kerberos realms whose users may log in.
    kerberos: tuple[KerberosSettings, ...] = ()
    #: More names by which browsers and programs reach the service, such as that of a proxy before it. This
    #: computer's name, those of `listen` and of the certificate, and addresses are known.
    host_names: tuple[str, ...] = ()
    #: Addresses or networks of reverse proxies before the service: they say whose request it is, and whether
    #: it came by TLS. Nobody else is believed.
    trusted_proxies: tuple[str, ...] = ()
    #: The header by which they say so: ``X-Forwarded-For`` (with ``X-Forwarded-Proto``) or ``Forwarded``. The
    #: other one is not read: a proxy that does not set it passes on what callers write there.
    proxy_header: Literal["X-Forwarded-For", "Forwarded"] = "X-Forwarded-For"
    #: Connections from other computers at once; as many at the local socket, where root and the service's own
    #: user have places beside.
    max_connections: int = Field(default=2000, ge=1)
    #: Of these, connections from one address, or of one user at the local socket; trusted proxies may have
    #: them all, and each caller behind them this many requests at once.
    max_connections_from_one: int = Field(default=500, ge=1)
    #: Hours after which a session that is not used ends.
    session_idle_hours: float = Field(default=12.0, gt=0)
    #: Days after which each session ends.
    session_days: float = Field(default=7.0, gt=0)
    #: Characters that a new password of an account of Innkeeper's own has at least.
    shortest_password: int = Field(default=10, ge=8, le=128)
    #: Whether new passwords that are guessed first are refused: common words with digits, keys in a row.
    refuse_common_passwords: bool = True
    #: A text file of passwords that are refused too, one a line, such as those of a breach.
    refused_passwords: Path | None = None
    #: libvirt URIs of the hosts, each with a name of your own before it if you like (`attic=qemu+ssh://…`);
    #: empty for this computer's own: the system's libvirt where it answers, else the embedded driver.
    hypervisors: tuple[str, ...] = ()
    #: Where tasks, bookings and windows are kept; a file in the state directory if not set.
    database: str | None = None
    #: The same database by an address without a pooler before it, for the one connection that hears of events
    #: as they happen; ``database`` if not set. For PgBouncer in transaction mode, which lets nobody listen.
    database_events: str | None = None
    #: This server's name among those that share a PostgreSQL database; this computer's name if not set.
    #: 1 to 63 letters, digits, dots, dashes and underscores; the first is a letter or a digit.
    server_name: str | None = None
    #: Where to listen for the other servers on a shared database: ``HOST:PORT``, or ``:PORT`` for all
    #: addresses. If not set: ``:9465``, and a free port of the loopback for simulated hosts. Without effect
    #: on SQLite.
    peer_listen: str | None = None
    #: The address (``HOST:PORT``) under which other servers reach that, where it is not the one that it is
    #: listened on, or that the database sees this computer under.
    peer_address: str | None = None
    #: Names or URIs of hosts, among those of ``hypervisors``, that this server looks after only while no
    #: other server that has them can, and that it gives back as soon as nothing is in flight there.
    stand_in_for: tuple[str, ...] = ()
    #: How long a host, and a server's name, stay with a server that shows no sign of life any more. Shorter,
    #: a paused computer loses its hosts sooner.
    lease_seconds: float = Field(default=30.0, ge=3, le=3600)
    #: Limits and time-outs of update runs.
    policy: Policy = Policy()
    #: The folders (with their subfolders) in which the service works on virtual hard disks: no path leads it
    #: elsewhere. If not set: ``disks`` in the state directory, and libvirt's own images.
    disk_roots: tuple[Path, ...] | None = None
    #: The directory of the channels' sockets; if not set, ``pipes`` beside the local socket.
    pipes: Path | None = None
    #: Use the simulated hypervisor.
    fake: FakeSettings | None = None
    #: When the computer's own maintenance begins each day, by its wall clock: scheduled tasks with
    #: maintenance settings run then.
    maintenance_start: dt.time = dt.time(3, 0)
    #: Length of that maintenance in minutes.
    maintenance_minutes: int = Field(default=60, ge=1, le=24 * 60)
    #: Days that ended tasks, their logs and reports are kept.
    history_days: int = Field(default=400, ge=1)
    #: Apply each running machine's shutdown action when the service ends in order; machines keep running
    #: where this is not set.
    shutdown_actions: bool = False
    #: How long one machine may take for its shutdown action, in seconds; set systemd's ``TimeoutStopSec``
    #: higher.
    shutdown_seconds: float = Field(default=60.0, gt=0, le=3600)
    #: Log lines as JSON; if not set, text on a terminal and JSON elsewhere.
    log_json: bool | None = None

    @property
    def database_url(self) -> str:
        """The database as a SQLAlchemy URL."""
        return self.database or f"sqlite:///{self.state_dir / 'innkeeper.sqlite'}"

    @property
    def peer_address_to_listen_on(self) -> str:
        """Where to listen for the other servers."""
        return self.peer_listen or (":9465" if self.fake is None else "127.0.0.1:0")

    @property
    def own_name(self) -> str:
        """This server's name among those that share its database."""
        return self.server_name or socket.gethostname()

    @property
    def pipe_directory(self) -> Path:
        """Directory of the channels' sockets: beside the local socket, one for each service."""
        if self.pipes is not None:
            return self.pipes
        door = self.socket.stem
        return self.socket.with_name("pipes" if door == "innkeeper" else f"{door}-pipes")

    @property
    def disk_folders(self) -> tuple[Path, ...]:
        """Folders of the virtual hard disks that the service may work on."""
        if self.disk_roots is not None:
            return self.disk_roots
        return (self.state_dir / "disks", Path("/var/lib/libvirt/images"))


def load(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """Load the settings. Raises ``InvalidArgument`` naming what is wrong, and where."""
    uid = os.getuid()
    settled: dict[str, object] = {
        "state_dir": default_state_dir(environ, uid),
        "socket": default_socket(environ, uid),
    }
    file = file or _default_file(environ, uid)
    if file is not None:
        settled |= _read(file)
    settled |= _from_environment(environ)
    settled |= {name: value for name, value in (flags or {}).items() if value is not None}
    if settled.get("fake") is not None:
        _set_apart(settled, flags or {})
    try:
        settings = TypeAdapter(Settings).validate_python(settled)
    except ValidationError as error:
        raise _explained(error, file) from error
    _refuse_long_socket(settings.socket)
    _refuse_server_name(settings.server_name, file)
    _refuse_policy(settings.policy, file)
    return settings


def _set_apart(settled: dict[str, object], flags: Mapping[str, object]) -> None:
    """Keep the state of simulated machines from that of real ones; servers with a name share hosts alone."""
    name = settled.get("server_name")
    place = Path(f"{settled['state_dir']}-fake")
    if flags.get("state_dir") is None:
        settled["state_dir"] = place / "servers" / str(name) if name else place
        if name and isinstance(fake := settled["fake"], dict):
            settled["fake"] = {"fleet": place / "fleet", **fake}
    if name and flags.get("socket") is None:
        settled["socket"] = Path(str(settled["state_dir"])) / "innkeeper.sock"


def _default_file(environ: Mapping[str, str], uid: int) -> Path | None:
    """Return the system's file for the system's service, else the user's own; ``None`` where missing."""
    config = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/')}/.config"
    serves_system = default_state_dir(environ, uid) == SYSTEM_STATE_DIR
    file = Path("/etc" if serves_system else config) / "innkeeper" / "innkeeper.toml"
    return file if file.is_file() else None


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise InvalidArgument(
            f"The settings file {file} cannot be read: {error.strerror}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Give the path of a readable file to --config.",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(
            f"The settings file {file} is not TOML: {error}.",
            advice="Correct the line that the message names.",
        ) from error


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    return {
        name: tuple(value.split(None if parting == " " else parting)) if parting else value
        for name, parting in ENVIRONMENT.items()
        if (value := environ.get(variable_of(name)))
    }


def variable_of(setting: str) -> str:
    """Return the environment variable of a setting in ``ENVIRONMENT``."""
    return f"INNKEEPER_{setting.upper()}"


def _explained(error: ValidationError, file: Path | None) -> InvalidArgument:
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"])) or "settings"
    table, known = _table_of(first["loc"])
    is_unknown = first["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    fault = "is not known" if is_unknown else f"is not valid: {first['msg']}"
    where = f"The settings of [{table}] are" if table else "The settings are"
    return InvalidArgument(
        f"The setting “{name}” {fault}{_in_file(file)}.", advice=f"{where}: {', '.join(known)}."
    )


def _in_file(file: Path | None) -> str:
    return f" (settings file {file})" if file else ""


def _table_of(place: Sequence[int | str]) -> tuple[str, Sequence[str]]:
    """The innermost table that a setting is in, and the names of its settings."""
    table: list[str] = []
    names = _settings_of(Settings)
    for part in place[:-1]:
        inner = names.get(str(part))
        if inner is None or not (found := _settings_of(inner)):
            break
        table.append(str(part))
        names = found
    return ".".join(table), [*names]


def _settings_of(kind: object) -> Mapping[str, object]:
    """The types of a table's settings by name; none where ``kind`` is no table."""
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and (dataclasses.is_dataclass(each) or issubclass(each, BaseModel)):
            return (
                get_type_hints(each, include_extras=False)
                if dataclasses.is_dataclass(each)
                else {name: field.annotation for name, field in each.model_fields.items()}
            )
    return {}


def _refuse_policy(policy: Policy, file: Path | None) -> None:
    """Raises ``InvalidArgument`` for values of the right type that can mean nothing."""
    for table, rules in (("policy", policy), ("policy.memory", policy.memory), ("policy.undo", policy.undo)):
        for field in dataclasses.fields(rules):
            value = getattr(rules, field.name)
            if isinstance(value, (int, float)) and not 0 <= value < math.inf:
                raise _impossible(f"{table}.{field.name}", f"{value} is no number from 0 on", file)
    if not all(label.strip() for label in policy.undo_points):
        raise _impossible("policy.undo_points", "a label in it is empty", file)
    directory = policy.undo.undo_directory
    if directory and not directory.startswith("/"):
        raise _impossible("policy.undo.undo_directory", f"{directory} is no absolute path", file)


def _impossible(name: str, fault: str, file: Path | None) -> InvalidArgument:
    return InvalidArgument(
        f"The setting “{name}” is not valid: {fault}{_in_file(file)}.",
        advice="Correct it, or leave it out for what is usual.",
    )


def _refuse_server_name(name: str | None, file: Path | None) -> None:
    if name is not None and not _SERVER_NAME.fullmatch(name):
        raise InvalidArgument(
            f"The setting “server_name” is not valid: “{name}”{_in_file(file)}.",
            advice="Write 1 to 63 letters (a to z, A to Z), digits, dots, dashes and underscores; the "
            "first is a letter or a digit.",
        )


def _refuse_long_socket(socket: Path) -> None:
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH_BYTES:
        raise InvalidArgument(
            f"The socket's path {socket} is longer than the {MAX_SOCKET_PATH_BYTES} bytes that Linux allows.",
            advice="Name a shorter one with --socket or INNKEEPER_SOCKET.",
        )
