"""Rolls: a roll of machines from every config-push that there is, brought into the roster."""

from collections.abc import Callable

import grpc.aio

from libs.protos.machines.v1.machines_pb2 import FollowRequest
from libs.protos.machines.v1.machines_pb2_grpc import MachinesStub
from services.discovery.machines.roster import Roster


class Rolls:
    """Brings what replicas say of their machines into a roster."""

    hears = "roll of machines"

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self.open = roster.open
        self.close = roster.close

    async def listen(
        self, replica: str, channel: grpc.aio.Channel, heard: Callable[[], None]
    ) -> None:
        """Follow the rolls of one replica."""
        self._roster.begin(replica)
        async for roll in MachinesStub(channel).Follow(FollowRequest()):
            heard()
            self._roster.take(replica, roll)
