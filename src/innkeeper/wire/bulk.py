"""Messages of requests about many machines, and of their answers: one line a machine."""

from __future__ import annotations

import enum

from pydantic import Field

from innkeeper.wire.messages import Base64, Message, Request
from innkeeper.wire.moment import Moment
from innkeeper.wire.text import OneLine


class BulkRequest(Request):
    """Machines by a selector, and how to treat it."""

    #: Names, globs, ``host/name``, ``label:``, ``host:``, ``state:``, ``os:``, joined by ``and``, ``or``
    #: and ``not``.
    select: OneLine = Field(min_length=1, max_length=4096)
    #: Only tell what would be done.
    dry_run: bool = False
    #: Take a selector too that matches no machine, or has a word that names none.
    allow_empty: bool = False


class BulkBookRequest(BulkRequest):
    """Book one update for many machines."""

    identifier: str = Field(min_length=1, max_length=255)
    label: str = Field(default="", max_length=255)
    #: Not before this; nothing for now.
    start: Moment | None = None
    #: No later start than this.
    end: Moment | None = None
    #: Complete by this.
    deadline: Moment | None = None
    context: Base64 = b""


class BulkCancelRequest(BulkRequest):
    """Take back what is booked for many machines and has not started."""

    #: That of this identifier only.
    identifier: str | None = Field(default=None, max_length=255)


class BulkLabelRequest(BulkRequest):
    """Give labels to many machines, or take labels from them."""

    add: tuple[OneLine, ...] = Field(default=(), max_length=64)
    remove: tuple[OneLine, ...] = Field(default=(), max_length=64)


class BulkWindowRequest(BulkRequest):
    """Put many machines into a window, or take them out of it."""

    #: Take them out of the window, instead of putting them into it.
    remove: bool = False


class BulkOutcome(enum.StrEnum):
    """What became of one machine's part."""

    DONE = "done"
    REFUSED = "refused"
    #: It would be done: nothing was, as was asked for.
    PLANNED = "planned"


class BulkLine(Message):
    """What became of one machine's part of a request about many."""

    machine: str
    host: str = ""
    outcome: BulkOutcome
    #: The update that it is about; nothing for labels and windows.
    identifier: str | None = None
    #: Why it was refused, in a sentence, with the documented identifier.
    reason: str = ""
    code: str = ""
