"""Actions of tasks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from innkeeper.errors import ErrorCode, NotSupported, ScheduleError
from innkeeper.schedule import mail_server
from innkeeper.schedule.model.collection import Changeable
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.model.named_values import HeaderFields, NamedValueCollection
from innkeeper.schedule.xml import element as elements
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import Element, attribute, element
from innkeeper.schedule.xml.markup import Tag, Verbatim
from innkeeper.schedule.xml.node import NAMESPACE, Node, local


@dataclasses.dataclass(kw_only=True, slots=True)
class Action(Element):
    """One action of a task (``IAction``)."""

    type: ClassVar[ActionType]

    #: ``Id``; unique in the task.
    id: str | None = attribute("id", forms.text(shortest=1))


@dataclasses.dataclass(kw_only=True, slots=True)
class ExecAction(Action):
    """Run a program (``IExecAction``)."""

    tag = "Exec"
    type = ActionType.EXEC

    #: The program, 1 to 260 characters (``Path``). Variables are not replaced in it.
    path: str | None = element("Command", forms.text(260, shortest=1), required=True)
    #: Its arguments in one line (``Arguments``).
    arguments: str | None = element("Arguments", forms.text())
    #: Where it runs, at most 260 characters (``WorkingDirectory``).
    working_directory: str | None = element("WorkingDirectory", forms.text(260, shortest=1))


@dataclasses.dataclass(kw_only=True, slots=True)
class ComHandlerAction(Action):
    """Call a handler by its class id (``IComHandlerAction``): here, one of Innkeeper's own operations."""

    tag = "ComHandler"
    type = ActionType.COM_HANDLER

    #: The handler's class id (``ClassId``).
    class_id: str | None = element("ClassId", forms.GUID, required=True)
    #: What it is given (``Data``).
    data: str | None = element("Data", forms.text())


@dataclasses.dataclass(kw_only=True, slots=True)
class EmailAction(Action):
    """Send an e-mail (``IEmailAction``). Windows gave it up; here it works."""

    tag = "SendEmail"
    type = ActionType.SEND_EMAIL

    #: The SMTP server's name or address (``Server``).
    server: str | None = element("Server", forms.text(shortest=1), required=True)
    #: ``Subject``.
    subject: str | None = element("Subject", forms.text())
    #: ``To``; several addresses are separated by commas.
    to: str | None = element("To", forms.text())
    #: ``Cc``.
    cc: str | None = element("Cc", forms.text())
    #: ``Bcc``.
    bcc: str | None = element("Bcc", forms.text())
    #: ``ReplyTo``.
    reply_to: str | None = element("ReplyTo", forms.text())
    #: ``From``.
    from_: str | None = element("From", forms.text())
    #: Further headers, at most 32 (``HeaderFields``).
    header_fields: NamedValueCollection = element(
        "HeaderFields", HeaderFields(), factory=NamedValueCollection
    )
    #: ``Body``.
    body: str | None = element("Body", forms.text())
    #: Paths of files to attach, at most 8 (``Attachments``).
    attachments: tuple[str, ...] = element("Attachments", forms.Texts(item="File", most=8), default=())

    def check(self, node: Node, findings: Findings) -> None:
        server = local(node.children, "Server")
        if server is None or not self.server:
            return
        try:
            mail_server.parse(self.server)
        except ScheduleError as problem:
            findings.invalid(server, problem.sentence.rstrip("."), value=problem.value)


@dataclasses.dataclass(kw_only=True, slots=True)
class ShowMessageAction(Action):
    """Show a message to who is logged on (``IShowMessageAction``)."""

    tag = "ShowMessage"
    type = ActionType.SHOW_MESSAGE

    #: ``Title``.
    title: str | None = element("Title", forms.text(shortest=1))
    #: ``MessageBody``.
    message_body: str | None = element("Body", forms.text(shortest=1), required=True)


_KINDS: dict[ActionType, type[Action]] = {
    kind.type: kind for kind in (ExecAction, ComHandlerAction, EmailAction, ShowMessageAction)
}
_TAGS = {kind.tag: kind for kind in _KINDS.values()}


class ActionCollection(Changeable[Action]):
    """The actions of a task, done one after another (``IActionCollection``); 32 at most."""

    most = 32

    def __init__(self, items: tuple[Action, ...] = ()) -> None:
        super().__init__(items)
        #: The id of the principal who does them (``Context``).
        self.context: str | None = None
        self.kept: tuple[Verbatim, ...] = ()

    def create(self, kind: ActionType) -> Action:
        """Add a new action of this type (``Create``)."""
        if kind not in _KINDS:
            raise NotSupported(f"There is no action of type {kind!r}.", code=ErrorCode.E_INVALIDARG)
        return self.append(_KINDS[ActionType(kind)]())

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and isinstance(other, ActionCollection) and self.context == other.context

    __hash__ = None  # type: ignore[assignment]  # it changes


class ActionsForm:
    """XML form of the actions: in their order, with the context as an attribute."""

    def read(self, node: Node, findings: Findings) -> ActionCollection:
        elements.hoist(node, findings)
        found = []
        kept = []
        for child in node.children:
            if child.name in _TAGS and child.namespace == NAMESPACE:
                found.append(elements.read(_TAGS[child.name], child, findings))
            else:
                findings.unexpected(child, "no action is called so; kept as it is")
                kept.append(elements.verbatim(child, findings))
        if len(found) > ActionCollection.most:
            findings.add(
                node, ErrorCode.SCHED_E_TOO_MANY_NODES, "a task has at most 32 actions", value=str(len(found))
            )
        if not found:
            findings.missing(node, "Actions", "a task needs at least one action", forgiven=True)
        actions = ActionCollection(tuple(found[: ActionCollection.most]))
        actions.context = node.attributes.get("Context")
        actions.kept = tuple(kept)
        return actions

    def write(self, name: str, value: ActionCollection) -> Tag:
        attributes = {} if value.context is None else {"Context": value.context}
        children = tuple(elements.write(action.tag, action) for action in value)
        return Tag(name=name, attributes=attributes, children=(*children, *value.kept))

    def coerce(self, value: object) -> ActionCollection:
        if not isinstance(value, ActionCollection):
            raise ValueError("it is not an ActionCollection")
        return value
