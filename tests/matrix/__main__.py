"""Run the matrix: ``python -m tests.matrix [CASE …]``; a night on a real guest for each, two at a time.

It needs what the demo needs, and one to three minutes a case under software emulation. A line of JSON for
each case goes to ``--results``, and a table in Markdown ends it. The exit code is 1 where a verdict is wrong.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import innkeeper
from demo.guest.image import Additions, build_image
from demo.machines import how_they_run
from demo.place import Place, image_cache
from demo.service import Service, end_leftovers
from innkeeper.errors import InnkeeperError
from innkeeper.wire.messages import ReportMessage, TaskMessage, UpdateMessage, WindowRequest
from innkeeper.wire.states import MachineState, Verdict
from tests.matrix import guest
from tests.matrix.case import Case
from tests.matrix.catalogue import CASES

_IDENTIFIER = "tried"
_BOOT_SECONDS = 300.0
_NIGHT_SECONDS = 1500.0
#: What a guest's services have to come up in before its night begins.
_SETTLE_SECONDS = 25.0
_SETTINGS = """\
[policy]
soak_seconds = 20
health_seconds = 180
prepare_seconds = 900
apply_seconds = 600
agent_seconds = 150
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """What came of one case."""

    name: str
    story: str
    expected: str
    verdict: str
    #: Why, in the report's sentences.
    sentences: tuple[str, ...]
    #: What is not as it has to be; empty where all is.
    faults: tuple[str, ...]
    reboots: int
    seconds: float


def main() -> int:
    """Try the cases; 0 only where each came out as it has to."""
    arguments = _arguments()
    Path(arguments.results).parent.mkdir(parents=True, exist_ok=True)
    known = {case.name: case for case in CASES}
    cases = [known[name] for name in arguments.cases] or [*CASES]
    place = Place(root=Path(arguments.place))
    end_leftovers(place)
    place.clear()
    service = Service(place)
    place.settings.write_text(_SETTINGS)
    _define(cases, place, has_agent=not arguments.without_agent)
    tried: list[Tried] = []
    try:
        inn = service.start()
        _open_window(inn)
        with ThreadPoolExecutor(max_workers=arguments.workers) as pool:
            for result in pool.map(lambda case: _try(case, place), cases):
                tried.append(result)
                with Path(arguments.results).open("a") as file:
                    file.write(json.dumps(dataclasses.asdict(result)) + "\n")
                print(_line(result), flush=True)
    finally:
        service.stop()
        end_leftovers(place)
    print(_table(tried))
    return int(any(result.faults for result in tried))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("cases", nargs="*", help="only these, in this order")
    parser.add_argument("--without-agent", action="store_true", help="guests with qemu-guest-agent alone")
    parser.add_argument("--workers", type=int, default=2, help="how many guests at once")
    parser.add_argument("--place", default="/var/tmp/inn-matrix", help="where it all lies")
    parser.add_argument("--results", default="build/matrix.jsonl", help="a line of JSON for each case")
    return parser.parse_args()


def _define(cases: Sequence[Case], place: Place, *, has_agent: bool) -> None:
    place.machines.mkdir(parents=True)
    settings = place.hypervisor / "etc"
    settings.mkdir(parents=True)
    (settings / "qemu.conf").write_text('stdio_handler = "file"\n')
    paths = []
    for is_whole in {case.is_whole for case in cases}:
        image = build_image(image_cache(), print, guest.WHOLE if is_whole else Additions())
        base = guest.make_base(image, place.root, is_whole=is_whole, has_agent=has_agent)
        how = how_they_run(image)
        paths += [
            guest.define(case, base, place.machines, how, has_agent=has_agent)
            for case in cases
            if case.is_whole is is_whole
        ]
    script = "; ".join(f"define {path}" for path in paths)
    subprocess.run(["virsh", "--quiet", "--connect", place.uri, script], check=True, capture_output=True)


def _open_window(inn: innkeeper.Inn) -> None:
    opened = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    window = WindowRequest(
        name="matrix",
        dates=(opened.date(),),
        opens_at=opened.time().replace(microsecond=0),
        duration_seconds=20 * 3600,
    )
    inn.windows.add(window)


def _try(case: Case, place: Place) -> Tried:
    began = time.monotonic()
    with innkeeper.connect(socket=place.socket) as inn:
        try:
            return _night(inn, case, began)
        except (InnkeeperError, TimeoutError) as error:
            return _result(case, "", (str(error),), (f"could not be tried: {error}",), 0, began)
        finally:
            machine = inn.machines[case.name]
            if machine.state is not MachineState.TURNED_OFF:
                machine.turn_off().wait(120)
            (place.machines / f"{case.name}.qcow2").unlink(missing_ok=True)


