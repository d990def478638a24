"""Ask a kit in a guest a question, and put it there where it is missing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

from innkeeper.channels.kits.kit import Kit
from innkeeper.channels.kits.ports import CommandEnd, GuestCommands
from innkeeper.channels.statements import Unbelievable, clean_sentence
from innkeeper.errors import AgentError

#: What an answer may be long; its readers have bounds of their own.
_MOST_BYTES = 4 * 1024 * 1024
_INSTALL_S = 30.0
_NO_INPUT = b""


class KitAnswers:
    """The answers of one kit in one guest. Every question raises ``AgentError`` where none comes."""

    def __init__(self, machine: str, kit: Kit, commands: GuestCommands) -> None:
        self.machine = machine
        #: What it is.
        self.kit = kit
        self._commands = commands

    async def ask(
        self, verb: str, *arguments: str, stdin: bytes = _NO_INPUT, timeout: float
    ) -> Mapping[str, object]:
        """Ask, and read the JSON object that comes back. Raises ``AgentError`` for a refusal too."""
        end = await self._run(verb, *arguments, stdin=stdin, timeout=timeout)
        if _is_missing(end):
            # A new guest, another version, or a roll back that took it with it.
            await self.install()
            end = await self._run(verb, *arguments, stdin=stdin, timeout=timeout)
        answer = self._read(end)
        if "error" in answer:
            raise self._error(f"The guest of {self.machine} refused: {self._sentence(answer['error'])}")
        return answer

    async def install(self) -> None:
        """Put the kit into the guest; it is whole under its name, or not there."""
        kit, commands = self.kit, self._commands
        await commands.run(kit.make_directory(kit.directory), stdin=_NO_INPUT, timeout=_INSTALL_S)
        arrived = kit.arriving()
        await commands.write_file(arrived, kit.content)
        settle = kit.settle(arrived, kit.path, kit.digest)
        end = await commands.run(settle, stdin=_NO_INPUT, timeout=_INSTALL_S)
        if end.exit_code != 0:
            raise self._error(
                f"The kit could not be put into the guest of {self.machine}: {_last_words(end.stderr)}."
            )

    async def _run(self, verb: str, *arguments: str, stdin: bytes, timeout: float) -> CommandEnd:
        argv = self.kit.command(verb, *arguments)
        return await self._commands.run(argv, stdin=stdin, timeout=timeout)

    def _read(self, end: CommandEnd) -> Mapping[str, object]:
        if not end.stdout.strip():
            raise self._error(
                f"The guest of {self.machine} did not answer (exit code {end.exit_code}): "
                f"{_last_words(end.stderr)}."
            )
        if len(end.stdout) > _MOST_BYTES:
            raise self._error(f"The guest of {self.machine} gave an answer that is too long.")
        # What is no UTF-8, as the name of a file may be, is no reason to hear nothing.
        with contextlib.suppress(ValueError, RecursionError):
            answer = json.loads(end.stdout.decode("utf-8", "replace"))
            if isinstance(answer, dict):
                return answer
        raise self.liar("it is no JSON object")

    def liar(self, why: object) -> AgentError:
        """Return the error for an answer that no kit gives."""
        return self._error(f"The guest of {self.machine} gave an answer that cannot be read: {why}.")

    def _sentence(self, told: object) -> str:
        try:
            return clean_sentence(told)
        except Unbelievable:
            return "no reason given"

    def _error(self, sentence: str) -> AgentError:
        return AgentError(
            sentence,
            machine=self.machine,
            advice=self.kit.advice(self.machine),
        )


def _is_missing(end: CommandEnd) -> bool:
    """Whether the kit is not there: a shell prints nothing then; PowerShell may print how it is called."""
    answer = end.stdout.strip()
    return not answer or (end.exit_code != 0 and not answer.startswith(b"{"))


def _last_words(stderr: bytes) -> str:
    lines = [line for line in stderr[-4000:].decode("utf-8", "replace").splitlines() if line.strip()]
    return clean_sentence(lines[-1][:300]).strip(" .") if lines else "it printed nothing"
