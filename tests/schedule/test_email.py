"""E-mail goes through a real server: with TLS, with a password that nobody reads, or not at all."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule import mail_server
from innkeeper.schedule.mail_server import MailServer, Security
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.running.secrets import SecretFiles
from tests.schedule.house import House

PASSWORD = "corréct horse"


class Inbox:
    """What the server was given, by whom, and whether in the clear."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], str]] = []
        self.logins: list[str] = []
        self.secure: list[bool] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802  # the server's own word
        self.messages.append((envelope.rcpt_tos, envelope.content.decode(errors="replace")))
        self.secure.append(session.ssl is not None)
        return "250 taken"

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    form = serialization.PrivateFormat.PKCS8
    encoding = serialization.Encoding.PEM
    file.write_bytes(
        key.private_bytes(encoding, form, serialization.NoEncryption()) + made.public_bytes(encoding)
    )
    return file


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def at(controller: Controller) -> tuple[str, int]:
    return controller.hostname, controller.port


@pytest.fixture
def serve(certificate):
    """Starts servers: in the clear, with STARTTLS, or with TLS from the start."""
    running = []

    def start(*, starttls: bool = False, tls: bool = False, login: bool = False) -> tuple[Inbox, str]:
        inbox = Inbox()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        controller = Controller(
            inbox,
            hostname="127.0.0.1",
            port=free_port(),
            tls_context=context if starttls else None,
            ssl_context=context if tls else None,
            authenticator=inbox.authenticate if login else None,
            auth_required=login,
            auth_require_tls=not tls,
            require_starttls=False,
        )
        controller._trigger_server = lambda: socket.create_connection(at(controller)).close()
        controller.start()
        running.append(controller)
        return inbox, f"localhost:{controller.port}"

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
async def house(tmp_path: Path):
    house = House()
    secret = tmp_path / "secrets" / "mail"
    secret.parent.mkdir()
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    house.instances._secrets = SecretFiles([secret.parent])
    await house.tasks.launch()
    yield house
    await house.tasks.close()


