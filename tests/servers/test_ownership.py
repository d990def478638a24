"""Hosts are owned by one server at a time, and only their owner acts on them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Sequence

import pytest

from innkeeper.errors import ErrorCode
from innkeeper.servers.fence import FenceClosed, HostElsewhere, passed
from innkeeper.servers.ownership import Callbacks, HostFence, Ownership
from innkeeper.servers.server import ServerState
from innkeeper.store.database import Database
from innkeeper.store.leases import Leases
from innkeeper.store.servers import Servers

#: As if a server had been stopped for long, right after it was seen.
RUN_OUT = dt.timedelta(milliseconds=-1)
TTL = dt.timedelta(seconds=30)


@dataclasses.dataclass
class Peer:
    """One server in a test: its ownership, and what it was told to do."""

    ownership: Ownership
    #: What has happened to hosts, in order.
    told: list[str] = dataclasses.field(default_factory=list)
    in_flight: int = 0
    seconds: float = 1000.0

    def add(self, host: str, *, stand_in: bool = False) -> HostFence:
        """The fence of a host that can be opened, and of which only this server's work is told."""
        fence = self.ownership.fence(name=host, uri=f"test:///{host}", stand_in=stand_in)

        async def connect() -> None:
            await fence.claim(host)
            await fence.opened()

        async def disconnect() -> None:
            self.told.append(f"disconnected {host}")

        fence.bind(connect=connect, disconnect=disconnect)
        return fence

    async def own(self, host: str, *, stand_in: bool = False) -> HostFence:
        """Take a host and begin to work on it."""
        fence = self.add(host, stand_in=stand_in)
        await fence.claim(host)
        await fence.opened()
        return fence


async def peer(database: Database, name: str, *, ttl: dt.timedelta = TTL) -> Peer:
    """A server, with leases that hold for so long in the database."""
    servers = Servers(database, ttl=ttl)
    server = await servers.enrol(name, home=name)
    ownership = Ownership(
        server,
        servers=servers,
        leases=Leases(database, ttl=ttl),
        seconds=lambda: made.seconds,
    )
    made = Peer(ownership)

    async def gained(hosts: Sequence[str]) -> None:
        await asyncio.sleep(0)
        made.told.append(f"gained {' '.join(hosts)}")

    async def lost(host: str) -> None:
        made.told.append(f"lost {host}")

    async def in_flight(_host: str) -> int:
        return made.in_flight

    await ownership.begin(Callbacks(gained=gained, lost=lost, in_flight=in_flight))
    return made


async def hand_over(owner: Peer, other: Peer) -> None:
    """One server offers its hosts, another opens them, and the first looks whether one has."""
    for each in (owner, other, owner):
        await each.ownership.look()


async def test_a_host_that_another_server_owns_is_not_taken(database: Database) -> None:
    """Whose it is, is said; it is taken when that one has left."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    await attic.own("h1")
    fence = cellar.add("h1")
    with pytest.raises(HostElsewhere, match="looked after by the server attic") as refused:
        await fence.claim("h1")
    assert refused.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED
    with pytest.raises(FenceClosed):
        fence.check()
    await cellar.ownership.look()
    assert not cellar.ownership.owns("h1")
    await attic.ownership.close()
    await cellar.ownership.look()
    assert cellar.ownership.owns("h1")
    fence.check(final=False)


async def test_a_paused_server_acts_no_more_once_its_lease_has_run_out(database: Database) -> None:
    """By its own clock it stops before anybody else may begin, without a look at the database."""
    attic = await peer(database, "attic")
    fence = await attic.own("h1")
    fence.check()
    attic.seconds += 21.9
    fence.check()
    attic.seconds += 0.2
    with pytest.raises(FenceClosed):
        fence.check()
    await attic.ownership.look()
    fence.check()


async def test_a_retired_server_says_so_and_not_that_another_took_its_place(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of itself and of its hosts: no other server need be there."""
    attic = await peer(database, "attic")
    await attic.own("h1")
    await Servers(database).set_state(attic.ownership.server.id, ServerState.RETIRED)
    await attic.ownership.look()
    assert attic.ownership.replaced.is_set()
    assert attic.ownership.is_retired
    told = capsys.readouterr()
    assert "host.freed_by_retirement" in told.out + told.err
    assert "another_server" not in told.out + told.err


