"""Measure when Chromium first paints the page of a thousand machines, and one without machines beside it.

Run ``make bench``, or ``python -m benchmarks.pages`` for this one alone. Needs Chromium.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.server.pages.browsing import CHROMIUM, FLAGS
from tests.server.pages.relay import relayed
from tests.serving import Service

MACHINES = 1000
ROUNDS = 5
RESULTS = Path("build/bench/pages.json")
_PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]"


def first_paint_ms(page: Page, path: str) -> float:
    """By the browser's own measure."""
    page.goto(path, wait_until="load")
    page.wait_for_function(f"{_PAINTED} !== undefined", timeout=60_000)
    return float(page.evaluate(f"{_PAINTED}.startTime"))


def measure(page: Page) -> dict[str, float]:
    """The first visit, and the median of later ones."""
    first = first_paint_ms(page, "/machines")
    later = statistics.median(first_paint_ms(page, "/machines") for _ in range(ROUNDS))
    empty = statistics.median(first_paint_ms(page, "/schedule") for _ in range(ROUNDS))
    return {"machines_first_ms": first, "machines_later_ms": later, "schedule_later_ms": empty}


def main() -> None:
    """Measure, and print a table."""
    if not Path(CHROMIUM).exists():
        print("Chromium is not installed: nothing is measured.")
        return
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as directory:
        service = Service(Path(directory), machines=MACHINES, speed=60)
        service.start()
        try:
            with relayed(service.socket) as address, sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
                figures = measure(browser.new_page(base_url=address))
                browser.close()
        finally:
            service.end()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2))
    for name, value in figures.items():
        print(f"{name:24} {value:8.0f} ms")


if __name__ == "__main__":
    main()
