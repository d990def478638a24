"""Turn the documentation into pages under build/docs, and refuse links that lead nowhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "docs"
_LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(([^)#\s]+)[^)\s]*\)|\bsrc=\"([^\"]+)\"")
_PAGE = """\
<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem }}
pre, code {{ font-size: .9em; background: #f4f4f2 }} pre {{ padding: .8rem; overflow-x: auto }}
table {{ border-collapse: collapse }}
td, th {{ border: 1px solid #ddd; padding: .2rem .6rem; text-align: left }}
img {{ max-width: 100% }}
</style>{body}</html>
"""


def main() -> int:
    """Write every page; 1 where a link is broken."""
    broken = [f"{page.relative_to(ROOT)}: {target}" for page in pages() for target in dead_links(page)]
    for page in pages():
        _write(page)
    for line in broken:
        print(f"dead link in {line}", file=sys.stderr)
    print(f"{len(list(pages()))} pages in {OUT.relative_to(ROOT)}")
    return 1 if broken else 0


def pages() -> Iterator[Path]:
    """The documentation's sources."""
    yield from sorted(ROOT.glob("*.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))
    yield from sorted((ROOT / "packaging").rglob("*.md"))


def dead_links(page: Path) -> Iterator[str]:
    """The page's links to files that are not there."""
    for match in _LINK.finditer(page.read_text()):
        target = match[1] or match[2]
        if "://" not in target and not (page.parent / target).exists():
            yield target


def _write(page: Path) -> None:
    source = page.read_text()
    body = str(MarkdownIt("commonmark", {"html": True}).enable("table").render(source))
    body = re.sub(r'(href="[^":]+)\.md(["#])', r"\1.html\2", body)
    out = (OUT / page.relative_to(ROOT)).with_suffix(".html")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_PAGE.format(title=source.partition("\n")[0].lstrip("# "), body=body))
    for picture in page.parent.glob("*.svg"):
        (out.parent / picture.name).write_bytes(picture.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