@pytest.fixture
def trusted(certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer trusts the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


def mail(server: str, **fields) -> TaskDefinition:
    made = TaskDefinition.new()
    action = made.actions.create(ActionType.SEND_EMAIL)
    values = {"from_": "inn@example", "to": "ana@example", "subject": "Night", "body": "All well."}
    for name, value in {"server": server, **values, **fields}.items():
        setattr(action, name, value)
    return made


async def sent(house: House, definition: TaskDefinition):
    return await house.ended(await house.scheduler.start(await house.register(definition)))


async def message(house: House, run) -> str:
    return "\n".join(line.text for line in await house.tasks.log(run.operation)) + str(run.reason)


async def test_a_message_goes_with_tls_where_the_server_offers_it(
    house: House, serve: Callable[..., tuple[Any, str]], trusted: None, tmp_path: Path
) -> None:
    """To, Cc and Bcc get it; Bcc is in no header; values and attachments are in it."""
    inbox, server = serve(starttls=True)
    file = tmp_path / "report.txt"
    file.write_text("the report")
    definition = mail(server, cc="bob@example", bcc="eve@example", attachments=(str(file),))
    run = await sent(house, definition)
    assert run.result == 0, await message(house, run)
    ((recipients, text),) = inbox.messages
    assert sorted(recipients) == ["ana@example", "bob@example", "eve@example"]
    assert "eve@" not in text
    assert "report.txt" in text
    assert "Message-ID:" in text
    assert inbox.secure == [True]


async def test_a_password_goes_by_name_and_over_tls_alone(
    house: House, serve: Callable[..., tuple[Any, str]], trusted: None
) -> None:
    """From the start or after STARTTLS; neither the definition nor the log has it."""
    for tls, scheme in ((True, "smtps"), (False, "smtp")):
        inbox, server = serve(tls=tls, starttls=not tls, login=True)
        definition = mail(f"{scheme}://ana%40example@{server}?secret=mail")
        run = await sent(house, definition)
        assert run.result == 0, await message(house, run)
        assert inbox.logins == ["ana@example"]
        task = await house.store.get(run.task_id)
        assert PASSWORD not in task.xml + await message(house, run)
        if not tls:
            assert inbox.secure == [True]


async def test_a_wrong_password_is_told_without_it(
    house: House, serve: Callable[..., tuple[Any, str]], trusted: None, tmp_path: Path
) -> None:
    """And a missing one names the file to write."""
    _, server = serve(starttls=True, login=True)
    (tmp_path / "secrets" / "mail").write_text("wrong horse")
    run = await sent(house, mail(f"smtp://ana@{server}?secret=mail"))
    assert "does not accept ana's password" in run.reason
    assert "wrong horse" not in await message(house, run)
    run = await sent(house, mail(f"smtp://ana@{server}?secret=none"))
    assert run.result == ErrorCode.SCHED_E_ACCOUNT_INFORMATION_NOT_SET


async def test_a_server_without_tls_gets_no_password_and_no_message_that_needs_it(
    house: House, serve: Callable[..., tuple[Any, str]]
) -> None:
    """What is only offered is not needed."""
    inbox, server = serve()
    for address in (f"smtp://ana@{server}?secret=mail", f"smtp://{server}?tls=required"):
        assert "offers no TLS" in (await sent(house, mail(address))).reason
    assert inbox.messages == []
    assert (await sent(house, mail(server))).result == 0
    assert inbox.secure == [False]


async def test_who_starts_a_task_does_not_choose_its_server(
    house: House, serve: Callable[..., tuple[Any, str]]
) -> None:
    """Arguments are put into the words, and not into the address that a password may go to."""
    inbox, server = serve()
    definition = mail(server, subject="$(Arg0)", body="$(Arg1)")
    task = await house.register(definition)
    run = await house.ended(await house.scheduler.start(task, ("hello", "there")))
    assert run.result == 0, await message(house, run)
    assert "Subject: hello" in inbox.messages[0][1]
    definition.actions[1].server = "$(Arg0)"
    run = await house.scheduler.start(await house.register(definition), (server,))
    assert (await house.ended(run)).result != 0
    assert len(inbox.messages) == 1


async def test_a_certificate_that_nobody_trusts_is_refused(
    house: House, serve: Callable[..., tuple[Any, str]]
) -> None:
    """Mail is not handed to whoever answers."""
    inbox, server = serve(starttls=True)
    assert "certificate" in (await sent(house, mail(server))).reason.lower()
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"from_": None}, "From is missing"),
        ({"to": None}, "To is missing"),
        ({"subject": "a\nBcc: eve@example"}, "linefeed"),
        ({"attachments": ("/no/such/file",)}, "cannot be read"),
    ],
)
async def test_what_cannot_be_sent_says_why(
    house: House,
    serve: Callable[..., tuple[Any, str]],
    fields: dict[str, None] | dict[str, str] | dict[str, tuple[str]],
    words: str,
) -> None:
    """A line end in a header would add headers."""
    inbox, server = serve()
    assert words in (await sent(house, mail(server, **fields))).reason
    assert inbox.messages == []


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("mail.example", MailServer(host="mail.example", port=25, security=Security.OFFERED)),
        ("mail.example:2525", MailServer(host="mail.example", port=2525, security=Security.OFFERED)),
        ("smtps://mail.example", MailServer(host="mail.example", port=465, security=Security.FROM_START)),
        ("smtp://[::1]?tls=none", MailServer(host="::1", port=25, security=Security.NONE)),
        (
            "smtp://ana@mail.example",
            MailServer(
                host="mail.example", port=587, security=Security.REQUIRED, user="ana", secret="mail.example"
            ),
        ),
    ],
)
def test_a_server_is_a_name_or_an_address(text: str, server: MailServer) -> None:
    """With the port that its security has."""
    assert mail_server.parse(text) == server


@pytest.mark.parametrize(
    "text",
    [
        "smtp://ana:hunter2@mail.example",
        "http://mail.example",
        "mail.example:99999",
        "smtp://",
        "smtp://mail.example/path",
        "smtp://[::1",
        "smtp://mail.example?tls=maybe",
        "smtp://mail.example?password=x",
        "smtp://ana@mail.example?tls=none",
    ],
)
async def test_what_is_no_server_is_refused_at_registration(house: House, text: str) -> None:
    """A password in it above all; and the refusal does not repeat it."""
    with pytest.raises(ScheduleError) as refused:
        await house.register(mail(text))
    assert (refused.value.code, refused.value.node) == (ErrorCode.SCHED_E_INVALIDVALUE, "Server")
    assert "hunter2" not in f"{refused.value} {refused.value.value}"


def test_a_secret_that_others_can_read_is_none(tmp_path: Path) -> None:
    """Nor does a name climb out of its directory."""
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    secrets = SecretFiles([tmp_path / "sub", tmp_path])
    with pytest.raises(ScheduleError, match="read by everybody") as refused:
        secrets.find("open")
    assert "chmod" in refused.value.advice
    assert secrets.find("../open") is None
    assert secrets.find("none") is None
