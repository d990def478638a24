"""Documented rules for the names of machines, and for paths."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import PurePosixPath

from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from innkeeper.wire.virtual_pc import FORBIDDEN_IN_NAMES, LABEL, MAX_NAME_LENGTH, SELECTOR_WORDS

_LONGEST_PATH_BYTES = 4095
#: What health checks find.
_SUBJECTS = ("unit", "listener", "mount", "network", "check")
_PACKAGES = "packages"


def checked_name(name: str, taken: Iterable[str] = ()) -> str:
    """The name of a machine. Raises ``InvalidArgument`` with the documented identifier where it will not do.

    ``taken`` are the names of the others: they are compared without regard to case.
    """
    if not name.strip():
        raise _refused("A machine needs a name.", ErrorCode.VM_E_CONFIG_NO_NAME)
    if len(name) > MAX_NAME_LENGTH:
        raise _refused(
            f"The name “{name[:20]}…” has {len(name)} characters, and {MAX_NAME_LENGTH} are allowed.",
            ErrorCode.VM_E_CONFIG_NAME_TOO_LONG,
        )
    bad = sorted({each for each in name if each in FORBIDDEN_IN_NAMES or not each.isprintable()})
    if bad or name in (".", ".."):
        message = " ".join(each if each.isprintable() else repr(each) for each in bad) or name
        raise _refused(
            f"The name “{name}” holds {message}, which no name may hold.",
            ErrorCode.VM_E_CONFIG_NAME_INVALID_CHAR,
        )
    if name.casefold() in SELECTOR_WORDS:
        raise _refused(
            f"The name “{name}” is a word of selectors, where it would mean something else.",
            ErrorCode.ERROR_INVALID_NAME,
        )
    clash = next((each for each in taken if each.casefold() == name.casefold()), None)
    if clash is not None:
        raise _refused(f"There is a machine “{clash}” already.", ErrorCode.VM_E_CONFIG_DUPLICATE_NAME)
    return name


def checked_path(path: str, *, what: str = "file") -> str:
    """An absolute path that a file can have. Raises ``DiskError`` with the documented identifier."""
    if not path or "\0" in path or "\n" in path:
        raise _bad_path(path, f"The {what} needs a path, without line ends.", ErrorCode.ERROR_INVALID_NAME)
    if not path.startswith("/"):
        raise _bad_path(path, f"The path {path} is not absolute.", ErrorCode.ERROR_BAD_PATHNAME)
    if len(os.fsencode(path)) > _LONGEST_PATH_BYTES:
        raise _bad_path(
            path,
            f"The path {path[:40]}… has over {_LONGEST_PATH_BYTES} bytes.",
            ErrorCode.ERROR_BUFFER_OVERFLOW,
        )
    return str(PurePosixPath(path))


def checked_label(label: str) -> str:
    """A label. Raises ``InvalidArgument``."""
    if LABEL.match(label) is None:
        raise InvalidArgument(
            f"“{label[:63]}” is not a label.",
            advice="A label has at most 63 letters, digits, dots, underscores and hyphens, "
            "and begins with a letter or digit.",
        )
    return label


def checked_subject(subject: str) -> str:
    """What a finding may be about, or a pattern of such. Raises ``InvalidArgument``."""
    kind, colon, name = subject.partition(":")
    is_one = subject == _PACKAGES or (kind in _SUBJECTS and bool(colon and name))
    if not is_one or len(subject) > 255 or not subject.isprintable():
        raise InvalidArgument(
            f"“{subject[:63]}” is nothing that a health check finds.",
            advice="Name it as the report does: unit:shop.service, listener:tcp/8080, mount:/srv, "
            "network:eth1, check:web, packages. "
            "An asterisk stands for any characters: unit:backup-*.service",
        )
    return subject


def _refused(sentence: str, code: ErrorCode) -> InvalidArgument:
    return InvalidArgument(
        sentence,
        code=code,
        advice=f"Choose another: at most {MAX_NAME_LENGTH} characters, none of {FORBIDDEN_IN_NAMES}, and "
        "upper and lower case are the same.",
    )


def _bad_path(path: str, sentence: str, code: ErrorCode) -> DiskError:
    return DiskError(sentence, path=path, code=code, advice="Give the whole path of a file on the host.")