async def test_what_cannot_be_undone_looks_at_the_database_too(database: Database) -> None:
    """A clock that went wrong does not let two servers act."""
    attic, cellar = await peer(database, "attic", ttl=RUN_OUT), await peer(database, "cellar")
    fence = await attic.own("h1")
    fence.check()
    await cellar.own("h1")
    with pytest.raises(FenceClosed):
        await asyncio.to_thread(lambda: fence.check(final=True))
    with pytest.raises(FenceClosed):
        fence.check()


async def test_who_lost_a_host_stops_its_work_there_and_lets_go(database: Database) -> None:
    """First the work, then the connection; who waits for the fence is refused, with where to look."""
    attic, cellar = await peer(database, "attic", ttl=RUN_OUT), await peer(database, "cellar")
    fence = await attic.own("h1")
    await cellar.own("h1")
    attic.seconds += 100
    waiting = asyncio.create_task(passed(fence))
    await asyncio.sleep(0)
    await attic.ownership.look()
    with pytest.raises(HostElsewhere, match="another server") as refused:
        await waiting
    assert "server list" in refused.value.advice
    assert attic.told[-2:] == ["lost h1", "disconnected h1"]
    assert not attic.ownership.owns("h1")
    assert cellar.ownership.owns("h1")


async def test_a_lease_that_ran_out_and_that_nobody_took_is_kept(database: Database) -> None:
    """A database that was away for long costs no run: who waits at the fence goes on."""
    attic = await peer(database, "attic", ttl=RUN_OUT)
    fence = await attic.own("h1")
    epoch = fence.epoch
    attic.seconds += 100
    waiting = asyncio.create_task(fence.settled())
    await attic.ownership.look()
    await waiting
    assert fence.epoch == epoch
    assert "lost h1" not in attic.told


async def test_a_lease_that_was_another_servers_in_between_is_lost(database: Database) -> None:
    """Though nobody has it now: what that one did is not known here."""
    attic, cellar = await peer(database, "attic", ttl=RUN_OUT), await peer(database, "cellar")
    await attic.own("h1")
    await cellar.own("h1")
    await cellar.ownership.close()
    await Leases(database).take(attic.ownership.server.id, "h1")
    await attic.ownership.look()
    assert "lost h1" in attic.told


async def test_a_new_start_of_a_server_takes_its_hosts_at_once(database: Database) -> None:
    """The former one, should it only have been paused, learns at its next look that it is no more."""
    before = await peer(database, "attic")
    old = await before.own("h1")
    after = await peer(database, "attic")
    new = await after.own("h1")
    assert new.epoch > old.epoch
    await before.ownership.look()
    assert before.ownership.replaced.is_set()
    assert "lost h1" in before.told
    await after.ownership.look()
    assert after.ownership.owns("h1")


async def test_a_stand_in_gives_the_host_back_when_nothing_is_in_flight(database: Database) -> None:
    """To the server that has the better right to it, once that one lives; nothing new begins meanwhile."""
    stand_in, preferred = await peer(database, "stand-in"), await peer(database, "preferred")
    await stand_in.own("h1", stand_in=True)
    assert not stand_in.ownership.hindrance("h1")
    returning = preferred.add("h1")
    with pytest.raises(HostElsewhere):
        await returning.claim("h1")
    stand_in.in_flight = 1
    await hand_over(stand_in, preferred)
    assert stand_in.ownership.owns("h1")
    assert "h1 goes to another server" in stand_in.ownership.hindrance("h1")
    stand_in.in_flight = 0
    await stand_in.ownership.look()
    assert not stand_in.ownership.owns("h1")
    await preferred.ownership.look()
    assert preferred.ownership.owns("h1")
    await stand_in.ownership.look()
    assert not stand_in.ownership.owns("h1")


