"""LDAP directories as realms."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

import ldap
import ldap.dn
import ldap.filter

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.identity.realms import Known
from innkeeper.realms.closed_entries import CLOSING_ATTRIBUTES, is_closed, values_of
from innkeeper.realms.recollections import Recollections

_THREADS: Final = 4
#: What an entry keeps when its name changes, and no other entry ever has: of RFC 4530 (OpenLDAP), of Active
#: Directory, of 389 Directory Server.
_ID_ATTRIBUTES: Final = ("entryUUID", "objectGUID", "nsUniqueId")

_NOT_RIGHT: Final = (ldap.INVALID_CREDENTIALS, ldap.UNWILLING_TO_PERFORM, ldap.INAPPROPRIATE_AUTH)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Directory:
    """Address of a directory, and how people are found in it."""

    #: The realm's name.
    name: str
    #: ``ldaps://host``, or ``ldap://host`` with StartTLS.
    url: str
    #: Where people are found, and how; ``{user}`` stands for the name.
    base: str
    user_filter: str = "(uid={user})"
    #: The attribute that says how a name is spelled.
    user_attribute: str = "uid"
    #: Where groups are found; empty for the attribute ``memberOf`` of people.
    group_base: str = ""
    #: ``{dn}`` stands for the person, ``{user}`` for their name.
    group_filter: str = "(|(member={dn})(memberUid={user}))"
    group_attribute: str = "cn"
    #: As whom to look; anonymously where nothing is said.
    bind_dn: str = ""
    bind_password: str = dataclasses.field(default="", repr=False)
    #: The authorities that its certificate is checked by; the system's where nothing is said.
    ca_file: Path | None = None
    #: Only ``False`` for a test: passwords would travel in the clear.
    start_tls: bool = True
    timeout_seconds: float = 10.0


class DirectoryRealm:
    """A directory's people: found by their names, proven by binding as them."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="innkeeper-ldap")
        self._recollections = Recollections()

    @property
    def name(self) -> str:
        """The realm's name."""
        return self._directory.name

    async def check(self, user: str, password: str) -> Known | None:
        """Return whom this name and password are for. Raises ``ServiceError`` where the directory is away."""
        # A bind without a password is anonymous, and succeeds: it proves nothing.
        if not user or not password or "\0" in user + password:
            return None
        return await self._in_thread(lambda: self._check(user, password))

    async def recall(self, known: Known) -> Known | None:
        """The person as the directory has them now; for a while as they were, where it is away."""
        return await self._recollections.recall(
            known, lambda: self._in_thread(lambda: self._recall(known.user))
        )

    def _check(self, user: str, password: str) -> Known | None:
        with self._connected() as connection:
            self._bind(connection)
            person = self._find(connection, user)
            # Also for nobody: whether a second question follows is seen on the wire, and in the time.
            dn = person.dn if person else f"cn=nobody,{self._directory.base}"
            try:
                connection.simple_bind_s(dn, password)
            except _NOT_RIGHT:
                return None
            except ldap.LDAPError:
                if person is not None:
                    raise
            if person is None:
                return None
            self._bind(connection)
            return self._known(connection, person)

    def _recall(self, user: str) -> Known | None:
        with self._connected() as connection:
            self._bind(connection)
            person = self._find(connection, user)
            return None if person is None else self._known(connection, person)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Any]:
        """A connection that is private to whoever has it, and speaks TLS."""
        directory = self._directory
        try:
            connection = ldap.initialize(directory.url)
            for option in (ldap.OPT_NETWORK_TIMEOUT, ldap.OPT_TIMEOUT):
                connection.set_option(option, directory.timeout_seconds)
            connection.set_option(ldap.OPT_REFERRALS, 0)
            connection.set_option(ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND)
            if directory.ca_file is not None:
                connection.set_option(ldap.OPT_X_TLS_CACERTFILE, str(directory.ca_file))
            connection.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
            if directory.start_tls and directory.url.startswith("ldap://"):
                connection.start_tls_s()
            try:
                yield connection
            finally:
                connection.unbind_s()
        except ldap.LDAPError as error:
            raise self._away(error) from error

    def _bind(self, connection: Any) -> None:
        connection.simple_bind_s(self._directory.bind_dn, self._directory.bind_password)

    def _find(self, connection: Any, user: str) -> _Person | None:
        """Return the one person of this name; two of one name are nobody, and so is a closed entry."""
        directory = self._directory
        wanted = _filled(directory.user_filter, user=user)
        attributes = [directory.user_attribute, "memberOf", *_ID_ATTRIBUTES, *CLOSING_ATTRIBUTES]
        found = connection.search_ext_s(directory.base, ldap.SCOPE_SUBTREE, wanted, attributes, sizelimit=3)
        people = [(dn, values) for dn, values in found if dn is not None]
        if len(people) != 1:
            return None
        dn, values = people[0]
        if is_closed(values, dt.datetime.now(dt.UTC)):
            return None
        spelled = _texts(values, directory.user_attribute)
        return _Person(
            dn=dn,
            name=spelled[0] if spelled else user,
            groups=tuple(_texts(values, "memberOf")),
            version=_id_of(values),
        )

    def _known(self, connection: Any, person: _Person) -> Known:
        directory = self._directory
        if not directory.group_base:
            groups = frozenset(map(_first_value, person.groups))
            return Known(user=person.name, groups=groups, version=person.version)
        wanted = _filled(directory.group_filter, user=person.name, dn=person.dn)
        found = connection.search_ext_s(
            directory.group_base, ldap.SCOPE_SUBTREE, wanted, [directory.group_attribute]
        )
        named = (_texts(values, directory.group_attribute) for dn, values in found if dn is not None)
        groups = frozenset(names[0] for names in named if names)
        return Known(user=person.name, groups=groups, version=person.version)

    def _away(self, error: ldap.LDAPError) -> ServiceError:
        told = error.args[0] if error.args and isinstance(error.args[0], dict) else {}
        why = " ".join(str(told[key]) for key in ("desc", "info") if told.get(key))
        return ServiceError(
            f"The directory of {self.name} cannot be asked: {why or type(error).__name__}.",
            code=ErrorCode.SCHED_E_NO_SECURITY_SERVICES,
            advice=f"See that {self._directory.url} answers, and that its certificate is trusted.",
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Person:
    dn: str
    name: str
    groups: tuple[str, ...]
    version: str


def _filled(pattern: str, **names: str) -> str:
    """Return the filter with names put in, and every special character of theirs escaped."""
    for name, value in names.items():
        pattern = pattern.replace(f"{{{name}}}", ldap.filter.escape_filter_chars(value))
    return pattern


def _texts(values: Mapping[str, Sequence[bytes]], attribute: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values_of(values, attribute)]


def _id_of(values: Mapping[str, Sequence[bytes]]) -> str:
    """Return what tells the entry from all others, ever; empty where the directory does not say it."""
    found = (values_of(values, attribute) for attribute in _ID_ATTRIBUTES)
    return next((each[0].hex() for each in found if each), "")


def _first_value(dn: str) -> str:
    """Return the first value of a distinguished name: ``Operators`` of ``cn=Operators,ou=groups,dc=lab``."""
    try:
        return str(ldap.dn.str2dn(dn)[0][0][1])
    except (ldap.DECODING_ERROR, IndexError):
        return dn
