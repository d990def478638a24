"""A real directory for the tests: OpenLDAP's slapd, run by whoever runs the tests."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from innkeeper.server.identity.certificates import self_made

SLAPD = Path("/usr/sbin/slapd")

#: The password of everybody in it.
PASSWORD = "tr0ub4dor and three"

_PEOPLE = f"""
dn: dc=lab
objectClass: dcObject
objectClass: organization
dc: lab
o: Lab

dn: ou=people,dc=lab
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=lab
objectClass: organizationalUnit
ou: groups

dn: uid=ana,ou=people,dc=lab
objectClass: inetOrgPerson
objectClass: extensibleObject
uid: ana
cn: Ana
sn: Alvarez
userPassword: {PASSWORD}

dn: uid=bob(the)*builder,ou=people,dc=lab
objectClass: inetOrgPerson
uid: bob(the)*builder
cn: Bob
sn: Builder
userPassword: {PASSWORD}

dn: uid=twin,ou=people,dc=lab
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: One
userPassword: {PASSWORD}

dn: uid=twin,ou=groups,dc=lab
objectClass: inetOrgPerson
uid: twin
cn: Twin
sn: Two
userPassword: {PASSWORD}

dn: cn=Operators,ou=groups,dc=lab
objectClass: groupOfNames
cn: Operators
member: uid=ana,ou=people,dc=lab

dn: cn=Admins,ou=groups,dc=lab
objectClass: groupOfNames
cn: Admins
member: uid=twin,ou=people,dc=lab
"""

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
attributetype ( 1.2.840.113556.1.4.8 NAME 'userAccountControl'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.159 NAME 'accountExpires'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 2.16.840.1.113730.3.1.610 NAME 'nsAccountLock'
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {home}/slapd.pid
TLSCertificateFile {home}/tls/certificate.pem
TLSCertificateKeyFile {home}/tls/key.pem
database mdb
suffix dc=lab
rootdn cn=root,dc=lab
rootpw "root password"
directory {home}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


@dataclasses.dataclass
class Slapd:
    """A directory that answers."""

    home: Path
    port: int
    tls_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def certificate(self) -> Path:
        """What to check its certificate by."""
        return self.home / "tls" / "certificate.pem"

    @property
    def url(self) -> str:
        """Without TLS, or with StartTLS."""
        return f"ldap://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """With TLS from the first byte."""
        return f"ldaps://127.0.0.1:{self.tls_port}"

    def start(self) -> None:
        """Run it, and wait until it answers."""
        configuration, doors = str(self.home / "slapd.conf"), f"{self.url}/ {self.tls_url}/"
        command = [str(SLAPD), "-f", configuration, "-h", doors, "-d", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls_port)):
                return
            time.sleep(0.05)
        raise AssertionError("slapd does not answer")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def change(self, ldif: str) -> None:
        """Change what is in it."""
        command = ["ldapmodify", "-x", "-H", self.url, "-D", "cn=root,dc=lab", "-w", "root password"]
        subprocess.run(command, input=ldif.encode(), check=True, capture_output=True)


@contextlib.contextmanager
def running_slapd(home: Path) -> Iterator[Slapd]:
    """A directory with a few people in it."""
    self_made(home / "tls", ["127.0.0.1"])
    (home / "data").mkdir()
    (home / "slapd.conf").write_text(_CONFIG.format(home=home))
    command = ["/usr/sbin/slapadd", "-f", str(home / "slapd.conf")]
    subprocess.run(command, input=_PEOPLE.encode(), check=True, capture_output=True)
    slapd = Slapd(home, free_port(), free_port())
    slapd.start()
    try:
        yield slapd
    finally:
        slapd.stop()


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
