"""Variables in the texts of actions, and their values for a start."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(r"\$\$|\$\(([^()$]{1,128})\)")
#: ``$(Arg0)`` to ``$(Arg31)``.
MOST_ARGUMENTS = 32


def replaced(text: str, values: Mapping[str, str]) -> str:
    """Return the text with each ``$(Name)`` replaced; ``$$`` is a ``$``, an unknown name stays."""

    def value(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return "$"
        return values.get(match.group(1), match.group(0))

    return _VARIABLE.sub(value, text)


def of_arguments(arguments: Sequence[str]) -> dict[str, str]:
    """Return the variables of a start by hand."""
    return {f"Arg{number}": argument for number, argument in enumerate(arguments[:MOST_ARGUMENTS])}
