"""Prove oneself by a Kerberos ticket, where there is one."""

from __future__ import annotations

import base64

from innkeeper.client.calls.people import log_in_by_ticket
from innkeeper.client.doors import Door
from innkeeper.errors import InnkeeperError


def ticket_for(door: Door, host: str) -> str:
    """The token of a session that a ticket of this user has begun; empty where there is no ticket.

    Needs the extra ``kerberos``; what is not there is passed over, for then one comes without a proof.
    """
    proof = _proof(host)
    if not proof:
        return ""
    call = log_in_by_ticket()
    with door.http("") as http:
        try:
            answer = http.post(call.path, headers={"Authorization": f"Negotiate {proof}"})
            return call.read(answer.status_code, answer.content).token
        except (InnkeeperError, OSError):
            return ""


def _proof(host: str) -> str:
    try:
        import gssapi
    except ImportError:
        return ""
    try:
        name = gssapi.Name(f"HTTP@{host}", gssapi.NameType.hostbased_service)
        token = gssapi.SecurityContext(name=name, usage="initiate").step()
    except gssapi.raw.misc.GSSError:
        return ""
    return base64.b64encode(token or b"").decode()
