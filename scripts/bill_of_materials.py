"""Write a release's bill of materials (CycloneDX 1.5) from the lock: ``bill_of_materials.py VERSION > FILE``.

Every package that the lock pins, with the digests that pip checks. Those of the tests are in it too: the lock
does not tell them apart.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def pins(lock: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and SHA-256 digests of each pinned package."""
    for block in re.split(r"\n(?=\S)", lock):
        found = _PIN.match(block)
        if found is not None:
            yield found["name"], found["version"], re.findall(r"--hash=sha256:([0-9a-f]{64})", block)


def bill_of_materials(version: str, lock: str) -> dict[str, Any]:
    """Return the document; the same for the same version and lock."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": _component("application", "innkeeper", version, [])},
        "components": [_component("library", *pin) for pin in sorted(pins(lock))],
    }


def _component(kind: str, name: str, version: str, digests: list[str]) -> dict[str, Any]:
    url = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    component: dict[str, Any] = {
        "type": kind,
        "bom-ref": url,
        "name": name,
        "version": version,
        "purl": url,
    }
    if digests:
        # Of each file that may be installed; pip takes the one that fits the computer.
        component["externalReferences"] = [
            {
                "type": "distribution",
                "url": url,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for digest in digests
        ]
    return component


if __name__ == "__main__":
    json.dump(bill_of_materials(sys.argv[1], _LOCK.read_text()), sys.stdout, indent=1)
    print()