def _night(inn: innkeeper.Inn, case: Case, began: float) -> Tried:
    machine = inn.machines[case.name]
    machine.startup().wait(_BOOT_SECONDS)
    _expect(lambda: _answers(machine), _BOOT_SECONDS, "its agent never answered")
    time.sleep(_SETTLE_SECONDS)
    if case.ignored:
        machine.ignore(*case.ignored)
    booted = time.time() - (machine.health().uptime_seconds or 0)
    machine.updates.book(label=case.story, identifier=_IDENTIFIER)
    _expect(lambda: _is_over(inn, case), _NIGHT_SECONDS, "its night did not end")
    update, report = machine.updates[_IDENTIFIER].read(), machine.updates[_IDENTIFIER].report
    verdict, sentences = _outcome(update, report)
    faults = [*_wrong(case, verdict, sentences, report)]
    if not case.changes or (case.verdict is Verdict.KEPT and not case.reboots):
        _expect(lambda: _answers(machine), _BOOT_SECONDS, "its agent answered no more")
        anew = time.time() - (machine.health().uptime_seconds or 0)
        if abs(anew - booted) > 20:
            faults.append("the guest was stopped or rebooted")
    return _result(case, verdict, sentences, tuple(faults), report.reboots if report else 0, began)


def _result(
    case: Case, verdict: str, sentences: tuple[str, ...], faults: tuple[str, ...], reboots: int, began: float
) -> Tried:
    return Tried(
        name=case.name, story=case.story, expected=case.verdict.value, verdict=verdict, sentences=sentences,
        faults=faults, reboots=reboots, seconds=round(time.monotonic() - began, 1),
    )  # fmt: skip


def _wrong(case: Case, verdict: str, sentences: Sequence[str], report: ReportMessage | None) -> Iterator[str]:
    if verdict != case.verdict.value:
        yield f"the verdict is {verdict or 'none'}"
    if case.says and not any(case.says in sentence for sentence in sentences):
        yield f"no sentence says “{case.says}”"
    if case.verdict is Verdict.KEPT and report is not None and report.reboots != case.reboots:
        yield f"it was rebooted {report.reboots} times"
    if not case.changes and report is not None and any(phase.name == "turn off" for phase in report.phases):
        yield "the plug was pulled on an unchanged guest"


def _outcome(update: UpdateMessage, report: ReportMessage | None) -> tuple[str, tuple[str, ...]]:
    if report is None:  # put off: the booking waits for its next chance
        return Verdict.NOT_STARTED.value, (update.reason,)
    return report.verdict.value, (*report.reasons, *(finding.sentence for finding in report.findings))


def _is_over(inn: innkeeper.Inn, case: Case) -> bool:
    update = inn.machines[case.name].updates[_IDENTIFIER].read()
    return update.verdict is not None or (update.task_id is None and bool(_ended_runs(inn, case)))


def _ended_runs(inn: innkeeper.Inn, case: Case) -> Sequence[TaskMessage]:
    return [*inn.tasks.search(live=False, kind="update_run", machine=case.name)]


def _answers(machine: innkeeper.Machine) -> bool:
    """Whether somebody in it does who can update it."""
    return machine.read().agent_connected


def _expect(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up:
            raise TimeoutError(otherwise)
        time.sleep(1)


def _line(result: Tried) -> str:
    mark = "ok " if not result.faults else "BAD"
    why = "; ".join(result.faults) or (result.sentences[0] if result.sentences else "")
    return f"{mark} {result.name:<10} {result.verdict:<14} {result.seconds:>5.0f} s  {why}"


def _table(tried: Sequence[Tried]) -> str:
    lines = ["", "| case | what happens | verdict | reboots | the report says |", "|---|---|---|---|---|"]
    for each in tried:
        verdict = each.verdict.replace("_", " ") + (" **wrong**" if each.faults else "")
        said = (each.sentences[0] if each.sentences else "").replace("|", "\\|")
        lines.append(f"| {each.name} | {each.story} | {verdict} | {each.reboots} | {said} |")
    wrong = [each for each in tried if each.verdict != each.expected]
    counts = {
        "false roll backs": sum(each.verdict == "rolled_back" for each in wrong),
        "false keeps": sum(each.verdict == "kept" for each in wrong),
        "needs help": sum(each.verdict == "needs_help" for each in tried),
        "plugs pulled on unchanged guests": sum(
            "stopped or rebooted" in " ".join(each.faults) for each in tried
        ),
    }
    lines += ["", f"{len(tried)} nights; " + ", ".join(f"{name}: {count}" for name, count in counts.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