async def test_a_drained_server_hands_over_what_another_can_take(database: Database) -> None:
    """The rest it keeps, without beginning anything there; when it joins again, it begins."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    await attic.own("shared")
    await attic.own("alone")
    fence = cellar.add("shared")
    with pytest.raises(HostElsewhere):
        await fence.claim("shared")
    await Servers(database).set_state(attic.ownership.server.id, ServerState.DRAINING)
    await hand_over(attic, cellar)
    await cellar.ownership.look()
    assert cellar.ownership.owns("shared")
    assert attic.ownership.owns("alone")
    assert attic.ownership.hindrance("alone") == (
        "The server attic is drained: nothing new begins on the host alone until another server takes it, "
        "or attic joins again (innkeeper server join attic)."
    )
    await Servers(database).set_state(attic.ownership.server.id, ServerState.SERVING)
    await attic.ownership.look()
    assert not attic.ownership.hindrance("alone")
    assert cellar.ownership.owns("shared")


async def test_a_host_is_not_handed_over_to_a_server_that_names_it_no_longer(database: Database) -> None:
    """It reached the host before its settings were changed."""
    attic, before = await peer(database, "attic"), await peer(database, "cellar")
    await attic.own("shared")
    with pytest.raises(HostElsewhere):
        await before.own("shared")
    after = await peer(database, "cellar")
    await Servers(database).set_state(attic.ownership.server.id, ServerState.DRAINING)
    await hand_over(attic, after)
    assert attic.ownership.owns("shared")
    (lease,) = await Leases(database).list()
    assert lease.offered_at is None


async def test_a_host_is_kept_until_another_server_has_opened_it(database: Database) -> None:
    """It is offered first: whoever reached it once may not reach it now."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    await attic.own("shared")
    fence = cellar.add("shared")
    with pytest.raises(HostElsewhere):
        await fence.claim("shared")
    reached = asyncio.Event()

    async def connect() -> None:
        if reached.is_set():
            await fence.claim("shared")
            await fence.opened()

    fence.bind(connect=connect, disconnect=connect)
    await Servers(database).set_state(attic.ownership.server.id, ServerState.DRAINING)
    for _ in range(3):
        await hand_over(attic, cellar)
    assert attic.ownership.owns("shared")
    reached.set()
    await hand_over(attic, cellar)
    assert not attic.ownership.owns("shared")
    await cellar.ownership.look()
    assert cellar.ownership.owns("shared")
    (lease,) = await Leases(database).list()
    assert lease.offered_at is None


async def test_a_stand_in_goes_on_while_whoever_should_have_the_host_does_not_open_it(
    database: Database,
) -> None:
    """New work begins there, as long as the host is only offered."""
    stand_in, preferred = await peer(database, "stand-in"), await peer(database, "preferred")
    await stand_in.own("h1", stand_in=True)
    returning = preferred.ownership.fence(name="h1", uri="test:///h1")
    with pytest.raises(HostElsewhere):
        await returning.claim("h1")
    await hand_over(stand_in, preferred)
    assert not stand_in.ownership.hindrance("h1")


async def test_a_retired_server_that_lives_stops_at_its_next_look(database: Database) -> None:
    """Its hosts are free, and its name."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    await attic.own("h1")
    await Servers(database).set_state(attic.ownership.server.id, ServerState.RETIRED)
    await cellar.own("h1")
    await attic.ownership.look()
    assert attic.ownership.replaced.is_set()
    assert "lost h1" in attic.told


async def test_a_host_that_is_handed_over_is_not_taken_up_again_by_itself(database: Database) -> None:
    """Who lets go of a host tries at once to open it again, as a connection does."""
    stand_in, preferred = await peer(database, "stand-in"), await peer(database, "preferred")
    fence = await stand_in.own("h1", stand_in=True)

    async def claim() -> None:
        with contextlib.suppress(HostElsewhere):
            await fence.claim("h1")

    fence.bind(connect=claim, disconnect=claim)
    returning = preferred.add("h1")
    with pytest.raises(HostElsewhere):
        await returning.claim("h1")
    await hand_over(stand_in, preferred)
    await returning.claim("h1")
    assert fence.held is None


async def test_a_server_that_ends_takes_nothing_any_more(database: Database) -> None:
    """Its loop may look once more, and its connections may try: the hosts stay free for others."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    fence = await attic.own("h1")
    await attic.ownership.close()
    await attic.ownership.look()
    with pytest.raises(HostElsewhere):
        await fence.claim("h1")
    await cellar.own("h1")


