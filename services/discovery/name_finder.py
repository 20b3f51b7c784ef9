"""Name finder: the addresses of gateways of networks that have names, looked up regularly.

Load balancers of some clouds have names only, and load assignments hold addresses only. Each name
is looked up at once and then every half minute; while nobody answers, the last addresses stay. What
is found becomes events of `ResolvedName`, so the mesh changes like by any other resource.

At most `MAX_NAMES` are looked up; those beyond, in their order, are not, and are counted.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from libs.api.resolved_name import ResolvedName, resolved_name_ref
from libs.api.resource import Metadata
from libs.model.mesh import Mesh
from libs.runtime.clock import Clock
from libs.runtime.logs import words
from libs.translate.apply import Event, Remove, Upsert
from services.discovery import metrics
from services.discovery.wanted import Wanted

logger = logging.getLogger(__name__)

MAX_NAMES = 256
REFRESH_SECONDS = 30.0
TIMEOUT_SECONDS = 5.0
_AT_ONCE = 8

Look = Callable[[str], Awaitable[tuple[str, ...]]]
"""Returns the IP addresses of a name, in order: none if there is no such name.

Raises OSError if nobody answers, and TimeoutError.
"""


class NameFinder:
    """Looks up what the mesh names; `run` does the work."""

    def __init__(self, look: Look, clock: Clock, emit: Callable[[Event], None]) -> None:
        self._look = look
        self._clock = clock
        self._emit = emit
        self._wanted = Wanted(self._keep, self._forget)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def want(self, mesh: Mesh) -> None:
        """Look up what `mesh` names, and nothing else."""
        self._wanted.want(names(mesh))

    async def tried(self, seconds: float) -> None:
        """Return once every name was looked up, or after `seconds`."""
        if not await self._wanted.every_one(seconds):
            logger.warning("names of gateways are not looked up yet", extra={"waited": seconds})

    async def run(self) -> None:
        """Look up until cancelled."""
        await self._wanted.run()

    def _forget(self, name: str) -> None:
        self._emit(Remove(resolved_name_ref(name), self._clock.now()))

    async def _keep(self, name: str) -> None:
        said: tuple[tuple[str, ...], str] | None = None
        addresses: tuple[str, ...] = ()
        while True:
            addresses, fault = await self._found(name, addresses)
            if (addresses, fault) != said:
                said = (addresses, fault)
                made = ResolvedName(Metadata(name=name), addresses=addresses, fault=fault)
                self._emit(Upsert(made, self._clock.now()))
            self._wanted.tried(name)
            await self._clock.sleep(REFRESH_SECONDS)

    async def _found(self, name: str, before: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
        """Return the addresses of a name, and what is wrong if there are none."""
        try:
            async with self._slots:
                found = await self._look(name)
        except (OSError, TimeoutError) as error:
            metrics.NAME_LOOKUPS.labels("failure").inc()
            logger.warning("name not looked up", extra={"host": name, "reason": words(error)})
            return before, "" if before else f"{name[:100]!r} could not be looked up"
        metrics.NAME_LOOKUPS.labels("success").inc()
        return found, "" if found else f"{name[:100]!r} has no address"


def names(mesh: Mesh) -> frozenset[str]:
    """Return the names of gateways, in lower case."""
    found = {
        gateway.address.lower()
        for row in mesh.networks.values()
        for gateway in row.gateways
        if not _is_address(gateway.address)
    }
    metrics.NAMES_OVER.set(max(0, len(found) - MAX_NAMES))
    return frozenset(sorted(found)[:MAX_NAMES])


async def look_up(name: str) -> tuple[str, ...]:
    """Return the addresses of a name as the machine's resolver knows them.

    Raises:
        OSError: nobody answers.
        TimeoutError: or not in time.

    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in {socket.EAI_NONAME, socket.EAI_NODATA}:
            return ()
        raise
    return tuple(sorted({str(ip_address(address[0])) for *_, address in found}))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
