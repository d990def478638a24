"""Read key sequences: ``DOWN,Key_LeftCtrl,DOWN,Key_LeftAlt,Key_Delete,UP,Key_LeftAlt,UP,Key_LeftCtrl``."""

from __future__ import annotations

import dataclasses
import enum

from innkeeper.errors import InvalidArgument
from innkeeper.machines.ports.input_devices import Key
from innkeeper.machines.screen.keys import find_key

#: The longest sequence, in words.
MAX_WORDS = 500


class Stroke(enum.Enum):
    """Press or release of a key."""

    PRESS_AND_RELEASE = enum.auto()
    #: After the word ``DOWN``.
    PRESS = enum.auto()
    #: After the word ``UP``.
    RELEASE = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a sequence: a stroke, or a pause of 200 ms (the word ``HOLD``)."""

    #: Nothing for a pause.
    key: Key | None
    stroke: Stroke = Stroke.PRESS_AND_RELEASE


_MODIFIERS = {"DOWN": Stroke.PRESS, "UP": Stroke.RELEASE}


def read_sequence(text: str) -> tuple[Step, ...]:
    """Read a comma-delimited sequence. Raises ``InvalidArgument`` at the first word that is none."""
    words = [word.strip() for word in text.split(",")]
    if len(words) > MAX_WORDS:
        raise InvalidArgument(
            f"A key sequence of {len(words)} words is too long.", advice=f"Send {MAX_WORDS} at once at most."
        )
    steps: list[Step] = []
    waiting = ""
    for place, word in enumerate(words, 1):
        upper = word.upper()
        if waiting:
            steps.append(Step(_key(word, place), _MODIFIERS[waiting]))
            waiting = ""
        elif upper in _MODIFIERS:
            waiting = upper
        else:
            steps.append(Step(None if upper == "HOLD" else _key(word, place)))
    if waiting:
        raise InvalidArgument(
            f"The key sequence ends with {waiting}, which says what to do with the next key.",
            advice="Name the key after it.",
        )
    return tuple(steps)


def _key(word: str, place: int) -> Key:
    try:
        return find_key(word)
    except InvalidArgument as error:
        raise InvalidArgument(f"Word {place}: {error.sentence}", advice=error.advice) from None
