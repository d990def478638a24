"""``innkeeper machine health`` and ``innkeeper machine ignore``."""

from __future__ import annotations

import json

from tests.serving import Service


def test_health_says_what_counts_and_what_is_ignored_does_not(service: Service) -> None:
    """Of a guest that runs; the answer is the same for programs."""
    shown = service.run("machine", "health", "web-1")
    assert shown.code == 0, shown.err
    assert "unit:shop.service" in shown.out
    assert "rolled back" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert service.run("machine", "ignore", "web-1", "unit:shop.service").out == "unit:shop.service\n"
    told = json.loads(service.run("machine", "health", "web-1", "--json").out)
    weights = {stake["subject"]: stake["weight"] for stake in told["stakes"]}
    assert (weights["unit:shop.service"], told["ignored"]) == ("ignored", ["unit:shop.service"])
    assert service.run("machine", "ignore", "web-1", "unit:shop.service", "--remove").code == 0
    assert "Everything counts" in service.run("machine", "ignore", "web-1").err


def test_what_cannot_be_asked_or_ignored_is_refused(service: Service) -> None:
    """With what to do instead."""
    off = service.run("machine", "health", "old-1")
    assert (off.code, "innkeeper machine start old-1" in off.err) == (4, True)
    bare = service.run("machine", "ignore", "web-1", "shop.service")
    assert (bare.code, "unit:shop.service" in bare.err) == (2, True)
    unknown = service.run("machine", "ignore", "web-1", "unit:shop.service", "--remove")
    assert (unknown.code, "ERROR_NOT_FOUND" in unknown.err) == (3, True)
    never = service.run("update", "explain", "web-1")
    assert (never.code, "innkeeper update list --machine web-1" in never.err) == (3, True)
