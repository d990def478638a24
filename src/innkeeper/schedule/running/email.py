"""E-mails of actions."""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import smtplib
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, InnkeeperError, ScheduleError
from innkeeper.schedule.mail_server import MailServer, Security
from innkeeper.schedule.model.actions import EmailAction
from innkeeper.schedule.ports import Secrets
from innkeeper.schedule.running import process

_TIMEOUT_SECONDS: Final = 30.0
_LOGGED_IN: Final = 235
#: All attachments of one message together.
_MOST_ATTACHED_BYTES: Final = 25 << 20


async def attached(paths: Sequence[str], user: str | None) -> list[tuple[str, bytes]]:
    """Return names and bytes of files, read as the task's user: what they may not read is not sent.

    Raises ``ScheduleError`` where one cannot be read, or where all are more than 25 MiB.
    """
    found: list[tuple[str, bytes]] = []
    for path in paths:
        left = _MOST_ATTACHED_BYTES - sum(len(data) for _, data in found)
        data = await process.read_file(path, user=user, most_bytes=left + 1)
        if len(data) > left:
            raise _unsent(
                f"{path}: the attachments are more than 25 MiB", ErrorCode.ERROR_FILE_NOT_FOUND, "File"
            )
        found.append((Path(path).name, data))
    return found


def composed(action: EmailAction, attachments: Sequence[tuple[str, bytes]] = ()) -> EmailMessage:
    """Return the message of an action. Raises ``ScheduleError`` for one that cannot be sent."""
    if not action.from_ or not (action.to or action.cc):
        missing = "From" if not action.from_ else "To"
        raise _unsent(f"{missing} is missing", ErrorCode.SCHED_E_MISSINGNODE, missing)
    message = EmailMessage()
    try:
        for name, value in _headers(action):
            message[name] = value
    except ValueError as problem:  # a line end in a header: an attempt to add headers
        raise _unsent(str(problem), ErrorCode.SCHED_E_INVALIDVALUE, "HeaderFields") from problem
    if "Date" not in message:
        message["Date"] = formatdate(localtime=True)
    if "Message-ID" not in message:
        message["Message-ID"] = make_msgid()
    message.set_content(action.body or "")
    for name, data in attachments:
        main, _, sub = (mimetypes.guess_type(name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(data, maintype=main, subtype=sub, filename=name)
    return message


async def send(server: MailServer, message: EmailMessage, secrets: Secrets | None) -> None:
    """Send the message. Raises ``ScheduleError``, whose text never contains the password."""
    await asyncio.to_thread(_send, server, message, secrets)


def _send(server: MailServer, message: EmailMessage, secrets: Secrets | None) -> None:
    password = _password(server, secrets) if server.user else ""
    try:
        with _connected(server) as connection:
            if server.security in (Security.OFFERED, Security.REQUIRED):
                _secure(connection, server)
            if server.user:
                _log_in(connection, server.user, password)
            refused = connection.send_message(message)
    except smtplib.SMTPAuthenticationError as problem:
        raise _failed(server, f"it does not accept {server.user}'s password", "Server") from problem
    except (OSError, smtplib.SMTPException, ValueError) as problem:
        raise _failed(server, str(problem), "Server") from problem
    if refused:
        raise _failed(
            server, f"it took the message for others, but not for {', '.join(sorted(refused))}", "To"
        )


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.security is Security.FROM_START:
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(server.host, server.port, timeout=_TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(server.host, server.port, timeout=_TIMEOUT_SECONDS)


def _secure(connection: smtplib.SMTP, server: MailServer) -> None:
    connection.ehlo()
    if connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        connection.ehlo()
    elif server.security is Security.REQUIRED:
        raise ValueError("it offers no TLS, and the message or the password is not to be sent without")


def _log_in(connection: smtplib.SMTP, user: str, password: str) -> None:
    if (user + password).isascii():
        connection.login(user, password)
        return
    # The library knows ASCII alone; what is said is documented as UTF-8 (RFC 4616).
    connection.ehlo_or_helo_if_needed()
    response = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    code, answer = connection.docmd("AUTH", f"PLAIN {response}")
    if code != _LOGGED_IN:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _password(server: MailServer, secrets: Secrets | None) -> str:
    found = None if secrets is None else secrets.find(server.secret)
    if found is None:
        raise ScheduleError(
            f"There is no secret {server.secret!r} for {server.user} on {server.host}.",
            code=ErrorCode.SCHED_E_ACCOUNT_INFORMATION_NOT_SET,
            advice=f"Write the password into the file secrets/{server.secret} of the service's state "
            "directory, with mode 600.",
            node="Server",
        )
    return found


def _headers(action: EmailAction) -> list[tuple[str, str]]:
    known = {
        "From": action.from_,
        "To": action.to,
        "Cc": action.cc,
        "Bcc": action.bcc,
        "Reply-To": action.reply_to,
        "Subject": action.subject,
    }
    return [(name, value) for name, value in known.items() if value] + [
        (pair.name, pair.value) for pair in action.header_fields
    ]


def _failed(server: MailServer, sentence: str, node: str) -> ScheduleError:
    return ScheduleError(
        f"The e-mail could not be sent through {server.host}: {sentence}.",
        code=ErrorCode.E_FAIL,
        advice="See that the server's name is right and that it takes mail from here.",
        node=node,
        value=server.host,
    )


def _unsent(sentence: str, code: ErrorCode, node: str) -> InnkeeperError:
    return ScheduleError(f"The e-mail cannot be sent: {sentence}.", code=code, node=node)