async def test_hosts_that_come_while_others_are_begun_are_begun_together(database: Database) -> None:
    """A peer that dies may leave a hundred: what looks at all hosts is not done for each of them."""
    attic = await peer(database, "attic")
    for host in ("h1", "h2", "h3"):
        fence = attic.add(host)
        await fence.claim(host)
    for fence in list(attic.ownership.fences):
        await fence.opened()
    while len(" ".join(attic.told).split()) < 4:
        await asyncio.sleep(0.01)
    assert attic.told == ["gained h1 h2 h3"]


async def test_two_settings_of_one_host_are_told(database: Database) -> None:
    """The first has it; the second says which that is."""
    attic = await peer(database, "attic")
    first = await attic.own("h1")
    again = attic.ownership.fence(name="other-name", uri="test:///other")
    with pytest.raises(HostElsewhere, match="is the same host as h1") as refused:
        await again.claim("h1")
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    first.check()


async def test_a_taken_name_is_told_with_the_server_that_has_the_host_now(database: Database) -> None:
    """Not with one that only had it before: to retire that one alone would not free the name."""
    spare, south = await peer(database, "spare"), await peer(database, "south")
    await spare.own("stable")
    await spare.ownership.close()
    await south.own("stable")
    third = (await peer(database, "third")).add("stable")
    with pytest.raises(HostElsewhere, match="looked after by the server south") as refused:
        await third.claim("another")
    for name in ("south", "spare"):
        assert f"innkeeper server retire {name}" in refused.value.advice


async def test_two_hosts_of_one_name_at_two_servers_are_told_apart(database: Database) -> None:
    """The second is not used and says how to name it; the other hosts of its server go on."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    first = attic.ownership.fence(name="kvm1", uri="qemu:///system")
    await first.claim("h1")
    second = cellar.ownership.fence(name="KVM1", uri="qemu:///system")
    with pytest.raises(HostElsewhere, match="at qemu:///system, looked after by the server attic") as refused:
        await second.claim("h2")
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert "KVM1-2=qemu:///system" in second.second_address
    await cellar.own("h3")
    renamed = cellar.ownership.fence(name="kvm1-2", uri="qemu:///system")
    await renamed.claim("h2")
    renamed.check()
    assert [(each.host_id, each.name) for each in await Leases(database).list()] == [
        ("h3", "h3"),
        ("h1", "kvm1"),
        ("h2", "kvm1-2"),
    ]


async def test_a_host_that_was_made_anew_has_its_name_still(database: Database) -> None:
    """Two servers reach it by one address; its id is another now, and neither keeps the other from it."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    for each in (attic, cellar):
        fence = each.ownership.fence(name="kvm1", uri="qemu+ssh://kvm1/system")
        with contextlib.suppress(HostElsewhere):
            await fence.claim("before")
    anew = cellar.ownership.fence(name="kvm1", uri="qemu+ssh://kvm1/system")
    await anew.claim("after")
    anew.check()


async def test_another_address_of_another_servers_host_is_told_by_its_name(database: Database) -> None:
    """It is none that does not answer; whoever takes it next calls it what its settings say."""
    attic, cellar = await peer(database, "attic"), await peer(database, "cellar")
    first = attic.ownership.fence(name="vault", uri="qemu:///system")
    await first.claim("h1")
    second = cellar.add("h1")
    with pytest.raises(HostElsewhere, match="looked after by the server attic"):
        await second.claim("h1")
    assert "It is the host vault by another address" in second.second_address
    await attic.ownership.close()
    await cellar.ownership.look()
    assert (cellar.ownership.owns("h1"), second.second_address) == (True, "")
    assert [each.name for each in await Leases(database).list()] == ["h1"]


async def test_the_loop_keeps_the_leases(database: Database) -> None:
    """It looks again whenever an act was refused, from whichever thread."""
    attic = await peer(database, "attic")
    fence = await attic.own("h1")
    keeping = asyncio.create_task(attic.ownership.run())
    attic.seconds += 100
    await passed(fence)
    keeping.cancel()
    await asyncio.wait({keeping})
