"""Styles, scripts and icons, each under an address that changes with its content."""

from __future__ import annotations

import functools
import gzip
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.errors import ErrorCode, InvalidArgument

#: Where they are served.
PREFIX = "/pages/static"

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}


class Asset:
    """One file, plain and compressed."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self.compressed = gzip.compress(content, 9, mtime=0)
        self.media_type = _TYPES[name.rpartition(".")[2]]
        self.tag = hashlib.sha256(content).hexdigest()[:16]

    @property
    def url(self) -> str:
        """Address of the file, which changes with its content."""
        return f"{PREFIX}/{self.tag}/{self.name}"


@functools.cache
def assets() -> dict[str, Asset]:
    """Return every file by its name. The first call reads and compresses them all."""
    return {
        name: Asset(name, file.read_bytes())
        for name, file in _files(resources.files("innkeeper.server.pages") / "static", "")
        if name.rpartition(".")[2] in _TYPES
    }


def url_of(name: str) -> str:
    """Return the address of a file."""
    return assets()[name].url


async def serve(request: Request) -> Response:
    """Serve one file, cacheable for a year, since a changed one has another address."""
    asset = assets().get(request.path_params["name"])
    if asset is None or asset.tag != request.path_params["tag"]:
        raise InvalidArgument(
            f"There is no file {request.url.path} (any more).",
            code=ErrorCode.ERROR_NOT_FOUND,
            advice="Load the page again.",
        )
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "ETag": f'"{asset.tag}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if compressed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed if compressed else asset.content, 200, headers, asset.media_type)


async def favicon(request: Request) -> Response:
    """Serve the icon at the address that browsers try by themselves."""
    asset = assets()["favicon.svg"]
    return Response(asset.content, 200, {"Cache-Control": "public, max-age=86400"}, asset.media_type)


def _files(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{prefix}{entry.name}/")
        else:
            found.append((prefix + entry.name, entry))
    return found
