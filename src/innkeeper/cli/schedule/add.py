"""Register a task from what is said on the command line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.schedule.files import TaskPath
from innkeeper.cli.schedule.rules import When, action_of, read_duration, trigger_of
from innkeeper.cli.schedule.words import say_action, say_settings, say_trigger
from innkeeper.cli.terminal import Json, Session, facts, session_of
from innkeeper.cli.times import parse_zone, say_both
from innkeeper.errors import InvalidArgument
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import InstancesPolicy, LogonType, RunLevel, TaskCreation

_POLICIES = {
    "ignore": InstancesPolicy.IGNORE_NEW,
    "parallel": InstancesPolicy.PARALLEL,
    "queue": InstancesPolicy.QUEUE,
    "stop": InstancesPolicy.STOP_EXISTING,
}
#: How many of the next runs are shown.
_SHOWN = 3


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(add)


def add(  # a person says one or two of these
    context: typer.Context,
    path: TaskPath,
    program: Annotated[
        list[str] | None, typer.Argument(metavar="[-- PROGRAM ARGUMENT…]", help="What to run.")
    ] = None,
    operation: Annotated[
        str | None,
        typer.Option(help="One of Innkeeper's own operations instead: start, stop, save, compact-disk …"),
    ] = None,
    on: Annotated[
        str, typer.Option("--on", metavar="MACHINE", help="The machine or disk that the operation works on.")
    ] = "",
    once: Annotated[str | None, typer.Option(metavar="TIME", help="Once: 'fri 02:00', 'in 10m'.")] = None,
    daily: Annotated[str | None, typer.Option(metavar="CLOCK", help="Every day: 02:00.")] = None,
    weekly: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Weekly: sat,sun, weekdays, weekend. With --at.")
    ] = None,
    monthly: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Monthly: 1,15,last, or 'last fri'. With --at.")
    ] = None,
    every: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Again and again: 15m. Alone, or with a rule.")
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="LENGTH", help="For how long --every goes on: 8h.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="CLOCK", help="The wall time: 02:00.")] = None,
    interval: Annotated[int, typer.Option(min=1, help="Every n-th day or week only.")] = 1,
    months: Annotated[str | None, typer.Option(help="With --monthly: jan,jul.")] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of these times; yours if left out.")] = None,
    on_boot: Annotated[bool, typer.Option("--on-boot", help="When the computer has started.")] = False,
    on_logon: Annotated[
        str | None, typer.Option(metavar="USER", help="When this user logs on, or 'anyone'.")
    ] = None,
    on_idle: Annotated[bool, typer.Option("--on-idle", help="When the computer becomes idle.")] = False,
    on_event: Annotated[
        str | None, typer.Option(metavar="QUERY", help="At an event: CHANNEL:XPATH, or a query list.")
    ] = None,
    on_registration: Annotated[
        bool, typer.Option("--on-registration", help="When the task is registered or changed.")
    ] = False,
    delay: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Start this long after the trigger.")
    ] = None,
    random_delay: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Add a random delay of up to this length.")
    ] = None,
    start: Annotated[str | None, typer.Option(metavar="DAY", help="Not before this day.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Not after this.")] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="CALENDAR", help="Not on the days of this calendar. May be given again."),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="CALENDAR", help="Only on the days of this calendar. May be given again."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="As whom the program runs.")] = None,
    highest: Annotated[bool, typer.Option("--highest", help="With all the rights that user has.")] = False,
    directory: Annotated[str | None, typer.Option(metavar="DIR", help="Where the program runs.")] = None,
    limit: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Stop it after so long; 0s for no limit.")
    ] = None,
    overlap: Annotated[
        str, typer.Option(help="While one still runs: ignore, parallel, queue or stop.")
    ] = "ignore",
    catch_up: Annotated[bool, typer.Option("--catch-up", help="Make up for a missed start.")] = False,
    retry: Annotated[int, typer.Option(min=0, max=255, help="Try again this many times if it fails.")] = 0,
    retry_every: Annotated[
        str, typer.Option(metavar="LENGTH", help="How long to wait before trying again.")
    ] = "5m",
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Hide the task in lists.")] = False,
    disabled: Annotated[bool, typer.Option("--disabled", help="Register it disabled.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a task of this path.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the task, but do not register it.")
    ] = False,
    json: Json = False,
) -> None:
    r"""Register a task, and show when it runs next.

    Examples:

        innkeeper schedule add '\Nightly\Trim' --daily 02:00 --zone Europe/Paris -- /sbin/fstrim --all

        innkeeper schedule add '\Weekend\Save' --weekly sat,sun --at 23:30 --operation save --on web-1

        innkeeper schedule add '\Reports' --monthly 'last fri' --at 18:00 --random-delay 30m -- /opt/report

        innkeeper schedule add '\Poll' --every 15m --for 8h --at 08:00 --overlap queue -- /opt/poll

        innkeeper schedule add '\Boot' --on-boot --delay 5m --user ana -- /opt/warm-up
    """
    session = session_of(context)
    if on and not operation:
        raise InvalidArgument(
            "--on names what an operation works on.", advice="Add --operation, or drop --on."
        )
    when = When(
        once=once, daily=daily, weekly=weekly, monthly=monthly, every=every, at=at, interval=interval,
        months=months, for_=for_, on_boot=on_boot, on_logon=on_logon, on_idle=on_idle, on_event=on_event,
        on_registration=on_registration, delay=delay, random_delay=random_delay, start=start, until=until,
    )  # fmt: skip
    tz = parse_zone(zone) if zone else session.tz
    definition = TaskDefinition.new()
    trigger = trigger_of(when, session.now, tz)
    if trigger is not None:
        definition.triggers.append(trigger)
    operations = session.inn.schedule.operations if operation else {}
    words = [operation, on] if operation and on else [operation] if operation else []
    definition.actions.append(action_of(program or [], words, operations))
    definition.extension.zone = zone or _zone_name(tz)
    definition.extension.exclude, definition.extension.include = tuple(exclude or ()), tuple(include or ())
    definition.registration_info.description = description
    _settle(
        definition, directory=directory, limit=limit, overlap=overlap, catch_up=catch_up, retry=retry,
        retry_every=retry_every, hidden=hidden, highest=highest,
    )  # fmt: skip
    flags = TaskCreation.CREATE_OR_UPDATE if replace else TaskCreation.CREATE
    if dry_run:
        flags = TaskCreation.VALIDATE_ONLY
    made = session.inn.schedule.folder().register(
        path,
        definition,
        flags | (TaskCreation.DISABLE if disabled else TaskCreation(0)),
        user_id=user,
        logon_type=LogonType.S4U if user else LogonType.NONE,
    )
    if session.json and not dry_run:
        session.answer(made.read())
    elif session.json:
        session.out.print_json(data={"path": path, "valid": True})
    else:
        _tell(session, path, definition, operations, tz, dry_run=dry_run)


def _settle(
    definition: TaskDefinition,
    *,
    directory: str | None,
    limit: str | None,
    overlap: str,
    catch_up: bool,
    retry: int,
    retry_every: str,
    hidden: bool,
    highest: bool,
) -> None:
    settings = definition.settings
    if overlap not in _POLICIES:
        raise InvalidArgument(
            f"“{overlap}” is not a policy for a start while another instance runs.",
            advice=f"Write {', '.join(_POLICIES)}.",
        )
    settings.multiple_instances = _POLICIES[overlap]
    settings.start_when_available, settings.hidden = catch_up, hidden
    if limit is not None:
        settings.execution_time_limit = read_duration(limit)
    if retry:
        settings.restart_count = retry
        settings.restart_interval = read_duration(retry_every)
        definition.extension.restart_on_exit_code = True
    if highest:
        definition.principal.run_level = RunLevel.HIGHEST
    if directory is not None:
        action = definition.actions[1]
        if not hasattr(action, "working_directory"):
            raise InvalidArgument(
                "--directory is for programs.", advice="An operation has no working directory."
            )
        action.working_directory = directory


def _tell(
    session: Session,
    path: str,
    definition: TaskDefinition,
    operations: dict[str, str],
    tz: dt.tzinfo,
    *,
    dry_run: bool,
) -> None:
    """Print what was registered, in words, and its next runs in the zone of the rule."""
    message = "would be registered; nothing was changed." if dry_run else "is registered."
    session.out.print(Text.assemble((path, "bold"), f" {message}"))
    names = {class_id.upper(): name for name, class_id in operations.items()}
    session.out.print(facts(_facts(definition, names)))
    runs = () if dry_run else _next_runs(session, path)
    if runs:
        session.out.print(Text("next runs", style="dim"))
        for run in runs:
            session.out.print(Text(f"  {say_both(run, session.now, tz)}"))
    elif not dry_run and not definition.triggers.count:
        session.note(f"Nothing starts it automatically. Start it with: innkeeper schedule run '{path}'")


def _facts(definition: TaskDefinition, names: dict[str, str]) -> dict[str, str]:
    return {
        "runs": "; ".join(say_trigger(each) for each in definition.triggers) or "only by hand",
        "zone": definition.extension.zone or "",
        "does": "; ".join(say_action(each, names) for each in definition.actions),
        "as": definition.principal.user_id or "",
        "also": ", ".join(say_settings(definition)),
    }


def _next_runs(session: Session, path: str) -> tuple[dt.datetime, ...]:
    end = session.now + dt.timedelta(days=366)
    found = session.inn.schedule.calendar((path,), session.now, end, count=_SHOWN)
    return found[0].times if found else ()


def _zone_name(zone: dt.tzinfo) -> str | None:
    return getattr(zone, "key", None)
