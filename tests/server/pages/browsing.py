"""Drive Debian's Chromium against a service, and hear of everything that it complains of."""

from __future__ import annotations

import dataclasses
from typing import Final

from playwright.sync_api import BrowserContext, ConsoleMessage, Page

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


@dataclasses.dataclass
class Complaints:
    """What a page did that no page of ours does."""

    own: str
    messages: list[str] = dataclasses.field(default_factory=list)

    def listen(self, context: BrowserContext) -> None:
        """Hear of errors, violations of the policy, and requests to elsewhere."""
        context.on("request", lambda request: self._leaves(request.url))
        context.on("console", self._console)
        context.on("weberror", lambda error: self.messages.append(f"error: {error.error}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._error(message.text)

    def _leaves(self, url: str) -> None:
        if not url.startswith((self.own, "data:", "blob:", self.own.replace("http", "ws", 1))):
            self.messages.append(f"request to {url}")

    def _error(self, text: str) -> None:
        # A status that a test provokes on purpose is no complaint of the page.
        if "Failed to load resource: the server responded with a status of" not in text:
            self.messages.append(text)


def fits(page: Page) -> bool:
    """Whether nothing has to be scrolled sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
