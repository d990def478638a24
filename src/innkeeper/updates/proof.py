"""What is proved of an update, and what is only its guest's word."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.channels.ports import PackageChange
from innkeeper.updates.health import Finding
from innkeeper.wire.events import Json
from innkeeper.wire.guest_facts import WaitingUpdate
from innkeeper.wire.json_fields import as_object, get_enum, get_str
from innkeeper.wire.states import Proof as Proof

#: The subject of the finding that contradicts a guest.
SUBJECT = "update"
#: So many packages are named where a guest contradicts itself.
_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What was looked at, and what came of it."""

    proof: Proof
    #: In a sentence, for people.
    words: str

    def to_json(self) -> Json:
        """For the journal."""
        return {"proof": str(self.proof), "words": self.words}

    @classmethod
    def from_json(cls, data: Json) -> Evidence:
        """From the journal."""
        fields = as_object(data)
        return cls(proof=get_enum(fields, "proof", Proof), words=get_str(fields, "words"))


def weigh(
    packages: Sequence[PackageChange], written_bytes: int | None, waiting: Sequence[WaitingUpdate] | None
) -> Evidence:
    """Judge what a guest says that it changed by what the host saw written, and by what still waits in it.

    ``written_bytes`` and ``waiting`` are ``None`` where nobody could look.
    """
    if not packages:
        return Evidence(proof=Proof.CLAIMED, words="The guest names no package that it changed.")
    said = f"The guest says that it changed {len(packages)} package{'s' if len(packages) > 1 else ''}"
    if written_bytes == 0:
        return Evidence(
            proof=Proof.CONTRADICTED, words=f"{said}, but nothing was written to its disks meanwhile."
        )
    otherwise = _otherwise(packages, waiting or ())
    if otherwise:
        return Evidence(
            proof=Proof.CONTRADICTED, words=f"{said}, but asked again it has {', '.join(otherwise)}."
        )
    # Without a version that went, as of Windows' updates, there is nothing to hold the guest to.
    if waiting is None or not any(each.old_version for each in packages):
        return Evidence(proof=Proof.CLAIMED, words=f"{said}; this is its word alone.")
    asked = "asked again it still says so"
    if written_bytes is None:
        return Evidence(proof=Proof.CLAIMED, words=f"{said}, and {asked}; the host could see none of it.")
    seen = f"the host saw {written_bytes:,} bytes written to its disks"
    return Evidence(proof=Proof.CONSISTENT, words=f"{said}; {seen}, and {asked}.")


def finding_of(evidence: Evidence) -> tuple[Finding, ...]:
    """What a report tells as worse: a guest that is contradicted; health alone decides what is kept."""
    if evidence.proof is not Proof.CONTRADICTED:
        return ()
    return (Finding(subject=SUBJECT, sentence=evidence.words, is_fault=False),)


def written_since(before: int | None, now: int | None) -> int | None:
    """What was written between two looks; a counter that fell began anew with another QEMU."""
    if before is None or now is None:
        return None
    return now - before if now >= before else now


def _otherwise(packages: Sequence[PackageChange], waiting: Sequence[WaitingUpdate]) -> list[str]:
    """Which packages are still what they were, by what the guest says now.

    Only those: a version is written differently by one tool and the next, but not by the same tool twice.
    """
    installed = {each.name: each.installed for each in waiting}
    wrong = [
        f"{each.name} {each.old_version}, not {each.new_version}"
        for each in packages
        if each.old_version and each.old_version == installed.get(each.name) != each.new_version
    ]
    more = len(wrong) - _MOST_NAMED
    return wrong if more <= 0 else [*wrong[:_MOST_NAMED], f"{more} more"]
