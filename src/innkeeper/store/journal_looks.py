"""Looks of DBOS whether a step was done before, left out where nothing can have been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbos._dbos import _get_dbos_instance

#: The looks of DBOS's own object, which it has no option for: two statements a step, half of what a step
#: costs. Where a later release has them elsewhere, nothing is left out, and a test says so.
_NAME = "check_operation_execution"


def look_only_for(may_be_known: Callable[[str], bool]) -> None:
    """Leave looks out for the steps of other runs, by their keys; after the launch.

    Right for a run that this process has begun and carried since. That it still is this process's is not
    seen by the look, but by the record of each step, which DBOS refuses to a former carrier.
    """
    database = getattr(_get_dbos_instance(), "_sys_db", None)
    look: Callable[..., Any] | None = getattr(database, _NAME, None)
    if look is None:
        return

    def look_if_known(workflow_id: str, *where: Any, **more: Any) -> Any:
        return look(workflow_id, *where, **more) if may_be_known(workflow_id) else None

    setattr(database, _NAME, look_if_known)
