"""Named servers: the address of each, and which one commands go to."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """One inn, as a person calls it; without server and socket the one on this computer."""

    name: str
    #: ``HOST`` or ``HOST:PORT`` of a service on another computer.
    server: str | None = None
    #: A local door at an unusual place.
    socket: str | None = None
    #: The time zone to read and show times in.
    zone: str | None = None


class Contexts:
    """The servers that this user has named, in a file of the user's own."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @classmethod
    def of_user(cls, environ: Mapping[str, str] = os.environ) -> Contexts:
        """Those in the user's own configuration."""
        base = environ.get("XDG_CONFIG_HOME") or f"{environ.get('HOME', '/')}/.config"
        return cls(Path(base) / "innkeeper" / "contexts.json")

    def list(self) -> Sequence[Context]:
        """All, by name."""
        return sorted(self._read()[1].values(), key=lambda context: context.name)

    @property
    def current(self) -> str | None:
        """The name of the one that commands go to; nothing for the service on this computer."""
        return self._read()[0]

    def find(self, name: str) -> Context:
        """One of them; raises ``InvalidArgument`` (0x80070490) where there is none."""
        try:
            return self._read()[1][name]
        except KeyError:
            raise InvalidArgument(
                f"There is no context “{name}”.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="See them with: innkeeper context list",
            ) from None

    def chosen(self, environ: Mapping[str, str] = os.environ) -> Context | None:
        """The one that ``INNKEEPER_CONTEXT`` names, else the current one; nothing where neither is."""
        name = environ.get("INNKEEPER_CONTEXT") or self.current
        return self.find(name) if name else None

    def add(self, context: Context) -> None:
        """Add one, or replace the one of this name; raises ``InvalidArgument`` for what makes no sense."""
        if not _NAME.fullmatch(context.name):
            raise InvalidArgument(
                f"“{context.name}” is not a name for a context.",
                advice="Use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first.",
            )
        if context.server and context.socket:
            raise InvalidArgument(
                "A context has a server or a socket, not both.",
                advice="A socket is for a service on this computer, a server for another computer.",
            )
        current, known = self._read()
        self._write(current, {**known, context.name: context})

    def use(self, name: str | None) -> None:
        """Use this context from now on; the service on this computer where none is named."""
        if name is not None:
            self.find(name)
        self._write(name, self._read()[1])

    def remove(self, name: str) -> None:
        """Forget one; raises ``InvalidArgument`` where there is none."""
        self.find(name)
        current, known = self._read()
        del known[name]
        self._write(None if current == name else current, known)

    def _read(self) -> tuple[str | None, dict[str, Context]]:
        try:
            kept = json.loads(self._file.read_text())
            known = {name: Context(name=name, **message) for name, message in kept["contexts"].items()}
            return kept.get("current"), known
        except FileNotFoundError:
            return None, {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidArgument(
                f"The file of contexts {self._file} cannot be read: {error}.",
                code=ErrorCode.ERROR_INVALID_DATA,
                advice="Correct it or remove it; then add the contexts again with: innkeeper context add",
            ) from error

    def _write(self, current: str | None, known: Mapping[str, Context]) -> None:
        message = {name: _said(context) for name, context in sorted(known.items())}
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        draft.write_text(json.dumps({"current": current, "contexts": message}, indent=2) + "\n")
        draft.replace(self._file)


def _said(context: Context) -> dict[str, str]:
    fields = dataclasses.asdict(context)
    return {key: value for key, value in fields.items() if key != "name" and value is not None}
