"""Declare: the display, the keyboard and the mouse."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

DISPLAY = Interface(
    "IVMDisplay",
    (
        Member(
            "_GenerateThumbnail",
            _EMULATED,
            "",
            "VirDomainScreenshot(stream,screen 0) → PNG (QEMU≥7.1) or PPM → scale to 64×48, 3072 "
            "uint32 in B|G|R byte order (upper 8 = blue); also give real PNG.",
        ),
        Member(
            "CanResize",
            _NEAREST,
            "",
            "True only if virtio-gpu/QXL with a connected vdagent (spice agent channel state) "
            "else False; VNC-only: False.",
        ),
        Member(
            "Height",
            _DIRECT,
            "",
            "Size of virDomainScreenshot image, or D-Bus display / qmp query-… console height.",
        ),
        Member(
            "SetDimensions",
            _NEAREST,
            "",
            "No libvirt call. Works only by display client (SPICE monitors-config, VNC "
            "SetDesktopSize on virtio-gpu, -display dbus SetUIInfo) – honest answer "
            "VM_E_ADDITIONS_FEATURE_NOT_AVAIL otherwise; keep argument rules (640..2048 × "
            "480..1920, mult. of 8). NB docs contradict themselves: parameter text says width is "
            "rounded dInnkeeper’s to mult. of 8, return table says E_INVALIDARG.",
        ),
        Member("Thumbnail", _EMULATED, "", "As _GenerateThumbnail, list of 3072 ints."),
        Member(
            "VideoMode",
            _NEAREST,
            "",
            "720×400/640×400 screenshot → TextMode(0); 640×480 → VGA(2); else SVGA(3); CGA never "
            "reported. QEMU gives no mode query: mark value as 'inferred'.",
        ),
        Member("Width", _DIRECT, "", "As Height."),
    ),
)

KEYBOARD = Interface(
    "IVMKeyboard",
    (
        Member(
            "HasExclusiveAccess",
            _EMULATED,
            "",
            "Lease in the service (owner = client session); other clients' input is silently "
            "ignored, as documented.",
        ),
        Member(
            "IsPressed",
            _EMULATED,
            "",
            "Innkeeper’s key-state table (QEMU cannot report); forget on reset/restore.",
        ),
        Member("PressAndReleaseKey", _DIRECT, "", "VirDomainSendKey(LINUX codes, holdtime)."),
        Member(
            "PressKey",
            _EMULATED,
            "",
            "VirDomainSendKey always presses AND releases; use QMP input-send-event key "
            "dInnkeeper’s (virDomainQemuMonitorCommand taints domain) or Innkeeper’s -qmp / "
            "VNC/D-Bus input.",
        ),
        Member("ReleaseKey", _EMULATED, "", "QMP input-send-event key up."),
        Member(
            "TypeAsciiText", _EMULATED, "", "US layout table → virDomainSendKey per char (≤16 codes a call)."
        ),
        Member("TypeKeySequence", _EMULATED, "", "Parser for Key_*/KeyPad_*, DOWN/UP/HOLD(200 ms)."),
    ),
)

MOUSE = Interface(
    "IVMmouse",
    (
        Member("Click", _EMULATED, "", "QMP input-send-event btn down+up."),
        Member("GetButton", _EMULATED, "", "Innkeeper’s state table."),
        Member(
            "HorizontalPosition",
            _EMULATED,
            "",
            "Put: input-send-event abs (tablet, scale 0..32767) or rel; get: only last set value "
            "– mark as such.",
        ),
        Member(
            "ScrollWheelPosition",
            _EMULATED,
            "",
            "Input-send-event btn wheel-up/wheel-down; error in absolute mode.",
        ),
        Member("SetButton", _EMULATED, "", "Input-send-event btn."),
        Member(
            "UsingAbsoluteCoordinates",
            _EMULATED,
            "",
            "Object-local flag, default False; True needs usb-tablet present (query-mice "
            "absolute:true) in place of integration components.",
        ),
        Member("VerticalPosition", _EMULATED, "", "As Horizontal."),
    ),
)
