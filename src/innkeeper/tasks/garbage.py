"""Collect garbage later: a collection in a large process takes a tenth of a second or more."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def collected_later() -> Iterator[Callable[[], None]]:
    """Put garbage collection off while much is made that lives on, or while nothing may be held up.

    It is for times of seconds. Call what it yields where one grows longer: garbage is collected from then on.
    """
    if not gc.isenabled():  # it is off for longer, or another thread puts it off
        yield lambda: None
        return
    gc.disable()
    try:
        yield gc.enable
    finally:
        gc.enable()
