"""Known services on other computers: their certificates, and one's own tokens there."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from innkeeper.client.addresses import Address
from innkeeper.errors import ErrorCode, ServiceError

_TIMEOUT_SECONDS: Final = 10.0

#: Told of a certificate that is seen for the first time: the address and the fingerprint.
Meet = Callable[[Address, str], None]


class KnownInns:
    """What this user knows of services elsewhere; files of the user's alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> KnownInns:
        """Those in the user's own configuration."""
        base = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/')}/.config"
        return cls(Path(base) / "innkeeper" / "inns")

    # Certificates

    def trust(self, address: Address, *, meet: Meet | None = None, fingerprint: str = "") -> ssl.SSLContext:
        """What a connection there must be checked by.

        A certificate that the system's authorities vouch for is believed; any other one is kept at the first
        meeting, and from then on it alone is. ``fingerprint`` says which one it must be. Raises
        ``ServiceError``: 0x800B0109 for another one, 0x80070035 where nobody answers.
        """
        known = self._certificate(address)
        if known.exists():
            return _only(known.read_text())
        if not fingerprint and _is_vouched_for(address):
            return ssl.create_default_context()
        met = _met(address)
        told = fingerprint_of(met)
        if fingerprint and _bare(fingerprint) != _bare(told):
            raise changed(address, f"It has the fingerprint {told}.")
        if meet is not None:
            meet(address, told)
        _write(known, met)
        return _only(met)

    def forget_token(self, address: Address) -> bool:
        """Forget the token; whether there was one."""
        file = self._token(address)
        was_there = file.exists()
        file.unlink(missing_ok=True)
        return was_there

    def forget(self, address: Address) -> bool:
        """Forget the certificate and the token; whether there was one."""
        files = [self._certificate(address), self._token(address)]
        found = [file for file in files if file.exists()]
        for file in found:
            file.unlink()
        return bool(found)

    # Tokens

    def token(self, address: Address) -> str:
        """The token to use there; empty where none is kept."""
        try:
            return str(json.loads(self._token(address).read_text())["token"])
        except (OSError, ValueError, KeyError):
            return ""

    def keep_token(self, address: Address, token: str) -> None:
        """Keep a token for the connections to come, in a file that nobody else may read."""
        _write(self._token(address), json.dumps({"token": token}))

    def _certificate(self, address: Address) -> Path:
        return self._directory / f"{_file_name(address)}.pem"

    def _token(self, address: Address) -> Path:
        return self._directory / f"{_file_name(address)}.token"


def fingerprint_of(pem: str) -> str:
    """SHA-256 of a certificate, as ``openssl x509 -fingerprint -sha256`` writes it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).digest().hex(":").upper()


def changed(address: Address, what: str) -> ServiceError:
    """The error for a service that is not the one that was known."""
    return ServiceError(
        f"The certificate of {address} is not the one that is known. {what}",
        code=ErrorCode.CERT_E_UNTRUSTEDROOT,
        advice="Somebody may be intercepting the connection. If it was changed on purpose, compare "
        f"its fingerprint with the service's log, then run: innkeeper logout --forget {address}",
    )


def no_path(address: Address, why: str) -> ServiceError:
    """The error for a service that cannot be reached (53, as the HRESULT 0x80070035)."""
    return ServiceError(
        f"There is no service at {address}: {why}.",
        code=ErrorCode.ERROR_BAD_NETPATH,
        advice="Check the name and the port, that the service runs with --listen, and the firewall.",
    )


def _only(pem: str) -> ssl.SSLContext:
    """Believe this one certificate and no other, whatever name it bears."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


def _is_vouched_for(address: Address) -> bool:
    try:
        _shake_hands(address, ssl.create_default_context())
    except ssl.SSLCertVerificationError:
        return False
    return True


def _met(address: Address) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return ssl.DER_cert_to_PEM_cert(_shake_hands(address, context))


def _shake_hands(address: Address, context: ssl.SSLContext) -> bytes:
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=_TIMEOUT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as wrapped,
        ):
            return wrapped.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        raise no_path(address, error.strerror or str(error)) from error


def _bare(fingerprint: str) -> str:
    return fingerprint.replace(":", "").strip().upper()


def _file_name(address: Address) -> str:
    """A name that is unique, and no path: a host comes from whoever typed it."""
    plain = "".join(letter if letter.isalnum() or letter in ".-" else "_" for letter in address.host)
    digest = hashlib.sha256(str(address).encode()).hexdigest()[:8]
    return f"{plain[:100]}_{address.port}_{digest}"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
