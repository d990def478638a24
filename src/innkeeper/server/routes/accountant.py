"""Routes of accounts: what machines use, now and over time."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.accountant import Account, Rates, Span
from innkeeper.server.http.paging import ThePage, by_fields
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path, resource_of, what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.wire import accountant as wire

router = APIRouter(tags=["accountant"])

_LOOK = needs(Role.VIEWER, machine_in_path("name"))


@router.get(
    "/accounts",
    operation_id="list_accounts",
    dependencies=needs(
        Role.VIEWER,
        what_they_see.of_all_servers(machines=("account.machine", "host"), pages_of="machines"),
    ),
)
async def list_accounts(house: TheHouse, caller: TheCaller, page: ThePage) -> wire.WatchedList:
    """Every machine's state and account, by one question to each host."""
    seen = [notice.machine for notice in await house.board.all()]
    found = page.of(
        (each for each in seen if caller.may(Role.VIEWER, resource_of(each))), by_fields("title", "host")
    )
    await house.accountant.look()
    accounts = house.accountant.accounts(found.entries)
    return wire.WatchedList(
        machines=tuple(
            wire.WatchedMessage(
                account=account_message(account),
                state=machine.state,
                host=machine.host,
                heartbeat=house.guests.heartbeats.percent_or_none(machine.key),
            )
            for machine, account in zip(found.entries, accounts, strict=True)
        ),
        next_after=found.next_after,
    )


@router.get("/machines/{name}/account", operation_id="get_account", dependencies=_LOOK)
async def get_account(name: str, house: TheHouse) -> wire.AccountMessage:
    """What the machine uses now, and has used since it was turned on."""
    return account_message(await house.accountant.account(name))


@router.get("/machines/{name}/account/history", operation_id="get_account_history", dependencies=_LOOK)
async def get_account_history(name: str, house: TheHouse, span: Span = Span.MINUTE) -> wire.HistoryMessage:
    """What the machine used in the last minute (60 points), or the last day (288)."""
    history = await house.accountant.history(name, span)
    return wire.HistoryMessage(
        machine=(await house.machines.get(name)).title,
        until=history.until,
        step_seconds=history.step_seconds,
        points=tuple(_rates(point) for point in history.points),
    )


def account_message(account: Account) -> wire.AccountMessage:
    """Return an account as a message."""
    return wire.AccountMessage(
        machine=account.machine,
        is_on=account.is_on,
        rates=_rates(account.rates),
        disk_read_bytes=account.disk_read_bytes,
        disk_written_bytes=account.disk_written_bytes,
        network_received_bytes=account.network_received_bytes,
        network_sent_bytes=account.network_sent_bytes,
        uptime_seconds=account.uptime_seconds,
    )


def _rates(rates: Rates) -> wire.RatesMessage:
    return wire.RatesMessage(
        cpu_percent=round(rates.cpu_percent, 1),
        disk_read=round(rates.disk_read),
        disk_written=round(rates.disk_written),
        network_received=round(rates.network_received),
        network_sent=round(rates.network_sent),
        memory_bytes=rates.memory_bytes,
    )
