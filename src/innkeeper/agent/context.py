"""Read what the host wants of an update, where the context says so."""

import json
import re
from typing import List, NamedTuple

#: apt takes a dash at the end for "remove".
_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._:~-]{0,254}(?<!-)\Z")
_REBOOTS = ("if_needed", "never", "always")


class UpdateOptions(NamedTuple):
    """What a context asks of a package plug-in."""

    #: The packages to bring up to date; all where it is empty.
    packages: List[str]
    #: ``if_needed``, ``never`` or ``always``.
    reboot: str


def read_context(context: bytes) -> UpdateOptions:
    """Return the wishes; raises ``ValueError``, with a sentence, for JSON that is not ours to act on.

    What is no JSON object wishes nothing: everything is updated, with a reboot if needed.
    """
    try:
        data = json.loads(context.decode("utf-8"))
    except (ValueError, RecursionError):
        data = {}
    if not isinstance(data, dict):
        data = {}
    return UpdateOptions(_packages(data.get("packages", [])), _reboot(data.get("reboot", "if_needed")))


def _packages(value: object) -> List[str]:
    if not isinstance(value, list):
        raise ValueError("The context's packages are not a list of names.")
    for name in value:
        if not isinstance(name, str) or not _PACKAGE.match(name):
            raise ValueError(f"The context names {name!r}, which is not a package's name.")
    return value


def _reboot(value: object) -> str:
    if value not in _REBOOTS:
        raise ValueError("The context's reboot is none of {}.".format(", ".join(_REBOOTS)))
    return str(value)
