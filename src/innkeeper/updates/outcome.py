"""How a phase of an update run went, in a form that outlives the service."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import Final

from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.updates.health import Finding, finding_from_json, finding_to_json
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_int,
    as_list,
    as_object,
    get_enum,
    get_float,
    get_moment,
    get_object,
    get_or,
    get_str,
    get_strs,
    refuse_newer,
)

#: The version of an outcome's JSON, facts included. See docs/decisions/0043-journals-are-versioned.md.
_VERSION: Final = 1


class Cause(enum.StrEnum):
    """Why a run does not go on."""

    #: Somebody asked for it.
    CANCELLED = "cancelled"
    #: The window closes.
    WINDOW_END = "window_end"
    #: A phase did not end in the time it had.
    TIME_OUT = "time_out"
    #: The machine cannot be maintained; nothing was touched.
    UNFIT = "unfit"
    #: The guest has looked, and there is nothing to do.
    NOTHING_TO_DO = "nothing_to_do"
    #: The guest cannot begin the update now; nothing was changed.
    NOT_PREPARED = "not_prepared"
    #: The update failed before it changed anything.
    UNCHANGED = "unchanged"
    #: The update, the guest or the machine failed.
    FAILED = "failed"

    @property
    def is_wish(self) -> bool:
        """Whether nothing failed: somebody, or the calendar, wanted it to stop."""
        return self in (Cause.CANCELLED, Cause.WINDOW_END)


class Stop(Exception):
    """A phase says that the run must not go on, and why."""

    def __init__(
        self,
        cause: Cause,
        *reasons: str,
        code: ErrorCode = ErrorCode.E_FAIL,
        advice: str = "",
        findings: tuple[Finding, ...] = (),
    ) -> None:
        super().__init__(*reasons)
        self.cause = cause
        self.reasons = reasons
        self.code = code
        self.advice = advice
        #: What is worse in the guest than before, where that is why.
        self.findings = findings

    @classmethod
    def by(cls, error: InnkeeperError, cause: Cause = Cause.FAILED) -> Stop:
        """Stop because of an error of ours."""
        return cls(cause, error.sentence, code=error.code, advice=error.advice)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What the journal keeps of one phase."""

    #: What it took, in seconds; time during which the service was dead is not known to it.
    seconds: float
    #: What it found out, for the phases after it: the JSON of its ``Facts``.
    facts: JsonObject
    #: Why the run stops here; ``None`` where it goes on.
    cause: Cause | None
    reasons: tuple[str, ...]
    code: ErrorCode
    advice: str
    #: What was found worse in the guest, where it stops for that.
    findings: tuple[Finding, ...] = ()
    #: When it ended, which is when the next one began; ``None`` in journals from before that was kept.
    ended_at: dt.datetime | None = None
    #: How often the guest rebooted, and crashed, as far as its host has told.
    reboots: int = 0
    crashes: int = 0

    @classmethod
    def went_on(cls, facts: JsonObject, seconds: float) -> Outcome:
        """The phase did what it is for."""
        return cls(seconds=seconds, facts=facts, cause=None, reasons=(), code=ErrorCode.S_OK, advice="")

    @classmethod
    def stopped(cls, stop: Stop, seconds: float) -> Outcome:
        """The phase ended the run's way forward."""
        return cls(
            seconds=seconds,
            facts={},
            cause=stop.cause,
            reasons=stop.reasons,
            code=stop.code,
            advice=stop.advice,
            findings=stop.findings,
        )

    def to_json(self) -> Json:
        """For the journal."""
        return {
            "version": _VERSION,
            "seconds": self.seconds,
            "facts": self.facts,
            "cause": self.cause,
            "reasons": list(self.reasons),
            "code": int(self.code),
            "advice": self.advice,
            "findings": [finding_to_json(finding) for finding in self.findings],
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "reboots": self.reboots,
            "crashes": self.crashes,
        }

    @classmethod
    def from_json(cls, data: Json) -> Outcome:
        """From the journal. Raises ``JsonError``."""
        fields = as_object(data)
        refuse_newer(fields, _VERSION)
        return cls(
            seconds=get_float(fields, "seconds"),
            facts=get_object(fields, "facts"),
            cause=get_enum(fields, "cause", Cause) if fields.get("cause") else None,
            reasons=get_strs(fields, "reasons"),
            code=get_enum(fields, "code", ErrorCode),
            advice=get_str(fields, "advice"),
            findings=get_or(fields, "findings", lambda told: as_list(told, finding_from_json), ()),
            ended_at=get_moment(fields, "ended_at") if fields.get("ended_at") else None,
            reboots=get_or(fields, "reboots", as_int, 0),
            crashes=get_or(fields, "crashes", as_int, 0),
        )
