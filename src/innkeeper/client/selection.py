"""Act on many machines at once, which a selector names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from innkeeper.client import calls
from innkeeper.client.calls import bulk
from innkeeper.wire.bulk import (
    BulkBookRequest,
    BulkCancelRequest,
    BulkLabelRequest,
    BulkLine,
    BulkWindowRequest,
)

if TYPE_CHECKING:
    from innkeeper.client.machines import Machine
    from innkeeper.client.transport import Transport


class Selection:
    """The machines of a selector, such as ``label:web and not host:attic``.

    What it does is one request, and yields one line a machine; a machine for which it is refused says why,
    and the others are done. ``dry_run`` does nothing, and says what would be done. A selector that matches
    no machine raises ``InvalidArgument`` unless ``allow_empty``.
    """

    def __init__(self, transport: Transport, text: str) -> None:
        self._transport = transport
        self.text = text

    def __repr__(self) -> str:
        return f"<Selection {self.text}>"

    def __iter__(self) -> Iterator[Machine]:
        """The machines, by name; one whose name others have too is called by its host and its name."""
        from innkeeper.client.machine_collection import called
        from innkeeper.client.machines import Machine

        for page in self._transport.pages(calls.machines(self.text)):
            for message in page.machines:
                yield Machine(self._transport, called(message))

    def book_updates(
        self,
        *,
        label: str,
        identifier: str,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        deadline: dt.datetime | None = None,
        context: bytes = b"",
        dry_run: bool = False,
        allow_empty: bool = False,
    ) -> Iterator[BulkLine]:
        """Book one update for all of them (``ScheduleTask``), in one transaction.

        Times carry a zone. Raises ``InvalidArgument`` before anything is booked.
        """
        request = BulkBookRequest(
            select=self.text,
            identifier=identifier,
            label=label,
            start=start,
            end=end,
            deadline=deadline,
            context=context,
            dry_run=dry_run,
            allow_empty=allow_empty,
        )
        return self._transport.lines(bulk.book(request))

    def cancel_updates(
        self, identifier: str | None = None, *, dry_run: bool = False, allow_empty: bool = False
    ) -> Iterator[BulkLine]:
        """Take back what is booked for them and has not started: all, or one identifier."""
        request = BulkCancelRequest(
            select=self.text, identifier=identifier, dry_run=dry_run, allow_empty=allow_empty
        )
        return self._transport.lines(bulk.cancel(request))

    def label(
        self,
        *add: str,
        remove: tuple[str, ...] = (),
        dry_run: bool = False,
        allow_empty: bool = False,
    ) -> Iterator[BulkLine]:
        """Give them labels, and take labels from those that have them."""
        request = BulkLabelRequest(
            select=self.text, add=add, remove=remove, dry_run=dry_run, allow_empty=allow_empty
        )
        return self._transport.lines(bulk.label(request))

    def put_into_window(
        self, window: str, *, dry_run: bool = False, allow_empty: bool = False
    ) -> Iterator[BulkLine]:
        """Put them into a window, those that they are now, each kept by its UUID."""
        request = BulkWindowRequest(select=self.text, dry_run=dry_run, allow_empty=allow_empty)
        return self._transport.lines(bulk.window(window, request))

    def take_out_of_window(
        self, window: str, *, dry_run: bool = False, allow_empty: bool = False
    ) -> Iterator[BulkLine]:
        """Take them out of a window; one that a pattern of the window means is told as refused."""
        request = BulkWindowRequest(select=self.text, remove=True, dry_run=dry_run, allow_empty=allow_empty)
        return self._transport.lines(bulk.window(window, request))
