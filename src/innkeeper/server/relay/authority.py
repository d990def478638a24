"""The inn's own authority: certificates by which its servers know one another."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AUTHORITY_LASTS: Final = dt.timedelta(days=36500)
#: A server that may no longer read the database is nobody's peer after this.
_CERTIFICATE_LASTS: Final = dt.timedelta(days=7)
#: Clocks of servers differ.
_LEEWAY: Final = dt.timedelta(days=1)
#: What follows a server's id in the name that its certificate is for.
_SUFFIX: Final = ".servers.innkeeper"


class AuthorityStore(Protocol):
    """Keeps the authority where all servers of the inn find it."""

    async def get_or_keep(self, make: Callable[[], tuple[str, str]]) -> tuple[str, str]:
        """Return the certificate and the key as PEM; the first call keeps what ``make`` makes."""


def make_authority() -> tuple[str, str]:
    """Return the certificate and the key of a new authority, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Innkeeper's servers")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        _certificate(name, name, key.public_key(), _AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pem(made), _key_pem(key)


def name_of(server_id: str) -> str:
    """Return the name that a server's certificate is for."""
    return f"{server_id}{_SUFFIX}"


def server_in(certificate: object) -> str:
    """Return the id of the server that a verified certificate is for (``SSLSocket.getpeercert``)."""
    names = certificate.get("subjectAltName", ()) if isinstance(certificate, dict) else ()
    found = (str(name).removesuffix(_SUFFIX) for kind, name in names if kind == "DNS")
    return next(found, "")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """This server's certificate from the authority, and the TLS contexts that use it."""

    server_id: str
    directory: Path
    authority: tuple[str, str]
    #: For those who come: none gets in without a certificate of the authority.
    accepting: ssl.SSLContext
    #: For going to others.
    calling: ssl.SSLContext

    @classmethod
    def issued(cls, server_id: str, directory: Path, authority: tuple[str, str]) -> Credentials:
        """Make a key, and a certificate for it; both lie in the directory. Blocks."""
        accepting, calling = _contexts(authority[0])
        credentials = cls(
            server_id=server_id,
            directory=directory,
            authority=authority,
            accepting=accepting,
            calling=calling,
        )
        credentials.renew()
        return credentials

    def renew(self) -> None:
        """Use a new key and certificate for all connections from now on. Blocks."""
        certificate, key = issue(self.authority, self.server_id)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self.directory / "peer.pem"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(key + certificate)
        for context in (self.accepting, self.calling):
            context.load_cert_chain(file)


#: Seconds after which a certificate is renewed.
RENEW_SECONDS: Final = _CERTIFICATE_LASTS.total_seconds() / 7


def issue(authority: tuple[str, str], server_id: str) -> tuple[str, str]:
    """Return a new certificate for the server, and its key, as PEM."""
    signer = serialization.load_pem_private_key(authority[1].encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # we have made it
    issuer = x509.load_pem_x509_certificate(authority[0].encode())
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_id[:64])])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        _certificate(name, issuer.subject, key.public_key(), _CERTIFICATE_LASTS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name_of(server_id))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _pem(made), _key_pem(key)


def _contexts(authority: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    calling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (accepting, calling):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=authority)
    return accepting, calling


def _certificate(
    name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lasts: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LEEWAY)
        .not_valid_after(now + lasts)
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
