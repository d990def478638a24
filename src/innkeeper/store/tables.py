"""Tables of the store: the same on SQLite and PostgreSQL.

A change here needs a migration in ``migrations/versions``; a test compares the two.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa


class Instant(sa.types.TypeDecorator[dt.datetime]):
    """A moment: aware, kept and read in UTC (SQLite keeps no zone by itself)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """Refuse a naive time, whose moment is unknown."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"A time without a zone cannot be kept: {value}")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: sa.Dialect) -> dt.datetime | None:
        """An aware time in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Words(sa.types.TypeDecorator[str]):
    """Text from people and guests: PostgreSQL keeps no NUL, and a guest may print one."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Replace a NUL by a visible sign."""
        return None if value is None else value.replace("\0", "\N{SYMBOL FOR NULL}")


metadata = sa.MetaData()

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("kind", Words, nullable=False),
    sa.Column("description", Words, nullable=False),
    sa.Column("lock", Words),
    # What people call that which it holds; empty in rows from before machines had keys.
    sa.Column("about", Words, nullable=False, server_default=""),
    sa.Column("parent_id", sa.BigInteger),
    sa.Column("owner", Words, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("phase", Words, nullable=False, server_default=""),
    sa.Column("phase_number", sa.Integer, nullable=False, server_default="0"),
    sa.Column("phase_count", sa.Integer, nullable=False, server_default="0"),
    sa.Column("percent", sa.Integer),
    sa.Column("bytes_done", sa.BigInteger),
    sa.Column("bytes_total", sa.BigInteger),
    sa.Column("cancel_effect", Words, nullable=False),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("result", sa.Integer),
    sa.Column("error", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("error_description", Words, nullable=False, server_default=""),
    sa.Column("argument", Words, nullable=False),
    # The life of a server that carries it, where it has no journal.
    sa.Column("carrier", Words),
    # The host that it works on, and the server that carries it, by their ids.
    sa.Column("host", Words),
    sa.Column("server", Words),
    # An id is never given twice, also after the history has been purged.
    sqlite_autoincrement=True,
)

_is_live = tasks.c.result.is_(None)

# The lock: one live task holds it, and it is free the moment that task ends. There is no other flag.
sa.Index("one_live_task_a_lock", tasks.c.lock, unique=True, sqlite_where=_is_live, postgresql_where=_is_live)
sa.Index("tasks_by_parent", tasks.c.parent_id)
sa.Index("tasks_by_end", tasks.c.ended_at)
# What each server asks for every second: few rows, however long the history.
_is_to_cancel = tasks.c.cancel_requested & _is_live
sa.Index("tasks_to_cancel", tasks.c.id, sqlite_where=_is_to_cancel, postgresql_where=_is_to_cancel)

task_log = sa.Table(
    "task_log",
    metadata,
    sa.Column("task_id", sa.ForeignKey(tasks.c.id, ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("level", Words, nullable=False),
    sa.Column("text", Words, nullable=False),
)

servers = sa.Table(
    "servers",
    metadata,
    sa.Column("name", Words, primary_key=True),
    # The server's id, the same for ever. To the last release it was the executor of its runs too.
    sa.Column("executor_id", Words, key="id", nullable=False, unique=True),
    sa.Column("last_seen", Instant, nullable=False),
    # Counts its starts.
    sa.Column("incarnation", sa.BigInteger, nullable=False, server_default="0"),
    # The state directory of its last start.
    sa.Column("home", Words, nullable=False, server_default=""),
    # Where its peers reach it: HOST:PORT.
    sa.Column("address", Words, nullable=False, server_default=""),
    sa.Column("version", Words, nullable=False, server_default=""),
    sa.Column("state", Words, nullable=False, server_default="serving"),
    sa.Column("started_at", Instant),
    # Until then the name is its own.
    sa.Column("until", Instant),
    # Why its last start failed, in a sentence.
    sa.Column("trouble", Words, nullable=False, server_default=""),
)

host_leases = sa.Table(
    "host_leases",
    metadata,
    # The host's id, which outlives its names.
    sa.Column("host", Words, primary_key=True),
    sa.Column("name", Words, nullable=False),
    sa.Column("uri", Words, nullable=False, server_default=""),
    # The id of the server that owns it or owned it last.
    sa.Column("server", Words),
    # Goes up with each owner and each of its starts.
    sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("until", Instant),
    # Since when the owner would leave it to whoever opens it.
    sa.Column("offered_at", Instant),
)
sa.Index("host_leases_by_server", host_leases.c.server)

host_reaches = sa.Table(
    "host_reaches",
    metadata,
    # Which servers have a host in their settings, and have reached it.
    sa.Column("host", Words, primary_key=True),
    sa.Column("server", Words, primary_key=True),
    # Whether the server takes it only while no other can.
    sa.Column("stand_in", sa.Boolean, nullable=False),
    # By which name and URI, and when it answered there last.
    sa.Column("name", Words, nullable=False, server_default=""),
    sa.Column("uri", Words, nullable=False, server_default=""),
    sa.Column("reached_at", Instant),
)

# The last transaction of each connection of a server, to know whether one was made whose answer was lost.
commit_marks = sa.Table(
    "commit_marks",
    metadata,
    sa.Column("writer", Words, primary_key=True),
    sa.Column("slot", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

bookings = sa.Table(
    "bookings",
    metadata,
    sa.Column("machine", Words, primary_key=True),
    sa.Column("identifier", Words, primary_key=True),
    sa.Column("label", Words, nullable=False),
    sa.Column("context", sa.LargeBinary, nullable=False),
    sa.Column("start", Instant, nullable=False),
    sa.Column("end", Instant),
    sa.Column("deadline", Instant),
    sa.Column("booked_by", Words, nullable=False),
    sa.Column("booked_at", Instant, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("task_id", sa.BigInteger),
    sa.Column("verdict", Words),
    sa.Column("reason", Words, nullable=False),
    sa.Column("next_chance", Instant),
    # The machine's key; empty in rows from before machines had keys. The name is that of the first booking.
    sa.Column("machine_key", Words, nullable=False, server_default=""),
)
_has_key = bookings.c.machine_key != ""
sa.Index(
    "one_booking_a_machine_and_identifier",
    bookings.c.machine_key,
    bookings.c.identifier,
    unique=True,
    sqlite_where=_has_key,
    postgresql_where=_has_key,
)

windows = sa.Table(
    "windows",
    metadata,
    sa.Column("name", Words, primary_key=True),
    # The window as JSON: nothing but Innkeeper's own code looks into it.
    sa.Column("body", Words, nullable=False),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("task_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("machine", Words, nullable=False),
    # The machine's key; empty in rows from before machines had keys.
    sa.Column("machine_key", Words, nullable=False, server_default=""),
    sa.Column("label", Words, nullable=False),
    sa.Column("verdict", Words, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("ended_at", Instant, nullable=False),
    # The report as JSON; the columns beside it are what it is looked for by.
    sa.Column("body", Words, nullable=False),
)
sa.Index("reports_by_machine", reports.c.machine, reports.c.task_id)
sa.Index("reports_by_machine_key", reports.c.machine_key, reports.c.task_id)
sa.Index("reports_by_end", reports.c.ended_at)

schedule_folders = sa.Table(
    "schedule_folders",
    metadata,
    # The path in one case, by which folders and tasks are told apart.
    sa.Column("key", Words, primary_key=True),
    sa.Column("path", Words, nullable=False),
    sa.Column("sddl", Words, nullable=False),
)

scheduled_tasks = sa.Table(
    "scheduled_tasks",
    metadata,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("key", Words, nullable=False, unique=True),
    sa.Column("folder", Words, nullable=False),
    sa.Column("path", Words, nullable=False),
    sa.Column("xml", Words, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("hidden", sa.Boolean, nullable=False),
    sa.Column("sddl", Words, nullable=False),
    sa.Column("owner", Words, nullable=False),
    sa.Column("registered_at", Instant, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("handled_until", Instant, nullable=False),
    sa.Column("next_due", Instant),
    sa.Column("last_run", Instant),
    sa.Column("last_result", sa.BigInteger, nullable=False),
    sa.Column("missed_runs", sa.BigInteger, nullable=False),
    # What else than the clock concerns the task, as flags.
    sa.Column("watches", sa.Integer, nullable=False, server_default="0"),
    # A JSON list of the repetitions under way: trigger and first start.
    sa.Column("series", Words, nullable=False, server_default="[]"),
    # The id of the server at which it was registered.
    sa.Column("server", Words, nullable=False, server_default=""),
    # A JSON list of the machines that its operations name: what they call each, and its key …
    sa.Column("machines", Words, nullable=False, server_default="[]"),
    # … as was found out for the definition that was registered then: a former release may replace it.
    sa.Column("machines_of", Instant),
    # The history names tasks by id: an id is never given twice.
    sqlite_autoincrement=True,
)
sa.Index("scheduled_tasks_by_folder", scheduled_tasks.c.folder)
_is_enabled = scheduled_tasks.c.enabled
sa.Index(
    "scheduled_tasks_due",
    scheduled_tasks.c.next_due,
    sqlite_where=_is_enabled,
    postgresql_where=_is_enabled,
)
_is_watching = scheduled_tasks.c.watches != 0
sa.Index(
    "scheduled_tasks_watching",
    scheduled_tasks.c.watches,
    sqlite_where=_is_watching,
    postgresql_where=_is_watching,
)

schedule_boots = sa.Table(
    "schedule_boots",
    metadata,
    sa.Column("computer", Words, primary_key=True),
    # The boot in which the scheduler was last seen there.
    sa.Column("boot_id", Words, nullable=False),
)

schedule_runs = sa.Table(
    "schedule_runs",
    metadata,
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("id", Words, nullable=False, unique=True),
    sa.Column("task_id", sa.ForeignKey(scheduled_tasks.c.id, ondelete="CASCADE"), nullable=False),
    sa.Column("occurrence", Words, nullable=False),
    sa.Column("trigger", sa.Integer, nullable=False),
    sa.Column("due", Instant, nullable=False),
    sa.Column("state", Words, nullable=False),
    # A JSON list.
    sa.Column("arguments", Words, nullable=False),
    # A JSON object: what the event gave, by name.
    sa.Column("given", Words, nullable=False, server_default="{}"),
    sa.Column("run_as", Words, nullable=False, server_default=""),
    sa.Column("ends_by", Instant),
    sa.Column("operation", sa.BigInteger),
    sa.Column("started_at", Instant),
    sa.Column("ended_at", Instant),
    sa.Column("result", sa.BigInteger, nullable=False),
    sa.Column("reason", Words, nullable=False),
    sa.Column("action", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    # The claim: whoever writes the occurrence first makes the start, and no one makes it again.
    sa.UniqueConstraint("task_id", "occurrence", name="one_run_an_occurrence"),
)
_is_live_run = schedule_runs.c.ended_at.is_(None)
sa.Index(
    "schedule_runs_live",
    schedule_runs.c.task_id,
    sqlite_where=_is_live_run,
    postgresql_where=_is_live_run,
)

answers = sa.Table(
    "answers",
    metadata,
    # Of the caller and its idempotency key.
    sa.Column("key", Words, primary_key=True),
    sa.Column("fingerprint", Words, nullable=False),
    sa.Column("asked_at", Instant, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("media_type", Words, nullable=False, server_default=""),
    sa.Column("body", sa.LargeBinary),
)
sa.Index("answers_by_time", answers.c.asked_at)

channels = sa.Table(
    "channels",
    metadata,
    # The computer on which the pipe lies, and the pipe's name without its case.
    sa.Column("server", Words, primary_key=True),
    sa.Column("key", Words, primary_key=True),
    # The channel as JSON: nothing but Innkeeper's own code looks into it.
    sa.Column("body", Words, nullable=False),
)

parameters = sa.Table(
    "parameters",
    metadata,
    # The machine's UUID: a machine may be given another name.
    sa.Column("machine", Words, primary_key=True),
    sa.Column("name", Words, primary_key=True),
    # Nothing for one that was taken back.
    sa.Column("value", Words),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("by_guest", sa.Boolean, nullable=False),
    sa.Column("at", Instant, nullable=False),
)

options = sa.Table(
    "options",
    metadata,
    sa.Column("key", Words, primary_key=True),
    # The value as JSON: nothing but Innkeeper's own code looks into it.
    sa.Column("body", Words, nullable=False),
)
