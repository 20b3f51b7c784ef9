"""Health: whether the processes of the run are ready, asked over HTTP until they are."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import aiohttp
import msgspec

from libs.runtime.clock import Clock
from libs.runtime.tasks import Group

START_SECONDS = 60.0
_INTERVAL = 0.1
_SHOWN = 300
_TIMEOUT = aiohttp.ClientTimeout(total=2)
_LISTEN = "0A"  # a state in the kernel's table


class NotReadyError(Exception):
    """A process did not become ready in time; the message has its last answer."""


async def ready(name: str, url: str, clock: Clock, *, seconds: float = START_SECONDS) -> None:
    """Return once `url` answers 200.

    Raises:
        NotReadyError: it did not in time.

    """
    last = "no answer"
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        deadline = clock.monotonic() + seconds
        while clock.monotonic() < deadline:
            status, last = await _ask(session, url)
            if status == 200:
                return
            await clock.sleep(_INTERVAL)
    last = last[:_SHOWN].strip().replace("\n", ", ")
    message = f"{name} is not ready after {seconds:.0f} s: {last}"
    raise NotReadyError(message)


async def all_ready(urls: Iterable[tuple[str, str]], clock: Clock) -> None:
    """Return once all of `(name, url)` answer 200."""
    async with Group() as group:
        for name, url in urls:
            group.create_task(ready(name, url, clock))


async def connected(url: str, token: str, proxies: int, *, clock: Clock) -> None:
    """Return once config-push's list of connections counts at least `proxies`.

    Raises:
        NotReadyError: it did not in time.

    """
    headers = {"Authorization": f"Bearer {token}"}
    deadline = clock.monotonic() + START_SECONDS
    async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
        while clock.monotonic() < deadline:
            status, text = await _ask(session, url)
            if status == 200 and _count(text) >= proxies:
                return
            await clock.sleep(_INTERVAL)
    message = f"not all of {proxies} proxies came back to config-push"
    raise NotReadyError(message)


def _count(text: str) -> int:
    found = msgspec.json.decode(text, type=dict[str, object]).get("totalClients", 0)
    return found if isinstance(found, int) else 0


async def connectable(name: str, address: str, clock: Clock) -> None:
    """Return once something accepts connections at `host:port`.

    Raises:
        NotReadyError: nothing did in time.

    """
    host, _, port = address.rpartition(":")
    deadline = clock.monotonic() + START_SECONDS
    while clock.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await clock.sleep(_INTERVAL)
            continue
        writer.close()
        return
    message = f"{name} does not accept connections at {address}"
    raise NotReadyError(message)


async def listening(
    name: str,
    pid: Callable[[], int],
    address: IPv4Address | None,
    *,
    ports: Sequence[int],
    clock: Clock,
) -> None:
    """Return once a process listens on all `ports`, at `address` or at any.

    The kernel's table of the process's network namespace is read; nobody is connected to, because
    with interception that would only reach a proxy.

    Raises:
        NotReadyError: it did not in time.

    """
    deadline = clock.monotonic() + START_SECONDS
    while clock.monotonic() < deadline:
        found = _sockets(pid())
        if all(any(_is(socket, address, port) for socket in found) for port in ports):
            return
        await clock.sleep(_INTERVAL)
    message = f"{name} does not listen on {', '.join(map(str, ports))}"
    raise NotReadyError(message)


def _sockets(pid: int) -> set[tuple[int, int]]:
    """Return the addresses (as this machine orders their bytes) and ports that are listened on."""
    found: set[tuple[int, int]] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        rows = (line.split() for line in lines)
        for address, port in (row[1].split(":") for row in rows if row[3] == _LISTEN):
            # Of an IPv6 socket the last word counts: any address, or an IPv4 one mapped into it.
            found.add((int(address[-8:], 16), int(port, 16)))
    return found


def _is(socket: tuple[int, int], address: IPv4Address | None, port: int) -> bool:
    wanted = 0 if address is None else int.from_bytes(address.packed, sys.byteorder)
    return socket == (wanted, port)


async def _ask(session: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    try:
        async with session.get(url) as response:
            return response.status, await response.text()
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return 0, str(error) or type(error).__name__
