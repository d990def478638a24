"""Build the documentation as a site under build/docs, and refuse what leads nowhere.

The pages of ``docs/`` and the project's own (``ARCHITECTURE.md``, ``CHANGELOG.md`` …) are laid together under
``build/docs-source``, with the links between them rewritten; Zensical makes the site of it. Then each link,
anchor and picture of the finished pages is looked up. Nothing is fetched: neither to build nor to read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import cast
from urllib.parse import unquote, urlsplit

import lxml.html
from lxml.html import HtmlElement

ROOT = Path(__file__).resolve().parent.parent
#: The project's pages that lie outside ``docs/``, with their places in the site.
PROJECT = {
    "README.md": "project/about.md",
    "packaging/README.md": "project/packaging.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changes.md",
    "SECURITY.md": "project/security.md",
}
#: The folders of ``docs/``, as the site's sections.
SECTIONS = {
    "tutorials": "Tutorials",
    "how-to": "How-to",
    "reference": "Reference",
    "explanation": "Explanation",
    "decisions": "Decisions",
}
_LINK = re.compile(
    r"""(?P<before>(?<!`)\[[^\]\n]*\]\(|\b(?:src|href)=")(?P<target>[^)"#\s]+)(?P<anchor>#[^)"\s]*)?"""
)
_FEATURES = (
    "navigation.tabs",
    "navigation.top",
    "navigation.indexes",
    "toc.follow",
    "search.highlight",
    "content.code.copy",
)
_FENCE = re.compile(r"^\s*(```|~~~)")


def main(root: Path = ROOT) -> int:
    """Build the site; 1 where something leads nowhere."""
    source, site = root / "build" / "docs-source", root / "build" / "docs"
    for folder in (source, site):
        shutil.rmtree(folder, ignore_errors=True)
    faults = [*lay(root, source), *unlisted(root)]
    if not faults:
        configuration = root / "build" / "docs.toml"
        configuration.write_text(configuration_of(source, navigation(root)))
        faults = [*_build(configuration), *dead_ends(site)]
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"{len(list(site.rglob('*.html')))} pages in build/docs. To read them, with the search:")
        print("python3 -m http.server --directory build/docs --bind 127.0.0.1 8000")
    return 1 if faults else 0


def pages(root: Path = ROOT) -> dict[str, str]:
    """Each page by its place in the project, with its place in the site."""
    own = (path.relative_to(root).as_posix() for path in sorted((root / "docs").rglob("*.md")))
    project = {name: place for name, place in PROJECT.items() if (root / name).exists()}
    return {name: name.removeprefix("docs/") for name in own} | project


def lay(root: Path, source: Path) -> list[str]:
    """Lay all pages and pictures together; say which links lead to no page and no picture of the site."""
    places = pages(root) | {
        path.relative_to(root).as_posix(): path.relative_to(root / "docs").as_posix()
        for path in (root / "docs").rglob("*")
        if path.is_file() and path.suffix != ".md"
    }
    faults: list[str] = []
    for name, place in places.items():
        (source / place).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".md"):
            (source / place).write_text(_relinked(root, name, places, faults))
        else:
            shutil.copyfile(root / name, source / place)
    return faults


def _relinked(root: Path, name: str, places: Mapping[str, str], faults: list[str]) -> str:
    """A page's text with its links as they are in the site."""

    def rewrite(match: re.Match[str]) -> str:
        target = match["target"]
        if urlsplit(target).scheme:
            return match[0]
        found = _meant(root, name, target)
        if found not in places:
            faults.append(f"{name}: {target} is no page and no picture of the documentation")
            return match[0]
        relative = os.path.relpath(places[found], PurePosixPath(places[name]).parent)
        return f"{match['before']}{relative}{match['anchor'] or ''}"

    lines, fenced = [], False
    for line in (root / name).read_text().splitlines():
        fence = _FENCE.match(line) is not None
        fenced ^= fence
        lines.append(line if fenced or fence else _LINK.sub(rewrite, line))
    return "\n".join(lines) + "\n"


def unlisted(root: Path) -> list[str]:
    """The pages that no reader of the start page or of the index of decisions finds."""
    listed = set(_listed(root, "docs/README.md")) | set(_listed(root, "docs/decisions/README.md"))
    return [
        f"{name}: docs/README.md does not name it"
        for name in pages(root)
        if name not in listed and name not in ("README.md", "docs/README.md")
    ]


