"""Keep what the terminal shows of a night, as one picture that moves."""

from __future__ import annotations

import dataclasses
import io
import re
import time
from pathlib import Path

from rich.console import Console, RenderableType

_COLUMNS = 100
_LINE_HEIGHT = 24.4
#: How much faster the picture goes than the night did, and how long it rests on its end.
_SPEED = 8.0
_REST_SECONDS = 6.0
#: Of the night's time between two frames: a quarter of a second of the picture's.
_SPACING_SECONDS = 2.0

#: rich's own template draws a window and names a font of the web; this keeps the letters alone.
_FRAME = "<!--styles-->{styles}<!--body-->{backgrounds}{matrix}<!--end-->"
_SUPERFLUOUS = re.compile(r' clip-path="[^"]*"|<text [^>]*>\n</text>')
_PICTURE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">
<style>
text {{ font: 20px "DejaVu Sans Mono", Menlo, Consolas, monospace; white-space: pre }}
.frame {{ visibility: hidden; animation-duration: {seconds}s; animation-iteration-count: infinite;
animation-timing-function: step-end }}
.frame:last-child {{ visibility: visible }}
{styles}
</style>
<rect width="100%" height="100%" rx="10" fill="#1d1f21"/>
<g transform="translate(16,16)">
{frames}
</g>
</svg>
"""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    at: float
    styles: str
    body: str
    lines: int


class Cast:
    """The frames of one night."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._frames: list[_Frame] = []
        self._last = ""

    def add(self, shown: RenderableType, *, last: bool = False) -> None:
        """Add what is shown now, where it is another thing than before and not too soon after it."""
        if (
            not last
            and self._frames
            and time.monotonic() - self._began - self._frames[-1].at < _SPACING_SECONDS
        ):
            return
        console = Console(
            record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False
        )
        console.print(shown)
        text = console.export_text(clear=False, styles=True)
        if text == self._last:
            return
        self._last = text
        name = f"f{len(self._frames)}"
        svg = console.export_svg(unique_id=name, code_format=_FRAME)
        styles, body = svg.removeprefix("<!--styles-->").removesuffix("<!--end-->").split("<!--body-->")
        body = _SUPERFLUOUS.sub("", body)
        frame = _Frame(at=time.monotonic() - self._began, styles=styles, body=body, lines=text.count("\n"))
        self._frames.append(frame)

    def save(self, path: Path, title: str) -> None:
        """Write the moving picture."""
        starts, seconds = self._timetable()
        styles, frames = [], []
        for number, frame in enumerate(self._frames):
            end = starts[number + 1] if number + 1 < len(starts) else seconds
            styles.append(frame.styles + _keyframes(number, starts[number] / seconds, end / seconds))
            frames.append(f'<g class="frame" style="animation-name:k{number}">{frame.body}</g>')
        height = max(frame.lines for frame in self._frames) * _LINE_HEIGHT + 32
        picture = _PICTURE.format(
            width=_COLUMNS * 12.2 + 32, height=round(height), title=title, seconds=round(seconds, 1),
            styles="\n".join(styles), frames="\n".join(frames),
        )  # fmt: skip
        path.write_text(re.sub(r"[ \t]+\n", "\n", picture))

    def _timetable(self) -> tuple[list[float], float]:
        """When each frame begins in the picture, and how long the picture is."""
        starts, now = [], 0.0
        for frame, following in zip(self._frames, [*self._frames[1:], None], strict=True):
            starts.append(now)
            now += (following.at - frame.at) / _SPEED if following is not None else _REST_SECONDS
        return starts, now


def _keyframes(number: int, start: float, end: float) -> str:
    shown = f"{100 * start:.3f}%{{visibility:visible}}{100 * end:.3f}%{{visibility:hidden}}"
    before = "" if start == 0 else "0%{visibility:hidden}"
    return f"\n@keyframes k{number} {{{before}{shown}}}"
