"""The pages as HTTP: policy, caching, compression, weight, problems, and what a script-less reader gets."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import re
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import httpx
import pytest

from innkeeper.client import Inn
from innkeeper.server.pages.static import assets
from innkeeper.wire.messages import WindowRequest
from innkeeper.wire.states import Weekday
from tests.serving import Service

_PAGES = (
    "/tonight",
    "/machines",
    "/machines/web-1",
    "/machines/web-1/console",
    "/machines/web-1/settings",
    "/hosts",
    "/tasks",
    "/schedule",
    "/schedule/edit",
)
_BROWSER = {"Accept": "text/html", "Accept-Encoding": "gzip"}

#: What a page may weigh before pictures, as it travels.
MAX_WEIGHT_BYTES = 150_000


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """A browser without scripts, at the local door."""
    transport = httpx.HTTPTransport(uds=str(service.socket))
    with httpx.Client(transport=transport, base_url="http://innkeeper", headers=_BROWSER) as client:
        yield client


@pytest.mark.parametrize("path", _PAGES)
def test_a_page_forbids_all_that_is_not_ours(http: httpx.Client, path: str) -> None:
    """No inline script or style, no frame, nothing from elsewhere; and none of it is in the page."""
    answer = http.get(path)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<[^>]+ style=|<style|<script(?![^>]*src=)|\son[a-z]+=|javascript:", answer.text)
    addresses = re.findall(r'(?:href|src|action|hx-get|hx-post)="([^"]+)"', answer.text)
    assert [address for address in addresses if not address.startswith(("/", "#"))] == []


@pytest.mark.parametrize("path", _PAGES)
def test_a_page_weighs_little(http: httpx.Client, path: str) -> None:
    """With all its styles and scripts, compressed, and before pictures."""
    weights = {path: _weight(http, path)}
    page = http.get(path).text
    for address in set(re.findall(r'(?:href|src|data-novnc|data-uplot)="(/pages/static/[^"#]+)', page)):
        weights[address] = _weight(http, address)
    assert sum(weights.values()) <= MAX_WEIGHT_BYTES, weights


def _weight(http: httpx.Client, path: str) -> int:
    with http.stream("GET", path) as answer:
        assert answer.headers.get("Content-Encoding") == "gzip" or path.endswith(".svg")
        return sum(len(piece) for piece in answer.iter_raw())


def test_what_pages_are_made_of_is_kept_for_ever_and_changes_its_address(http: httpx.Client) -> None:
    """Unchanged where the browser has it, not there under a tag that is no longer so."""
    asset = assets()["innkeeper.css"]
    answer = http.get(asset.url)
    assert "immutable" in answer.headers["Cache-Control"]
    assert gzip.decompress(asset.compressed) == answer.content == asset.content
    assert http.get(asset.url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert http.get("/pages/static/0000000000000000/innkeeper.css").status_code == 404
    assert http.get(f"/pages/static/{asset.tag}/../../templates/base.html").status_code == 404


def test_the_libraries_are_those_that_are_written_down() -> None:
    """File by file, with their licences beside them."""
    vendor = resources.files("innkeeper.server.pages") / "static" / "vendor"
    lines = (vendor / "VERSIONS").read_text().splitlines()[1:]
    written = {line.split("\t")[0]: line.split("\t") for line in lines}
    there = {file.name for file in vendor.iterdir() if file.name.endswith((".js", ".css"))}
    assert set(written) == there
    for name, (_, _, version, licence, digest) in written.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest
        assert version
        assert licence
        assert (vendor / f"{name.split('.')[0]}.LICENSE").read_text()


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/nothing", 404, "There is no GET /nothing"),
        ("/hosts/servers/explode?name=x", 404, "There is no"),
        ("/tasks/99999", 404, "There is no task 99999."),
        ("/tasks/first", 404, "There is no GET /tasks/first"),
        ("/tasks?before=x", 422, "is not a whole number"),
        ("/machines/nobody", 404, "There is no machine “nobody”."),
        ("/machines/web-1/commands/explode", 404, "There is no such command for a machine."),
        ("/tonight?night=yesterday", 422, "is not a date"),
        ("/tonight?night=0001-01-01", 422, "There is no night"),
        ("/schedule?folder=%5Cnowhere", 404, "nowhere"),
        ("/schedule/task?path=%5Cnothing", 404, "nothing"),
    ],
)
def test_a_problem_is_a_page_with_its_sentence_and_identifier(
    http: httpx.Client, path: str, status: int, message: str
) -> None:
    """A person reads the page, and a program the same as problem details."""
    page = http.get(path)
    assert (page.status_code, page.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
    assert message in page.text
    assert re.search(r"<code>[A-Z_a-z]+ \(0x[0-9A-F]{8}\)</code>", page.text)
    other = http.get(path, headers={"Accept": "application/json"})
    assert other.headers["Content-Type"] == "application/problem+json"


def test_what_a_guest_or_a_person_wrote_cannot_become_markup(http: httpx.Client, service: Service) -> None:
    """It is text, wherever it comes up."""
    with service.connect() as inn:
        label = '<img src=x onerror="alert(1)">'
        inn.machines["build-3"].updates.book(label=label, identifier="<script>1</script>", start=None)
        try:
            for path in ("/machines/build-3", "/tonight"):
                text = http.get(path).text
                assert "<img src=x" not in text
                assert "<script>1" not in text
            assert "&lt;script&gt;" in http.get("/machines/build-3").text
        finally:
            inn.machines["build-3"].updates["<script>1</script>"].delete()


def test_every_page_says_the_same_without_scripts(http: httpx.Client) -> None:
    """State, times with their zone, and links to go on are in the HTML that comes."""
    page = http.get("/machines").text
    assert "web-1" in page
    assert "running" in page
    times = re.findall(r"<time [^>]+>([^<]+)</time>", http.get("/tonight").text)
    assert times
    assert all(re.search(r"[A-Z]{3,4}$|^\d\d:\d\d$", message) for message in times)


def test_a_running_task_is_on_each_page_that_it_concerns(tmp_path: Path) -> None:
    """With its phase and a way to cancel it, which says beforehand what that does."""
    slow = Service(tmp_path, machines=2, speed=4)
    slow.start()
    try:
        transport = httpx.HTTPTransport(uds=str(slow.socket))
        with slow.connect() as inn, httpx.Client(transport=transport, headers=_BROWSER) as http:
            task_id = _started_run(inn, "web-1")
            for path in ("/tasks", f"/tasks/{task_id}", "/machines/web-1"):
                page = http.get(f"http://innkeeper{path}")
                assert page.status_code == 200, path
                assert f'data-task="{task_id}"' in page.text, path
                assert f'href="/tasks/{task_id}/cancel"' in page.text, path
            asked = http.get(f"http://innkeeper/tasks/{task_id}/cancel").text
            assert "Everything is put back as it was before the task began." in asked
    finally:
        slow.end()


def _started_run(inn: Inn, machine: str) -> int:
    """The task of an update run that has just begun."""
    opens = (inn.read().now - dt.timedelta(hours=1)).time().replace(microsecond=0)
    inn.windows.add(
        WindowRequest(name="now", opens_at=opens, duration_seconds=14_400, weekdays=tuple(Weekday))
    )
    update = inn.machines[machine].updates.book(label="Security", identifier="pages")
    deadline = time.monotonic() + 20
    while (task_id := update.read().task_id) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert task_id is not None
    return task_id


def test_a_page_left_open_goes_over_to_the_next_night(http: httpx.Client) -> None:
    """It asks for the night that is, while one that was asked for by its date stays."""
    assert 'hx-get="/tonight"' in http.get("/tonight").text
    assert 'hx-get="/tonight?night=2026-11-01"' in http.get("/tonight?night=2026-11-01").text


def test_machines_are_found_by_name_and_state(http: httpx.Client) -> None:
    """By the query alone, as a form without scripts sends it."""
    names = re.compile(r'data-name="([^"]+)"')
    assert "web-1" in names.findall(http.get("/machines?q=WEB").text)
    assert all(name.startswith("web") for name in names.findall(http.get("/machines?q=web").text))
    off = http.get("/machines?state=off").text
    assert set(names.findall(off)).isdisjoint({"web-1"})
    assert "No machine matches." in http.get("/machines?q=nobody-at-all").text


def test_a_machine_that_cannot_be_maintained_says_so_on_its_pages(own_service: Service) -> None:
    """Among all machines with what is in the way, and on its own page with the way out."""
    own_service.start()
    assert own_service.run("machine", "set", "web-1", "--undo-exclude", "vda").code == 0
    assert own_service.run("machine", "check").code == 4
    with own_service.http() as http:
        machines = http.get("/machines", headers=_BROWSER).text
        assert "1 machine cannot be maintained tonight" in machines
        assert machines.count("not tonight") == 1
        page = http.get("/machines/web-1", headers=_BROWSER).text
        assert "All disks of web-1 are left out of undo points" in page
        asked = {**_BROWSER, "HX-Request": "true", "HX-Target": "check"}
        part = http.get("/machines/web-1", headers=asked).text
        assert "innkeeper machine set web-1 --undo-exclude" in part
        assert "left out by name" in part
        assert "can be maintained" in http.get("/machines/db-1", headers=asked).text


def test_the_report_of_an_update_says_why_and_takes_what_is_no_fault(own_service: Service) -> None:
    """Whatever the identifier holds; the finding counts again by the same page."""
    own_service.start()
    assert own_service.run("update", "book", "db-1", "--identifier", "2026/11 n").code == 0
    own_service.run("window", "add", "now", "--now", "--for", "12h")
    own_service.run("tonight", "--watch", "--json")
    with own_service.http() as http:
        machine = http.get("/machines/db-1", headers=_BROWSER).text
        found = re.search(r'href="(/machines/db-1/updates/report[^"]*)"', machine)
        assert found is not None
        page = http.get(found[1], headers=_BROWSER).text
        assert "The unit shop.service has failed." in page
        assert "shop.service: cannot start" in page
        about = {"subject": "unit:shop.service", "identifier": "2026/11 n"}
        ignored = http.post("/machines/db-1/ignored", data=about, headers=_BROWSER)
        assert ignored.headers["location"] == found[1].replace("&amp;", "&")
        assert "Count it again" in http.get(found[1], headers=_BROWSER).text
        http.post("/machines/db-1/ignored", data={**about, "again": "yes"}, headers=_BROWSER)
        assert "Count it again" not in http.get(found[1], headers=_BROWSER).text
        assert http.get("/machines/db-1/updates/report?identifier=x", headers=_BROWSER).status_code == 404
