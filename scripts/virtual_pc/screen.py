"""Declare: the display, the keyboard and the mouse."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

DISPLAY = Interface(
    "IVMDisplay",
    (
        Member(
            "_GenerateThumbnail",
            _EMULATED,
            "Display.thumbnail",
            "The host's screenshot, scaled to 64 by 48: 3,072 numbers, the upper 8 bits blue, "
            "then green, then red. A real PNG of any size: `Display.screenshot`.",
        ),
        Member(
            "CanResize",
            _NEAREST,
            "Display.can_resize",
            "True for a virtio card with a VNC display: a display client can ask its guest. "
            "Whether the guest follows depends on its driver: with Linux's, a text console goes as far "
            "as it was when it began.",
        ),
        Member("Height", _DIRECT, "Display.height", "The size of the host's screenshot."),
        Member(
            "SetDimensions",
            _NEAREST,
            "Display.set_dimensions",
            "Asked as a VNC client does (SetDesktopSize), then the screen is looked at until it "
            "has the size, 10 s at most. The documents both cut a width to a multiple of 8 and "
            "refuse it: it is cut.",
        ),
        Member("Thumbnail", _EMULATED, "Display.thumbnail", "As _GenerateThumbnail."),
        Member(
            "VideoMode",
            _NEAREST,
            "Display.video_mode",
            "Taken from the size, for QEMU names no mode: text sizes, 640 by 480 VGA, all else "
            "SVGA; never CGA.",
        ),
        Member("Width", _DIRECT, "Display.width", "As Height."),
    ),
)

KEYBOARD = Interface(
    "IVMKeyboard",
    (
        Member(
            "HasExclusiveAccess",
            _EMULATED,
            "Keyboard.has_exclusive_access",
            "A lease in the service, held by one client object; the others' keys are passed over. "
            "Five minutes of silence end it.",
        ),
        Member(
            "IsPressed",
            _EMULATED,
            "Keyboard.is_pressed",
            "What was pressed through the service; QEMU cannot say. Forgotten when the guest begins anew.",
        ),
        Member(
            "PressAndReleaseKey",
            _DIRECT,
            "Keyboard.press_and_release_key",
            "virDomainSendKey; up to 16 keys together.",
        ),
        Member(
            "PressKey",
            _EMULATED,
            "Keyboard.press_key",
            "QEMU's input-send-event: libvirt alone always releases. libvirt marks the machine in "
            "its log for it.",
        ),
        Member("ReleaseKey", _EMULATED, "Keyboard.release_key", "As PressKey."),
        Member(
            "TypeAsciiText",
            _EMULATED,
            "Keyboard.type_ascii_text",
            "A table of the US layout, a chord for each character, 30 ms apart.",
        ),
        Member(
            "TypeKeySequence",
            _EMULATED,
            "Keyboard.type_key_sequence",
            "The documented words: keys, DOWN, UP, HOLD (200 ms). Nothing of a malformed sequence is typed.",
        ),
    ),
)

MOUSE = Interface(
    "IVMmouse",
    (
        Member("Click", _EMULATED, "Mouse.click", "QEMU's input-send-event: down, then up."),
        Member("GetButton", _EMULATED, "Mouse.get_button", "What was pressed through the service."),
        Member(
            "HorizontalPosition",
            _EMULATED,
            "Mouse.horizontal_position",
            "With absolute coordinates a place in pixels, and what is read is the last one set; "
            "with relative ones a way, and reading is refused as documented.",
        ),
        Member(
            "ScrollWheelPosition",
            _EMULATED,
            "Mouse.scroll_wheel",
            "A method, for it can only be turned: notches, up where positive; refused with "
            "absolute coordinates.",
        ),
        Member("SetButton", _EMULATED, "Mouse.set_button", "QEMU's input-send-event."),
        Member(
            "UsingAbsoluteCoordinates",
            _EMULATED,
            "Mouse.using_absolute_coordinates",
            "Each object's own, False at first; True needs a tablet in the machine in place of "
            "the integration components.",
        ),
        Member("VerticalPosition", _EMULATED, "Mouse.vertical_position", "As HorizontalPosition."),
    ),
)
