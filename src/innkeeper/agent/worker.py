"""Do one step of an update in a process of its own, which outlives the agent."""

import time
from typing import List

from innkeeper.agent import disturbed
from innkeeper.agent.backends import BACKENDS
from innkeeper.agent.backends.backend import Backend
from innkeeper.agent.backends.quiet import quiet
from innkeeper.agent.command import Stopped
from innkeeper.agent.context import UpdateOptions, read_context
from innkeeper.agent.packages import changes
from innkeeper.agent.places import Places
from innkeeper.agent.report import Failure, Report
from innkeeper.agent.run import Request, Run
from innkeeper.agent.shortage import shortages

#: How many packages are named in a sentence.
_MOST_NAMES = 10


def work(places: Places, run: Run) -> int:
    """Carry out a run; returns the exit code. Does nothing where the run has, or had, a worker."""
    if not run.take():
        return 0
    report = Report(run)
    request = run.request()
    backend = BACKENDS[request.backend](places, report)
    began = time.time()
    try:
        if request.step == "check":
            backend.has_acted = True
            _check(backend, report, run)
        elif request.step == "prepare":
            _prepare(backend, report, request)
        else:
            _update(places, backend, report, run, request)
    except (Failure, ValueError) as exc:
        report.fail(str(exc) + shortages(places, str(exc), request.since or began), not backend.has_acted)
    except Stopped:
        report.fail("It was stopped at the host's request.", not backend.has_acted)
    except Exception as exc:  # The top of the worker: a run without an end would be waited for.
        short = shortages(places, str(exc), request.since or began)
        report.fail(f"The update program failed: {exc!r}{short}", not backend.has_acted)
    return 0


def _prepare(backend: Backend, report: Report, request: Request) -> None:
    """Do all that needs no undo point, and say whether there is anything to do under one."""
    options = read_context(request.context)
    planned = backend.prepare(options.packages)
    if planned is None:
        report.prepared("ready", "The package database has to be repaired first.", [])
    elif planned:
        names = _names([name for name, _, _ in planned])
        report.prepared("ready", f"Downloaded: {names}{_left(backend)}.", planned)
    elif _wants_reboot(backend, options):
        report.prepared("ready", f"{_summary(0, backend)}; a reboot is due.", [])
    else:
        report.prepared("nothing", f"{_summary(0, backend)}.", [])


def _update(places: Places, backend: Backend, report: Report, run: Run, request: Request) -> None:
    options = read_context(request.context)
    run.keep_complaints(backend.complaints())
    before, began = backend.installed(), request.since or time.time()
    try:
        with quiet(places, report, run):
            backend.update(request, options.packages)
    finally:
        run.keep_disturbed(disturbed.find(places, began))
        changed = changes(before, backend.installed())
        backend.has_acted = backend.has_acted or bool(changed)
        report.packages(changed)
    _expect_sound(backend, run)
    summary = _summary(len(changed), backend)
    if _wants_reboot(backend, options):
        report.end("reboot", f"{summary}; a reboot is due.")
    else:
        report.end("success", f"{summary}.")


def _wants_reboot(backend: Backend, options: UpdateOptions) -> bool:
    return options.reboot == "always" or (options.reboot == "if_needed" and backend.needs_reboot())


def _check(backend: Backend, report: Report, run: Run) -> None:
    _expect_sound(backend, run)
    again = "; another reboot is due" if backend.needs_reboot() else ""
    report.end("success", f"The guest has rebooted, and its package database is sound{again}.")


def _expect_sound(backend: Backend, run: Run) -> None:
    """Fail where the package database has got worse; what was wrong before is no fault of the update."""
    former = run.complaints()
    new = [complaint for complaint in backend.complaints() if complaint not in former]
    if new:
        more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
        raise Failure(f"The package database is worse than before: {new[0]}{more}")


def _summary(count: int, backend: Backend) -> str:
    """Three answers that are not the same: nothing to do, held back, and not looked."""
    if count:
        done = f"{count} package{'' if count == 1 else 's'} changed"
    else:
        done = (
            "Nothing was updated" if backend.held_back or backend.not_looked else "Nothing had to be updated"
        )
    return done + _left(backend)


def _left(backend: Backend) -> str:
    held = f"; held back: {_names(backend.held_back)}" if backend.held_back else ""
    unseen = f"; not looked at: {'; '.join(backend.not_looked)}" if backend.not_looked else ""
    return held + unseen


def _names(names: List[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
