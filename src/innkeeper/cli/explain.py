"""Explain the verdict of an update run: what was found, by which evidence, and what it was before."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from innkeeper.cli.terminal import Json, MachineName, session_of
from innkeeper.client import Inn
from innkeeper.errors import ErrorCode, UpdateError
from innkeeper.wire.messages import FindingMessage, ReportMessage, UpdateDetail
from innkeeper.wire.states import Verdict

#: What became of an update, with a style.
VERDICTS = {
    Verdict.KEPT: ("kept", "green"),
    Verdict.ROLLED_BACK: ("rolled back", "yellow"),
    Verdict.NOT_STARTED: ("not started", "yellow"),
    Verdict.NOTHING_TO_DO: ("nothing to do", "green"),
    Verdict.NEEDS_HELP: ("needs help", "bold red"),
}
_SENTENCES = {
    Verdict.KEPT: "The update was kept",
    Verdict.ROLLED_BACK: "The machine was brought back to what it was before the update",
    Verdict.NOT_STARTED: "The update was not begun, and the machine was left as it was found",
    Verdict.NOTHING_TO_DO: "The guest was looked at, and it was left as it was found",
    Verdict.NEEDS_HELP: "A person is needed: everything was left in place",
}


def explain(
    context: typer.Context,
    name: MachineName,
    identifier: Annotated[
        str | None,
        typer.Argument(
            metavar="[IDENTIFIER]", help="The update's identifier; the last that ended if left out."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Explain why an update was kept or rolled back: each finding, its evidence, and what it was before."""
    session = session_of(context)
    named = session.inn.updates.find(name, identifier).detail() if identifier else None
    detail = named or _last(session.inn, name)
    if session.json:
        session.answer(detail)
    elif detail.report is None:
        raise UpdateError(
            f"The update “{detail.update.identifier}” of {detail.update.machine} has no report yet.",
            code=ErrorCode.ERROR_NOT_READY,
            advice="See what it does, or when it runs: innkeeper tonight",
        )
    else:
        session.out.print(Group(*_explained(detail, detail.report)))


def _last(inn: Inn, name: str) -> UpdateDetail:
    """The update of a machine whose run ended last; put off, it waits again, and has that run's report."""
    booked = inn.updates.list(name)
    ended = [each for each in booked if each.verdict is not None and each.task_id is not None]
    asked = [each for each in booked if each.verdict is None]
    asked += sorted(ended, key=lambda each: each.task_id or 0)[-1:]
    details = [inn.updates.find(name, each.identifier).detail() for each in asked]
    told = [(detail.report.ended_at, number) for number, detail in enumerate(details) if detail.report]
    if not told:
        raise UpdateError(
            f"No update of {name} has run yet, so there is nothing to explain.",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice=f"See what is booked: innkeeper update list --machine {name}",
        )
    return details[max(told)[1]]


def _explained(detail: UpdateDetail, report: ReportMessage) -> Iterator[RenderableType]:
    update = detail.update
    word, style = VERDICTS[report.verdict]
    yield Text.assemble((update.machine, "bold"), f": {update.label} ({update.identifier}) ", (word, style))
    faults = [each for each in report.findings if each.is_fault]
    said = {each.sentence for each in faults}
    reasons = [reason for reason in report.reasons if reason not in said]
    yield Text(f"{_SENTENCES[report.verdict]}{':' if reasons or faults else '.'}")
    for reason in reasons:
        yield _indented(Text(reason))
    for finding in faults:
        yield from _finding(finding, "red")
    if faults:
        yield from _way_out(update.machine, faults)
    others = [each for each in report.findings if not each.is_fault]
    if others:
        yield Text()
        yield Text("Worse than before as well, which did not count:")
        for finding in others:
            yield from _finding(finding, "yellow")
    if not report.findings and report.verdict is Verdict.KEPT:
        yield Text("Nothing in the guest was worse than before.", style="dim")
    yield Text()
    yield Text(f"The whole log: innkeeper task log {report.task_id}", style="dim")


def _finding(finding: FindingMessage, style: str) -> Iterator[RenderableType]:
    yield Text()
    yield _indented(Text(finding.subject, style=style))
    yield _indented(Text(finding.sentence), 4)
    if finding.was:
        yield _indented(Text.assemble(("before  ", "dim"), finding.was), 4)
    for number, line in enumerate(finding.evidence):
        yield _indented(Text.assemble(("now     " if number == 0 else "        ", "dim"), line), 4)


def _way_out(machine: str, faults: list[FindingMessage]) -> Iterator[RenderableType]:
    named = [each.subject for each in faults if each.subject != "boot"]
    if named:
        words = " ".join(map(shlex.quote, (machine, *named)))
        yield Text()
        yield Text("If this is no fault of this machine:", style="dim")
        yield Text.assemble(
            ("  → ", "dim"), (f"innkeeper machine ignore {words}", "cyan"), no_wrap=True, overflow="ignore"
        )


def _indented(text: Text, by: int = 2) -> RenderableType:
    return Padding(text, (0, 0, 0, by))
