"""The pages in a real browser: a night from start to report, by mouse, by keyboard, and without scripts."""

from __future__ import annotations

import datetime as dt
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from axe_playwright_python.sync_playwright import Axe
from blockbuster import BlockBuster
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from innkeeper.wire.messages import WindowRequest
from innkeeper.wire.states import Weekday
from tests.server.pages.browsing import CHROMIUM, FLAGS, Complaints, fits
from tests.server.pages.relay import relayed
from tests.serving import Service

pytestmark = pytest.mark.slow

_PLACES = (
    "/tonight",
    "/machines",
    "/machines/web-1",
    "/machines/web-1/commands/turn_off",
    "/hosts",
    "/tasks",
    "/tasks/1",
    "/schedule",
    "/schedule/task?path=%5CNightly%5CCompact",
    "/schedule/edit?path=%5CNightly%5CCompact",
    "/schedule/edit?as=xml",
    "/account",
    "/people",
    "/audit",
    "/nothing",
)


@pytest.fixture(autouse=True)
def _no_loop_of_ours(blockbuster: BlockBuster) -> None:
    """The browser's driver runs these tests on a loop of its own, which they may block.

    The service is another process, which the guard never reached.
    """
    blockbuster.deactivate()


@pytest.fixture(scope="module")
def inn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A simulated inn with machines enough to scroll."""
    running = Service(tmp_path_factory.mktemp("inn"), machines=100, speed=20)
    running.add_arguments("--listen", f"127.0.0.1:{_free_port()}")
    running.start()
    yield running
    running.end()


@pytest.fixture(scope="module")
def address(inn: Service) -> Iterator[str]:
    """Where a browser finds its local door, as an administrator."""
    with relayed(inn.socket) as found:
        yield found


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """The driver of browsers."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Debian's Chromium."""
    running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    yield running
    running.close()


Opener = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Opener]:
    """Open a page in a window of its own; what it complains of fails the test."""
    complaints = Complaints(address)
    contexts: list[BrowserContext] = []

    def opened(path: str, **settings: object) -> Page:
        context = browser.new_context(base_url=address, timezone_id="Europe/Madrid", **settings)  # type: ignore[arg-type]
        complaints.listen(context)
        contexts.append(context)
        page = context.new_page()
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints.messages == []


def test_somebody_logs_in_looks_around_and_logs_out(inn: Service, browser: Browser) -> None:
    """Led to the way in from where they were going, told what is wrong, led back; and out again."""
    front = re.search(r"http://127\.0\.0\.1:\d+", inn.log.read_text())
    assert front is not None
    password = inn.directory / "password"
    password.write_text("correct horse battery staple")
    inn.run("user", "add", "ana", "--role", "operator", "--password-file", str(password))
    complaints = Complaints(front[0])
    context = browser.new_context(base_url=front[0])
    complaints.listen(context)
    page = context.new_page()
    page.goto("/machines?q=web")
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".wrong")).to_contain_text("0x80070005")
    page.get_by_label("Password").fill(password.read_text())
    page.get_by_label("Password").press("Enter")
    page.wait_for_url("**/machines?q=web")
    expect(page.locator(".live")).to_have_attribute("data-state", "on")
    expect(page.locator(".machine").first).to_contain_text("web")
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    page.goto("/tonight")
    page.wait_for_url("**/login*")
    context.close()
    assert complaints.messages == []


def test_a_night_is_watched_from_its_start_to_its_report(inn: Service, open_page: Opener) -> None:
    """Booked, under way and ended, each as it happens, on a page that nobody touches."""
    page = open_page("/tonight")
    expect(page.locator("h1")).to_have_text("Tonight")
    expect(page.locator(".live")).to_have_attribute("data-state", "on")
    _let_night_begin(inn, "web-1", "db-1", "web-3")
    rows = page.locator("#night tbody tr")
    expect(rows.filter(has_text="web-1").locator(".badge")).to_be_visible(timeout=20_000)
    expect(page.locator(".timeline a .done").first).to_be_attached(timeout=20_000)
    expect(rows.filter(has_text="web-1").locator(".badge")).to_have_text("kept", timeout=40_000)
    expect(rows.filter(has_text="db-1").locator(".badge")).to_have_text("rolled back", timeout=40_000)
    expect(page.locator(".tally")).to_contain_text("rolled back")
    expect(page.locator(".timeline a")).to_have_count(3, timeout=40_000)
    # The report leads to the log of each run.
    rows.filter(has_text="db-1").get_by_role("link", name=re.compile("Log of task")).click()
    expect(page.locator(".log")).to_contain_text("The verdict: rolled back.")


def test_a_task_is_cancelled_after_its_effect_was_said(inn: Service, open_page: Opener) -> None:
    """The dialog says what a cancel does, and the task ends cancelled while the page looks on."""
    _let_night_begin(inn, "mail-4")
    page = open_page("/machines/mail-4")
    page.locator("#now").get_by_role("link", name="Cancel …").click(timeout=20_000)
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("Everything is put back as it was before the task began.")
    dialog.get_by_role("button", name="Cancel the task").click()
    page.wait_for_url("**/tasks/*")
    expect(page.locator("#state .badge")).to_have_text("cancelled", timeout=30_000)
    expect(page.locator(".log")).to_contain_text("The verdict:")


