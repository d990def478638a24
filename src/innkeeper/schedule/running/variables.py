"""Put the values of a start into the words of an action."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"\$\$|\$\(([^()$]{1,128})\)")
#: ``$(Arg0)`` to ``$(Arg31)``.
MOST_ARGUMENTS = 32


def replaced(text: str, values: Mapping[str, str]) -> str:
    """The text with each ``$(Name)`` replaced; ``$$`` is a ``$``, and an unknown name is left as it is."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return values.get(match.group(1), match.group(0))

    return _VARIABLE.sub(value, text)


def of_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """The values that a start by hand gives."""
    return {f"Arg{number}": argument for number, argument in enumerate(arguments[:MOST_ARGUMENTS])}
