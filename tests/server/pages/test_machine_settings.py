"""The settings of a machine in a browser: the form is the table, and says what is wrong beside the field."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest

from innkeeper.wire.machine_settings import SETTINGS
from innkeeper.wire.setting import Changeable
from tests.serving import Service

_PAGE = "/machines/web-1/settings"
_EDITED = [key for key, declared in SETTINGS.items() if declared.setting.changes is not Changeable.NEVER]


@pytest.fixture(scope="module")
def inn_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this file's own."""
    service = Service(tmp_path_factory.mktemp("inn"), machines=3, speed=120)
    service.start()
    yield service
    service.end()


@pytest.fixture
def http(inn_service: Service) -> Iterator[httpx.Client]:
    """A browser without scripts, at the local door."""
    transport = httpx.HTTPTransport(uds=str(inn_service.socket))
    with httpx.Client(
        transport=transport, base_url="http://innkeeper", headers={"Accept": "text/html"}
    ) as http:
        yield http


def _filled_in(**changed: str) -> dict[str, str]:
    """The form as it stands, with some fields changed; an unticked box is not sent."""
    form = {
        "name": "web-1",
        "notes": "",
        "memory_mib": "512",
        "vcpus": "1",
        "undo_action": "KEEP",
        "undo_point": "POLICY",
        "shutdown_action": "SAVE",
    }
    return form | changed


def test_the_form_has_every_setting_that_changes(http: httpx.Client) -> None:
    """And no other."""
    page = http.get(_PAGE)
    assert page.status_code == 200
    names = set(re.findall(r'<(?:input|select|textarea)[^>]* name="([^"]+)"', page.text))
    assert names - {"csrf"} == set(_EDITED)


def test_what_is_filled_in_is_saved(http: httpx.Client, inn_service: Service) -> None:
    """Texts with their lines, numbers, boxes and choices; the rest stays."""
    wanted = _filled_in(notes="one\r\ntwo", undo_action="COMMIT", autostart="on")
    with inn_service.connect() as inn:
        made = inn.machines["web-1"].configuration()
        answer = http.post(
            _PAGE, data=wanted | {"memory_mib": str(made.memory_mib), "vcpus": str(made.vcpus)}
        )
        assert answer.status_code == 303
        after = inn.machines["web-1"].configuration()
    assert (after.notes, after.undo_action.name, after.autostart) == ("one\ntwo", "COMMIT", True)
    assert (after.memory_mib, after.vcpus) == (made.memory_mib, made.vcpus)


@pytest.mark.parametrize(
    ("field", "value"),
    [("vcpus", "0"), ("vcpus", "many"), ("memory_mib", "3"), ("undo_action", "NONE"), ("name", "a*b")],
)
def test_a_mistake_stands_beside_its_field(http: httpx.Client, field: str, value: str) -> None:
    """With the documented identifier, and what was filled in is kept."""
    answer = http.post(_PAGE, data=_filled_in(**{field: value, "notes": "kept"}))
    assert answer.status_code == 422
    hint = answer.text.partition(f'id="{field}-hint"')[2].partition('<div class="field">')[0]
    assert 'class="wrong"' in hint
    assert "kept" in answer.text
