"""Submitted forms: bounded, from our own pages alone, with each mistake beside its field."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.server.http.checked_text import check_form

#: A form's fields, and the bytes of one of them.
_MAX_FIELDS = 500
_MAX_FIELD_BYTES = 1024 * 1024


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """An error in a form: shown beside the field, with the documented identifier."""

    #: The field's name; empty for the form as a whole.
    field: str
    sentence: str
    #: ``E_INVALIDARG (0x80070057)``
    identifier: str
    advice: str = ""


class Form:
    """The fields of one form, as text."""

    def __init__(self, data: FormData) -> None:
        self._data = data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def text(self, name: str, default: str = "") -> str:
        """Return a field's first value, stripped."""
        value = self._data.get(name, default)
        return value.strip() if isinstance(value, str) else default

    def verbatim(self, name: str) -> str:
        """Return a field's first value as it is."""
        value = self._data.get(name, "")
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Return all of a field's values."""
        return [value for value in self._data.getlist(name) if isinstance(value, str)]

    def ticked(self, name: str) -> bool:
        """Whether a box is ticked."""
        return name in self._data

    async def file(self, name: str) -> bytes:
        """Return an uploaded file's content; empty where none was chosen."""
        value = self._data.get(name)
        return await value.read() if isinstance(value, UploadFile) else b""


async def read_form(request: Request) -> Form:
    """Read a form that one of our own pages sent. Raises ``InvalidArgument`` for any other."""
    data = await request.form(max_files=1, max_fields=_MAX_FIELDS, max_part_size=_MAX_FIELD_BYTES)
    check_form(value for _, value in data.multi_items())
    return Form(data)


def mistake_of(error: InnkeeperError, fields: Mapping[str, str] | None = None) -> Mistake:
    """Return an error as a mistake; ``fields`` maps words of its sentence to fields."""
    about = next((field for word, field in (fields or {}).items() if word in error.sentence), "")
    return Mistake(
        field=about,
        sentence=error.sentence,
        identifier=f"{error.code.name} (0x{error.hresult:08X})",
        advice=error.advice,
    )


def wrong(field: str, sentence: str, advice: str = "") -> Mistake:
    """Return a mistake that the form itself found."""
    return mistake_of_field(field, InvalidArgument(sentence, code=ErrorCode.E_INVALIDARG, advice=advice))


def mistake_of_field(field: str, error: InnkeeperError) -> Mistake:
    """Return an error as a mistake of a known field."""
    return dataclasses.replace(mistake_of(error), field=field)
