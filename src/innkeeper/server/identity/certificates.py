"""The certificate of the remote door: the configured one, or a self-signed one that is kept."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from innkeeper.errors import ErrorCode, InvalidArgument

_VALID_FOR = dt.timedelta(days=3650)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 fingerprint, as ``openssl x509 -fingerprint -sha256`` writes it."""
        return fingerprint_of(ssl.PEM_cert_to_DER_cert(_first(self.certificate.read_text())))

    def context(self) -> ssl.SSLContext:
        """Return the TLS context. Raises ``InvalidArgument`` for unusable or mismatched files."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(
                f"The certificate {self.certificate} and the key {self.key} "
                f"cannot be used: {error.strerror}.",
                code=ErrorCode.ERROR_INVALID_DATA,
                advice="Give a certificate and its key as PEM files that the service's user may read.",
            ) from error
        return context


def self_made(directory: Path, hosts: Sequence[str]) -> Certificate:
    """Return the self-signed certificate, made at the first call and kept so that clients recognise it."""
    found = Certificate(certificate=directory / "certificate.pem", key=directory / "key.pem")
    if not (found.certificate.exists() and found.key.exists()):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(found, hosts)
    return found


def names_in(certificate: Path) -> set[str]:
    """The names of hosts in a certificate's file; none where it cannot be read, which is told elsewhere."""
    try:
        read = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return set()
    return set(names.get_values_for_type(x509.DNSName))


def fingerprint_of(der: bytes) -> str:
    """Return the SHA-256 fingerprint, in pairs of hexadecimal digits with colons."""
    return hashlib.sha256(der).digest().hex(":").upper()


def _make(where: Certificate, hosts: Sequence[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, socket.gethostname()[:64])])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # clocks of clients differ
        .not_valid_after(now + _VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(list(_names(hosts))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(where.key, secret)
    _write(where.certificate, made.public_bytes(serialization.Encoding.PEM))


def _names(hosts: Sequence[str]) -> Iterator[x509.GeneralName]:
    for host in dict.fromkeys([socket.gethostname(), "localhost", "127.0.0.1", "::1", *hosts]):
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            yield x509.DNSName(host)
        else:
            if not address.is_unspecified:
                yield x509.IPAddress(address)


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, readable by the service alone."""
    draft = path.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _first(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[pem.index("-----BEGIN CERTIFICATE-----") : pem.index(end) + len(end)]
