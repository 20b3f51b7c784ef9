"""Proxy: feed, names and server together, as the agent runs them."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.runtime.clock import Clock
from services.agent.dns import names, resolv_conf, server
from services.agent.dns.names import Names
from services.agent.dns.resolv_conf import Resolv
from services.agent.dns.server import Answers
from services.agent.dns.upstream import Upstream

_LOCALHOST = ["127.0.0.1", "::1"]  # where redirected queries of either family arrive
_PORT = 53


class DnsProxy:
    """Answers queries by the newest table."""

    def __init__(self, resolv: Resolv, *, domain: str, clock: Clock) -> None:
        self._resolv = resolv
        self._domain = domain
        self._clock = clock
        self._names: Names | None = None

    @property
    def ready(self) -> bool:
        """Whether there has been a table."""
        return self._names is not None

    def use(self, table: NameTable) -> None:
        """Answer by `table` from now on."""
        self._names = names.build(table, domain=self._domain, search=self._resolv.search)

    def page(self) -> bytes:
        """Return all names with their addresses, as JSON."""
        found = self._names.hosts if self._names else {}
        rows = {name: [*host.ipv4, *host.ipv6] for name, host in sorted(found.items())}
        return json.dumps(rows, indent=1).encode()

    @asynccontextmanager
    async def serve(self, address: str) -> AsyncIterator[int]:
        """Serve on `host:port` until the block ends; yields the port."""
        host, _, port = address.rpartition(":")
        own = _LOCALHOST if host == "localhost" else [host.strip("[]")]
        servers = [
            (server, _PORT)
            for server in self._resolv.servers
            if server not in own or int(port) != _PORT
        ]
        answers = Answers(self._current, Upstream(servers, clock=self._clock))
        async with server.serve(own, int(port), answers) as bound:
            yield bound

    def _current(self) -> Names | None:
        return self._names


def system_resolv(path: Path, read: Callable[[Path], str] = Path.read_text) -> Resolv:
    """Return what the machine's resolv.conf says; nothing if there is none."""
    try:
        return resolv_conf.parse(read(path))
    except OSError:
        return Resolv()
