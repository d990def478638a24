"""Name the keys of a keyboard: the documented identifiers, their codes, and what a US layout types."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import InvalidArgument
from innkeeper.machines.ports.input_devices import Key

#: Documented identifier, Linux's code, QEMU's name; in the documented order.
_TABLE = """
Key_Escape 1 esc
Key_F1 59 f1|Key_F2 60 f2|Key_F3 61 f3|Key_F4 62 f4|Key_F5 63 f5|Key_F6 64 f6
Key_F7 65 f7|Key_F8 66 f8|Key_F9 67 f9|Key_F10 68 f10|Key_F11 87 f11|Key_F12 88 f12
Key_SysReq 99 sysrq|Key_ScrollLock 70 scroll_lock|Key_Break 119 pause
Key_LeftApostrophe 41 grave_accent
Key_0 11 0|Key_1 2 1|Key_2 3 2|Key_3 4 3|Key_4 5 4|Key_5 6 5|Key_6 7 6|Key_7 8 7|Key_8 9 8|Key_9 10 9
Key_Hyphen 12 minus|Key_Equals 13 equal|Key_Backspace 14 backspace
Key_Insert 110 insert|Key_Home 102 home|Key_PageUp 104 pgup|Key_NumLock 69 num_lock
KeyPad_Divide 98 kp_divide|KeyPad_Multiply 55 kp_multiply|KeyPad_Minus 74 kp_subtract|KeyPad_Plus 78 kp_add
KeyPad_0 82 kp_0|KeyPad_1 79 kp_1|KeyPad_2 80 kp_2|KeyPad_3 81 kp_3|KeyPad_4 75 kp_4
KeyPad_5 76 kp_5|KeyPad_6 77 kp_6|KeyPad_7 71 kp_7|KeyPad_8 72 kp_8|KeyPad_9 73 kp_9
KeyPad_Enter 96 kp_enter|KeyPad_DecimalPoint 83 kp_decimal
Key_Tab 15 tab
Key_A 30 a|Key_B 48 b|Key_C 46 c|Key_D 32 d|Key_E 18 e|Key_F 33 f|Key_G 34 g|Key_H 35 h|Key_I 23 i
Key_J 36 j|Key_K 37 k|Key_L 38 l|Key_M 50 m|Key_N 49 n|Key_O 24 o|Key_P 25 p|Key_Q 16 q|Key_R 19 r
Key_S 31 s|Key_T 20 t|Key_U 22 u|Key_V 47 v|Key_W 17 w|Key_X 45 x|Key_Y 21 y|Key_Z 44 z
Key_LeftBracket 26 bracket_left|Key_RightBracket 27 bracket_right|Key_Backslash 43 backslash
Key_Delete 111 delete|Key_End 107 end|Key_PageDown 109 pgdn
Key_CapsLock 58 caps_lock
Key_SemiColon 39 semicolon|Key_SingleQuote 40 apostrophe|Key_Enter 28 ret
Key_LeftShift 42 shift|Key_RightShift 54 shift_r
Key_Comma 51 comma|Key_Period 52 dot|Key_Slash 53 slash
Key_Up 103 up|Key_Down 108 down|Key_Left 105 left|Key_Right 106 right
Key_LeftCtrl 29 ctrl|Key_RightCtrl 97 ctrl_r|Key_LeftAlt 56 alt|Key_RightAlt 100 alt_r
Key_LeftWindows 125 meta_l|Key_RightWindows 126 meta_r|Key_Application 127 compose
Key_Space 57 spc
"""


def _keys() -> Mapping[str, Key]:
    rows = (row.split() for line in _TABLE.split("\n") for row in line.split("|") if row)
    return {name: Key(name, int(code), qcode) for name, code, qcode in rows}


#: Every key by its documented identifier. ``Key_CapsLock`` is ours: the documents forgot it.
KEYS: Mapping[str, Key] = _keys()
_FOLDED: Mapping[str, Key] = {name.casefold(): key for name, key in KEYS.items()}
BY_CODE: Mapping[int, Key] = {key.code: key for key in KEYS.values()}

SHIFT = KEYS["Key_LeftShift"]


def find_key(name: str) -> Key:
    """The key of this identifier, whatever the case of its letters. Raises ``InvalidArgument``."""
    key = _FOLDED.get(name.strip().casefold())
    if key is None:
        raise InvalidArgument(
            f"“{name.strip()[:40]}” names no key.",
            advice="Keys are named Key_A, Key_Enter, Key_LeftCtrl, KeyPad_5 …; see the table of keys.",
        )
    return key


#: What the US layout types without and with shift; the letters and the digits' row beside it.
_PLAIN = {
    " ": "Key_Space", "\n": "Key_Enter", "\r": "Key_Enter", "\t": "Key_Tab", "\b": "Key_Backspace",
    "\x1b": "Key_Escape", "`": "Key_LeftApostrophe", "-": "Key_Hyphen", "=": "Key_Equals",
    "[": "Key_LeftBracket", "]": "Key_RightBracket", "\\": "Key_Backslash", ";": "Key_SemiColon",
    "'": "Key_SingleQuote", ",": "Key_Comma", ".": "Key_Period", "/": "Key_Slash",
}  # fmt: skip
_SHIFTED = {
    "~": "Key_LeftApostrophe", "_": "Key_Hyphen", "+": "Key_Equals", "{": "Key_LeftBracket",
    "}": "Key_RightBracket", "|": "Key_Backslash", ":": "Key_SemiColon", '"': "Key_SingleQuote",
    "<": "Key_Comma", ">": "Key_Period", "?": "Key_Slash",
}  # fmt: skip


def _layout() -> Mapping[str, tuple[Key, bool]]:
    typed = {text: (KEYS[name], False) for text, name in _PLAIN.items()}
    typed |= {text: (KEYS[name], True) for text, name in _SHIFTED.items()}
    for letter in "abcdefghijklmnopqrstuvwxyz":
        key = KEYS[f"Key_{letter.upper()}"]
        typed |= {letter: (key, False), letter.upper(): (key, True)}
    for digit, sign in zip("0123456789", ")!@#$%^&*(", strict=True):
        typed |= {digit: (KEYS[f"Key_{digit}"], False), sign: (KEYS[f"Key_{digit}"], True)}
    return typed


#: Character → key, and whether with shift.
US_LAYOUT: Mapping[str, tuple[Key, bool]] = _layout()


def strokes(text: str) -> list[tuple[Key, ...]]:
    """The keys to hold together for each character of an ASCII text. Raises ``InvalidArgument``."""
    typed: list[tuple[Key, ...]] = []
    for place, character in enumerate(text, 1):
        found = US_LAYOUT.get(character)
        if found is None:
            raise InvalidArgument(
                f"Character {place}, {character!r}, is on no key of a US keyboard.",
                advice="Only ASCII text can be typed; put other text into the guest by a file.",
            )
        key, shifted = found
        typed.append((SHIFT, key) if shifted else (key,))
    return typed