def test_a_schedule_is_edited_with_a_preview_and_its_mistakes_beside_their_fields(open_page: Opener) -> None:
    """By the form: the next runs follow what is typed, a mistake is told, and what is saved is shown."""
    page = open_page("/schedule")
    page.get_by_text("New folder").click()
    page.get_by_label("Name (in").fill("Nightly")
    page.get_by_role("button", name="Create folder").click()
    page.get_by_role("link", name="New task").click()
    page.get_by_role("button", name="Save").click()
    wrong = page.locator(".field", has=page.locator("#command")).locator(".wrong")
    expect(wrong).to_contain_text("E_INVALIDARG (0x80070057)")
    page.get_by_label("Name", exact=True).fill("Compact")
    page.get_by_label("Program", exact=True).fill("/bin/true")
    page.get_by_label("First start").fill("2031-03-04T05:06")
    page.get_by_label("Time zone").fill("Asia/Tokyo")
    expect(page.locator("#preview")).to_contain_text("Tue 4 Mar 2031 05:06 JST", timeout=10_000)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("main")).to_contain_text("The task was saved.")
    expect(page.locator("h1")).to_contain_text("Compact")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("table .badge").first).to_have_text("finished", timeout=20_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Export XML").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\xff\xfe")
    page.get_by_role("link", name="Edit").click()
    edited = page.url
    page.goto(page.url.partition("/schedule")[0] + "/schedule")
    expect(page.get_by_role("link", name="\\Nightly\\Compact")).to_be_visible()
    page.goto(edited)
    page.get_by_role("link", name="XML").click()
    page.locator("#xml").fill("<Task><nonsense/></Task>")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".wrong")).to_contain_text(re.compile(r"line 1.*SCHED_E_|SCHED_E_.*"))


def test_a_machine_is_told_what_to_do_and_a_dangerous_command_asks_first(open_page: Opener) -> None:
    """The page follows: the state, the task, and what can be done next."""
    page = open_page("/machines/mail-3")
    expect(page.locator("#now .badge").first).to_have_text("running")
    page.get_by_role("link", name=re.compile("^Turn off")).click()
    dialog = page.locator("dialog[open]")
    expect(dialog).to_contain_text("What the guest has not written to")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#now .badge").first).to_have_text("paused", timeout=20_000)
    expect(page.get_by_role("button", name="Resume")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#now .badge").first).to_have_text("running", timeout=20_000)


def test_more_machines_come_as_one_scrolls_and_a_search_narrows_them(open_page: Opener) -> None:
    """A hundred machines, a page of cards at a time."""
    page = open_page("/machines")
    cards = page.locator(".machine")
    expect(cards).to_have_count(60)
    page.mouse.wheel(0, 100_000)
    expect(cards).to_have_count(100, timeout=10_000)
    page.get_by_label("Name").fill("web-1")
    expect(cards.first).to_contain_text("web-1")
    page.wait_for_url("**/machines?q=web-1*")
    expect(page.locator(".machine img").first).to_have_js_property("complete", True)


def test_everything_can_be_reached_by_keyboard_alone(open_page: Opener) -> None:
    """Past the navigation in two keys, to a machine, and to a command of it."""
    page = open_page("/machines?q=web-1")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.machine') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/machines/web-1*")
    seen: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.evaluate("document.activeElement === document.body")
    assert any(text.startswith("Turn off …") for text in seen)
    assert "Pause" in seen


def test_every_page_can_be_read_without_scripts(open_page: Opener) -> None:
    """And a form works: a machine is paused and goes on."""
    page = open_page("/tonight", java_script_enabled=False)
    for place in _PLACES:
        page.goto(place)
        expect(page.locator("h1, h2").first).to_be_visible()
    page.goto("/machines/cache-2")
    page.get_by_role("link", name=re.compile("^Reset")).click()
    expect(page.locator("main")).to_contain_text("What the guest has not written to")
    page.get_by_role("link", name="Cancel").click()
    page.wait_for_url("**/machines/cache-2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility_or_is_too_wide(open_page: Opener, scheme: str) -> None:
    """Each one, wide and narrow."""
    page = open_page("/tonight", color_scheme=scheme)
    found: list[str] = []
    for place in _PLACES:
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(place)
        for fault in Axe().run(page).response["violations"]:
            if fault["impact"] in ("serious", "critical"):
                found += [f"{place}: {fault['id']}: {node['html'][:150]}" for node in fault["nodes"]]
        page.set_viewport_size({"width": 320, "height": 640})
        if not fits(page):
            found.append(f"{place} is wider than 320 pixels")
    assert found == []


def test_a_thousand_machines_are_painted(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> None:
    """How soon, ``benchmarks/pages.py`` measures."""
    many = Service(tmp_path_factory.mktemp("many"), machines=1000, speed=60)
    many.start()
    try:
        with relayed(many.socket) as address:
            page = browser.new_page(base_url=address)
            page.goto("/machines", wait_until="load")
            page.wait_for_function(
                "performance.getEntriesByName('first-contentful-paint').length", timeout=60_000
            )
            expect(page.locator("main")).to_contain_text("1,000")
            page.close()
    finally:
        many.end()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _let_night_begin(inn: Service, *machines: str) -> None:
    """Book an update for each, and see that a window is open, whatever the clock says."""
    with inn.connect() as client:
        now = client.read().now
        # A zone where it is about one in the morning: noon does not come in the middle of the test.
        behind = (now.hour - 1) % 24
        zone = f"Etc/GMT{behind:+d}" if behind <= 12 else f"Etc/GMT{behind - 24:+d}"
        opens = (now - dt.timedelta(minutes=30)).astimezone(ZoneInfo(zone)).time().replace(microsecond=0)
        request = WindowRequest(
            name="nights", zone=zone, opens_at=opens, duration_seconds=8 * 3600, weekdays=tuple(Weekday)
        )
        if not list(client.windows):
            client.windows.add(request)
        for name in machines:
            client.machines[name].updates.book(label="Security", identifier="2026-11")
