"""What would count is what does count: by the same rules."""

from __future__ import annotations

from innkeeper.updates.health import Stake, what_counts
from tests.updates.health.reports import mount, old, report, tcp, udp, unit


def _by_subject(*stakes: Stake) -> dict[str, bool | None]:
    """Whether the loss is a fault; ``None`` where it is nothing."""
    return {stake.subject: None if stake.loss is None else stake.loss.is_fault for stake in stakes}


def test_each_part_counts_as_its_loss_would() -> None:
    """Units, what listens, mounts."""
    guest = report(
        unit("shop.service"),
        unit("once.service", type="oneshot", sub="dead", active="inactive"),
        unit("backup.timer", type=""),
        unit("run-r1.service", enablement="transient", wanted=False),
        listeners=(tcp(80, "shop.service", "shop"), udp(40000, "dns.service", "dnsmasq")),
        mounts=(mount("/srv"), mount("/media", "nofail")),
    )
    assert _by_subject(*what_counts(guest)) == {
        "unit:shop.service": True,
        "unit:once.service": None,
        "unit:backup.timer": True,
        "unit:run-r1.service": None,
        "listener:tcp/80": True,
        "listener:udp/40000": None,
        "mount:/srv": True,
        "mount:/media": False,
    }


def test_what_is_ignored_counts_as_ignored() -> None:
    """By a pattern, too."""
    guest = report(unit("shop.service"), unit("mail.service"))
    stakes = {stake.subject: stake.loss for stake in what_counts(guest, ["unit:sh*"])}
    shop, mail = stakes["unit:shop.service"], stakes["unit:mail.service"]
    assert shop is not None
    assert mail is not None
    assert (shop.is_fault, shop.is_ignored) == (False, True)
    assert (mail.is_fault, mail.is_ignored) == (True, False)


def test_of_an_old_agents_guest_nothing_is_known() -> None:
    """It tells too little."""
    assert what_counts(old(report(unit("shop.service")))) == ()


def test_a_name_that_looks_like_a_pattern_is_ignored_by_itself() -> None:
    """As the report writes it."""
    guest = report(mounts=(mount("/srv/[old]"),))
    (stake,) = what_counts(guest, ["mount:/srv/[old]"])
    assert stake.loss is not None
    assert stake.loss.is_ignored
