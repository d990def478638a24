"""Send the e-mail of an action."""

from __future__ import annotations

import mimetypes
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.actions import EmailAction

_TIMEOUT_SECONDS = 30.0
_LARGEST_ATTACHMENT_BYTES = 25 << 20


def composed(action: EmailAction) -> EmailMessage:
    """The message that an action says. Raises ``ScheduleError`` for one that cannot be sent."""
    if not action.from_ or not (action.to or action.cc):
        missing = "From" if not action.from_ else "To"
        raise ScheduleError(
            f"The e-mail cannot be sent: {missing} is missing.",
            code=ErrorCode.SCHED_E_MISSINGNODE,
            node=missing,
        )
    message = EmailMessage()
    try:
        for name, value in _headers(action):
            message[name] = value
    except ValueError as problem:  # a line end in a header: an attempt to add headers
        raise ScheduleError(
            f"The e-mail cannot be sent: {problem}.", code=ErrorCode.SCHED_E_INVALIDVALUE, node="HeaderFields"
        ) from problem
    message.set_content(action.body or "")
    for path in action.attachments:
        _attach(message, Path(path))
    return message


def send(action: EmailAction, message: EmailMessage) -> None:
    """Hand the message to the server, with TLS where it offers it. Blocks; raises ``ScheduleError``."""
    host, _, port = (action.server or "").partition(":")
    try:
        with smtplib.SMTP(host, int(port or 25), timeout=_TIMEOUT_SECONDS) as server:
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=ssl.create_default_context())
            server.send_message(message)
    except (OSError, smtplib.SMTPException, ValueError) as problem:
        raise ScheduleError(
            f"The e-mail could not be sent through {action.server}: {problem}.",
            code=ErrorCode.E_FAIL,
            advice="See that the server's name is right and that it takes mail from here.",
            node="Server",
            value=action.server or "",
        ) from problem


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


def _attach(message: EmailMessage, path: Path) -> None:
    try:
        if path.stat().st_size > _LARGEST_ATTACHMENT_BYTES:
            raise OSError(0, "it is larger than 25 MiB")
        data = path.read_bytes()
    except OSError as problem:
        raise ScheduleError(
            f"{path} cannot be attached: {problem.strerror}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            node="File",
            value=str(path),
        ) from problem
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    main, _, sub = kind.partition("/")
    message.add_attachment(data, maintype=main, subtype=sub, filename=path.name)
