"""Security headers of pages: nothing is loaded but what this service itself serves."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: No script and no style that is not a file of ours, no frame around us, nothing from anywhere else.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",  # noVNC makes its pointer of a data URL
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Nobody else learns where one came from; without it, browsers would not say it to us either.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


#: Whoever came by TLS once is to come so for a year.
_BY_TLS_ONLY = ("Strict-Transport-Security", "max-age=31536000")

#: What JSON needs of it: a browser that takes it for nothing else cannot be made to run it.
_OF_JSON = [(b"x-content-type-options", b"nosniff")]


class PageHeaders:
    """Middleware: adds the content security policy to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""

        is_secure = scope.get("scheme") == "https"

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_json(message):
                message["headers"] = [*message["headers"], *_OF_JSON]
            elif message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if is_secure:
                    headers.setdefault(*_BY_TLS_ONLY)
            await send(message)

        await self._app(scope, receive, guarded if scope["type"] == "http" else send)


def _is_json(start: Message) -> bool:
    return (b"content-type", b"application/json") in start["headers"]
