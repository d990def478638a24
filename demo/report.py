"""Print what the service reports of the night."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from innkeeper.wire.messages import ReportMessage
from innkeeper.wire.states import Verdict

_VERDICTS = {
    Verdict.KEPT: "[bold green]kept[/]",
    Verdict.ROLLED_BACK: "[bold yellow]rolled back[/]",
    Verdict.NOT_STARTED: "[bold red]not started[/]",
    Verdict.NOTHING_TO_DO: "[bold green]nothing to do[/]",
    Verdict.NEEDS_HELP: "[bold red]needs help[/]",
}
#: A phase that took less is not worth a word.
_WORTH_SECONDS = 0.05


def print_report(console: Console, reports: Mapping[str, ReportMessage | None]) -> None:
    """Print each machine's part."""
    for machine, report in reports.items():
        if report is None:
            console.print(f"\n[bold]{machine}[/]  [red]no report[/]")
        else:
            _print_one(console, report)


def _print_one(console: Console, report: ReportMessage) -> None:
    reboots = "" if not report.reboots else f", {report.reboots} reboot{'s' * (report.reboots > 1)}"
    console.print(
        f"\n[bold]{report.machine}[/]  {_VERDICTS[report.verdict]}  "
        f"found {_state(report.found_state)}, left {_state(report.left_state)}{reboots}"
    )
    details = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    details.add_column(style="dim", no_wrap=True)
    details.add_column(overflow="fold")
    for reason in report.reasons:
        details.add_row("why", reason)
    if report.undo_point:
        details.add_row("undo point", report.undo_point)
    for package in report.packages:
        details.add_row("package", f"{package.name}  {package.old_version} → {package.new_version}")
    for checksum in report.checksums:
        details.add_row("disk before", checksum.before)
        if checksum.after:
            details.add_row("disk after", checksum.after)
    long = [phase for phase in report.phases if phase.seconds >= _WORTH_SECONDS]
    phases = ", ".join(f"{phase.name} {phase.seconds:.1f}" for phase in long)
    details.add_row("took", f"{sum(phase.seconds for phase in report.phases):.0f} s: {phases}")
    console.print(details)


def _state(name: str) -> str:
    return name.lower().replace("_", " ")
