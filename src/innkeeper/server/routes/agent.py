"""Routes of the guest's task agent as a file, for guests that cannot be prepared through qemu-guest-agent."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.guest.prepare import agent_bundle, cloud_init_user_data
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/agent", tags=["agent"])


@router.get("", operation_id="get_agent", dependencies=needs(Role.VIEWER, what_they_see))
async def get_agent() -> wire.AgentFilesMessage:
    """The agent as one file, and as a cloud-config."""
    bundle = await asyncio.to_thread(agent_bundle)
    return wire.AgentFilesMessage(bundle=bundle, cloud_init=await asyncio.to_thread(cloud_init_user_data))
