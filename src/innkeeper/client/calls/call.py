"""One request of the client, and how its answer is read. Nothing here does input or output."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from innkeeper.client.problems import foreign
from innkeeper.errors import InvalidArgument
from innkeeper.wire import messages as wire
from innkeeper.wire.problems import revive

Answer = TypeVar("Answer", bound=BaseModel)
QueryValue = str | float | bool | tuple[str, ...] | None
Query = Mapping[str, QueryValue]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Call(Generic[Answer]):
    """One request, and the shape of its answer."""

    method: str
    path: str
    answer: type[Answer]
    query: Query = dataclasses.field(default_factory=dict)
    body: BaseModel | None = None
    #: Seconds that the service may take to answer.
    timeout_seconds: float = 60.0

    @property
    def params(self) -> dict[str, str | tuple[str, ...]]:
        """The query as text, without what was left out; what has several values is given again for each."""
        return {
            name: tuple(_unicode(name, each) for each in value)
            if isinstance(value, tuple)
            else _unicode(name, _text(value))
            for name, value in self.query.items()
            if value is not None
        }

    @property
    def content(self) -> bytes | None:
        """The body as it travels."""
        return _as_json(self.body) if self.body is not None else None

    def read(self, status: int, body: bytes) -> Answer:
        """Read the answer; raises the error that the service told."""
        try:
            if status >= 400:
                raise revive(wire.Problem.model_validate_json(body))
            return self.answer.model_validate_json(body or b"{}")
        except ValidationError as error:
            raise foreign(f"{self.method} {self.path} ({status})") from error


def _as_json(body: BaseModel) -> bytes:
    """As it travels: a secret shows itself here, and nowhere else."""
    from innkeeper.wire import identity

    try:
        return body.model_dump_json(context=identity.REVEALED).encode()
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InvalidArgument.of_field(_not_unicode(body), "it is not Unicode text") from error


def _not_unicode(body: BaseModel) -> str:
    """The field with half a character in it: pydantic accepts it, and cannot write it."""
    fields = body.model_dump().items()
    return next((name for name, value in fields if re.search(r"\\ud[89a-f]", repr(value))), "request")


def _unicode(field: str, text: str) -> str:
    """Text that can be sent: a file's name that is not Unicode has halves of characters in it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument.of_field(field, "it is not Unicode text") from error
    return text


def _text(value: str | float | bool | None) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def get(path: str, answer: type[Answer], /, **query: QueryValue) -> Call[Answer]:
    """A question."""
    return Call(method="GET", path=path, answer=answer, query=query)


def post(path: str, answer: type[Answer], body: BaseModel | None = None) -> Call[Answer]:
    """An act."""
    return Call(method="POST", path=path, answer=answer, body=body)


def put(path: str, answer: type[Answer], body: BaseModel) -> Call[Answer]:
    """A value that is set."""
    return Call(method="PUT", path=path, answer=answer, body=body)


def delete(path: str, /, **query: QueryValue) -> Call[wire.Nothing]:
    """Something that is taken away."""
    return Call(method="DELETE", path=path, answer=wire.Nothing, query=query)


def raw(path: str, query: Query) -> Call[BaseModel]:
    """A question whose answer is read by whoever asks: only errors are messages."""
    return Call(method="GET", path=path, answer=BaseModel, query=query)


def machine_path(name: str, what: str) -> str:
    """The path of something of a machine."""
    return f"/v1/machines/{quoted(name)}/{what}"


def quoted(segment: str) -> str:
    """A name as one segment of a path; raises ``InvalidArgument`` for text that is not Unicode."""
    if segment in (".", ".."):  # else a path of its own, which is resolved on the way
        return segment.replace(".", "%2E")
    return quote(_unicode("name", segment), safe="")
