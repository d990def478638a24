"""Answers given to a guest's notices."""

from __future__ import annotations

import collections
import hashlib
import json

from innkeeper.wire.session import Message

#: How many answers are remembered for one guest: as many as an agent may have waiting.
_KEPT = 256


class Receipts:
    """The answers given to one machine's notices, over all its sessions.

    A notice is known by its boot, number and content: a guest rolled back, or restored twice from the
    same saved memory, may use a number again for something else.
    """

    def __init__(self) -> None:
        self._answers: collections.OrderedDict[str, Message] = collections.OrderedDict()
        self._in_work: set[str] = set()

    @staticmethod
    def key(message: Message) -> str:
        """Return a notice's identity."""
        return hashlib.sha256(json.dumps(message, sort_keys=True).encode()).hexdigest()

    def answer(self, key: str) -> Message | None:
        """Return the answer that a notice was given, or ``None``."""
        return self._answers.get(key)

    def is_in_work(self, key: str) -> bool:
        """Whether a notice is being answered."""
        return key in self._in_work

    @property
    def in_work(self) -> int:
        """Number of notices that are being answered."""
        return len(self._in_work)

    def begin(self, key: str) -> None:
        """Record that a notice is being answered."""
        self._in_work.add(key)

    def end(self, key: str, answer: Message | None) -> None:
        """Record a notice's answer; ``None`` when none was found, so that it is asked for again."""
        self._in_work.discard(key)
        if answer is not None:
            self._answers[key] = answer
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
