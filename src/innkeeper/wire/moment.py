"""Moments that come with a request."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _has_utc(moment: dt.datetime) -> dt.datetime:
    """Return it where UTC has it: near the years 1 and 9999 an offset leads out of all years."""
    try:
        moment.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError("in UTC it is before the year 1 or after the year 9999") from None
    return moment


#: A time with its offset, which can be told in UTC.
Moment = Annotated[AwareDatetime, AfterValidator(_has_utc)]
