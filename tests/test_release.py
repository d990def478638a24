"""A release tells what it is made of, and its lock can be compared with known faults."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import advisories
import bill_of_materials

_ROOT = Path(__file__).resolve().parent.parent
LOCK = """\
idna==3.10 \\
    --hash=sha256:{0}
Mako==1.2.1 ; python_version < '4' \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
""".format("a" * 64, "b" * 64)


def test_every_pinned_package_is_in_the_bill_of_materials() -> None:
    """With its version, its address and the digests that are checked when it is installed."""
    document = bill_of_materials.bill_of_materials("1.0", LOCK)
    idna, mako = sorted(document["components"], key=lambda each: each["purl"])
    assert (document["bomFormat"], document["metadata"]["component"]["version"]) == ("CycloneDX", "1.0")
    assert (idna["purl"], mako["purl"]) == ("pkg:pypi/idna@3.10", "pkg:pypi/mako@1.2.1")
    assert [each["hashes"][0]["content"][0] for each in mako["externalReferences"]] == ["a", "b"]
    real = (_ROOT / "requirements.lock").read_text()
    names = {each["name"] for each in bill_of_materials.bill_of_materials("1.0", real)["components"]}
    assert len(names) == real.count("==")
    assert {"fastapi", "sqlalchemy"} <= names


@pytest.mark.parametrize(
    ("affected", "concerned"),
    [
        ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.2"}]}]}, True),
        ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.2.1"}]}]}, False),
        ({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.3"}]}]}, False),
        (
            {"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1"}, {"last_affected": "1.2.1"}]}]},
            True,
        ),
        ({"versions": ["1.2.1"]}, True),
        ({"versions": ["1.2.0"]}, False),
    ],
)
def test_a_known_fault_of_a_pinned_version_is_told(
    tmp_path: Path, affected: dict[str, object], concerned: bool
) -> None:
    """By ranges and by versions, as OSV writes them; other packages and other places do not count."""
    advisory = {
        "id": "GHSA-1",
        "summary": "It leaks.",
        "affected": [
            {"package": {"ecosystem": "PyPI", "name": "mako"}, **affected},
            {"package": {"ecosystem": "npm", "name": "idna"}, "versions": ["3.10"]},
        ],
    }
    (tmp_path / "GHSA-1.json").write_text(json.dumps(advisory))
    assert list(advisories.faults(LOCK, tmp_path)) == (["mako 1.2.1: GHSA-1, It leaks."] if concerned else [])


def test_without_advisories_it_is_said_that_nothing_was_compared(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which is no success."""
    monkeypatch.setattr(sys, "argv", ["advisories.py"])
    assert advisories.main() == 2
    assert "compared with nothing" in capsys.readouterr().err
