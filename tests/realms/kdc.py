"""A real Kerberos realm for the tests: MIT's KDC, run by whoever runs the tests."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.realms.slapd import free_port

KDC = Path("/usr/sbin/krb5kdc")
REALM = "INN.TEST"
PASSWORD = "a ticket please"

_CLIENT = """
[libdefaults]
default_realm = {realm}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{realm} = {{
    kdc = 127.0.0.1:{port}
}}
[domain_realm]
localhost = {realm}
127.0.0.1 = {realm}
"""

_SERVER = """
[kdcdefaults]
kdc_ports = {port}
kdc_tcp_ports = {port}
[realms]
{realm} = {{
    database_name = {home}/principal
    key_stash_file = {home}/stash
    acl_file = {home}/acl
}}
"""


@dataclasses.dataclass
class Kdc:
    """A realm with a user ``ana`` and a service ``HTTP/localhost``."""

    home: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def keytab(self) -> Path:
        """The service's key."""
        return self.home / "http.keytab"

    def kinit(self) -> None:
        """Get a ticket for ana."""
        subprocess.run(
            ["kinit", f"ana@{REALM}"],
            input=f"{PASSWORD}\n".encode(),
            check=True,
            capture_output=True,
            env=os.environ | self.environment,
        )

    def start(self) -> None:
        """Run it, and wait until it gives tickets."""
        self.process = subprocess.Popen(
            [KDC, "-n"],
            env=os.environ | self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.kinit()
                return
            time.sleep(0.1)
        raise AssertionError("the KDC gives no ticket")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def running_kdc(home: Path) -> Iterator[Kdc]:
    """A realm of its own."""
    port = free_port()
    (home / "krb5.conf").write_text(_CLIENT.format(realm=REALM, port=port))
    (home / "kdc.conf").write_text(_SERVER.format(realm=REALM, port=port, home=home))
    environment = {
        "KRB5_CONFIG": str(home / "krb5.conf"),
        "KRB5_KDC_PROFILE": str(home / "kdc.conf"),
        "KRB5CCNAME": f"FILE:{home}/tickets",
        "KRB5RCACHENAME": f"dfl:{home}/replays",
    }
    kdc = Kdc(home, environment)
    run = ["/usr/sbin/kdb5_util", "create", "-s", "-P", "master password", "-r", REALM]
    _run(run, environment)
    for query in (
        f'addprinc -pw "{PASSWORD}" ana',
        "addprinc -randkey HTTP/localhost",
        f"ktadd -k {kdc.keytab} HTTP/localhost",
        "addprinc -randkey HTTP/other",
        f"ktadd -k {home}/other.keytab HTTP/other",
    ):
        _run(["/usr/sbin/kadmin.local", "-r", REALM, "-q", query], environment)
    kdc.start()
    try:
        yield kdc
    finally:
        kdc.stop()


def _run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