def _listed(root: Path, name: str) -> Iterator[str]:
    """The pages that a page links to, in order."""
    for match in _LINK.finditer((root / name).read_text()):
        yield _meant(root, name, match["target"])


def _meant(root: Path, name: str, target: str) -> str:
    """The place in the project that a page's link leads to: of a folder, its own page."""
    found = os.path.normpath(f"{PurePosixPath(name).parent}/{unquote(target)}")
    return f"{found}/README.md" if (root / found).is_dir() else found


def navigation(root: Path) -> list[object]:
    """The site's navigation: sections in the order of the start page, decisions in that of their numbers."""
    places, sections = pages(root), dict[str, list[object]]()
    decided = sorted(name for name in places if name.startswith("docs/decisions/"))
    for name in dict.fromkeys((*_listed(root, "docs/README.md"), "docs/decisions/README.md", *decided)):
        folder = _section(places.get(name, ""))
        sections.setdefault(folder, []).append({_title(root / name): places[name]} if folder else name)
    about = {"About": PROJECT["README.md"]}
    return [
        {"Start": "README.md"},
        *({title: sections[folder]} for folder, title in SECTIONS.items() if folder in sections),
        {"Project": [about, *sections.get("project", [])]},
    ]


def _section(place: str) -> str:
    """The section that a page of the site is in; none for the two pages that lead it."""
    if place in ("", "README.md", PROJECT["README.md"]):
        return ""
    folder = place.partition("/")[0]
    return folder if folder in SECTIONS else "project"


def _title(page: Path) -> str:
    return page.read_text().partition("\n")[0].lstrip("# ").replace("`", "")


def configuration_of(source: Path, nav: Iterable[object]) -> str:
    """Zensical's settings."""
    palettes = [
        {
            "media": f"(prefers-color-scheme: {name})",
            "scheme": scheme,
            "toggle": {"icon": icon, "name": f"Switch to {other}"},
        }
        for name, scheme, icon, other in (
            ("light", "default", "lucide/sun", "dark"),
            ("dark", "slate", "lucide/moon", "light"),
        )
    ]
    project = {
        "site_name": "Innkeeper",
        "docs_dir": source.name,
        "site_dir": "docs",
        "use_directory_urls": False,
        "extra_css": ["site.css"],
        "nav": list(nav),
        # No font is fetched from elsewhere.
        "theme": {"font": False, "features": list(_FEATURES), "palette": palettes},
    }
    return f"project = {_toml(project)}\n"


def _toml(value: object) -> str:
    """A value as TOML has it on one line: JSON but for its tables."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _build(configuration: Path) -> list[str]:
    """Make the site; what the generator complains of."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "-f", configuration.name]
    done = subprocess.run(command, cwd=configuration.parent, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)]


def dead_ends(site: Path) -> list[str]:
    """What of the finished pages leads nowhere, or is fetched from elsewhere without a reader's click."""
    made = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    if not made:
        return [f"{site}: no page was made"]
    trees = {path: cast("HtmlElement", lxml.html.fromstring(path.read_text())) for path in made}
    anchors = {path: _anchors(tree) for path, tree in trees.items()}
    return [
        f"{path.relative_to(site)}: {target} {fault}"
        for path, tree in trees.items()
        for element, attribute, target, _ in tree.iterlinks()
        if (fault := _fault(path, (element.tag, attribute) == ("a", "href"), target, anchors))
    ]


def _anchors(tree: HtmlElement) -> set[str]:
    return {name for each in tree.iter() for name in (each.get("id"), each.get("name")) if name}


def _fault(page: Path, is_link: bool, target: str, anchors: Mapping[Path, set[str]]) -> str:
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return "" if is_link or parts.scheme == "data" else "is fetched from elsewhere"
    found = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    found = found / "index.html" if found.is_dir() else found
    if not found.exists():
        return "is not there"
    if parts.fragment and unquote(parts.fragment) not in anchors.get(found, set()) | {"__top"}:
        return "is no anchor there"
    return ""


if __name__ == "__main__":
    sys.exit(main())
