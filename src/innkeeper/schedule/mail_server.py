"""Address and encryption of the server that e-mails go through."""

from __future__ import annotations

import dataclasses
import enum
from urllib.parse import parse_qs, unquote, urlsplit

from innkeeper.errors import ErrorCode, ScheduleError

_ADVICE = "Write it as mail.example, or smtp://ana@mail.example:587?secret=mail or smtps://ana@mail.example."


class Security(enum.Enum):
    """Encryption of the connection to the server."""

    #: TLS where the server offers it (``STARTTLS``).
    OFFERED = "offered"
    #: TLS, or no mail.
    REQUIRED = "required"
    #: TLS from the first byte.
    FROM_START = "from start"
    #: None: for a server on this computer.
    NONE = "none"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MailServer:
    """One SMTP server."""

    host: str
    port: int
    security: Security
    user: str = ""
    #: The name of the user's password.
    secret: str = ""


def parse(text: str) -> MailServer:
    """Return the server of a ``Server`` text: a name, a name with a port, or ``smtps://…``.

    Raises ``ScheduleError`` (0x80041318, node ``Server``); a password in it is refused, as definitions
    are shown, exported and kept.
    """
    try:
        address = urlsplit(text if "://" in text else f"smtp://{text}")
    except ValueError:  # a bracket that no address ends with
        raise _refused(text, "it is not an SMTP server") from None
    try:
        port = address.port
    except ValueError:
        raise _refused(text, "its port is none") from None
    if address.password is not None:
        raise _refused(text.replace(address.password, "…"), "a password stands in it; name a secret instead")
    if address.scheme not in ("smtp", "smtps") or not address.hostname or address.path.strip("/"):
        raise _refused(text, "it is not an SMTP server")
    query = {name: values[-1] for name, values in parse_qs(address.query).items()}
    if query.keys() - {"secret", "tls"} or query.get("tls", "offered") not in ("offered", "required", "none"):
        raise _refused(text, "it knows secret=NAME, and tls=required or tls=none")
    user = unquote(address.username or "")
    security = Security.FROM_START if address.scheme == "smtps" else Security(query.get("tls", "offered"))
    if user and security is Security.NONE:
        raise _refused(text, "a password is not sent without TLS")
    return MailServer(
        host=address.hostname,
        port=port or (465 if security is Security.FROM_START else 587 if user else 25),
        security=Security.REQUIRED if user and security is Security.OFFERED else security,
        user=user,
        secret=query.get("secret", "") or (address.hostname if user else ""),
    )


def _refused(text: str, sentence: str) -> ScheduleError:
    return ScheduleError(
        f"{text[:100]!r} cannot be the e-mail's server: {sentence}.",
        code=ErrorCode.SCHED_E_INVALIDVALUE,
        advice=_ADVICE,
        node="Server",
        value=text[:100],
    )
