"""One night that is tried: what the guest is like, what it is offered, and what has to come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.wire.states import Verdict
from tests.matrix.packages import Deb


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A guest by its role, and the verdict on its update."""

    name: str
    #: What happens, for a person.
    story: str
    verdict: Verdict
    #: Installed before the night, and offered in it.
    installed: Sequence[Deb] = ()
    offered: Sequence[Deb] = ()
    #: Shell that makes the guest what it is, run once in its first boot, before the agent starts. The archive
    #: lies in ``/case/archive``.
    setup: str = ""
    #: What the morning's report has to say, in any of its sentences.
    says: str = ""
    #: Whether the update changes the guest: where it does not, it may be neither stopped nor rebooted.
    changes: bool = True
    #: How often the guest is to be rebooted by a night that keeps.
    reboots: int = 0
    #: Whether GRUB boots what lies in its own ``/boot``, with modules, AppArmor and a network card; else a
    #: copy of the host's is booted, which no update can break.
    is_whole: bool = False
    #: What its administrator called no fault beforehand.
    ignored: Sequence[str] = ()
