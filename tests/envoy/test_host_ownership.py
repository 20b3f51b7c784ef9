"""Hijacking through a real Envoy: what another namespace says of a host, and who follows it.

A client of a third namespace calls a host of the victim's. The attacker's resources lead it to the
attacker's application: by default as in Istio, where hosts are strictly their owners' never.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec import Struct

from libs.model.settings import MeshSettings
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.translate.apply import Upsert, apply, initial
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import mesh, traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running
from tests.support.ports import free_ports
from tests.support.resources import resources

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTBOUND, VICTIM, ATTACKER = "127.69.0.1", "127.69.0.2", "127.69.0.3"
HOST, REQUESTS = "api.example.com", 20


class Client(Struct, frozen=True):
    """A client's Envoy, the port on which it is asked, and that of the applications."""

    envoy: Envoy
    http: int
    application: int

    async def hijacked(self, attack: str, host: str = HOST, *, strict: bool) -> int:
        """Return how many of `REQUESTS` requests the attacker's application gets."""
        await self.envoy.serve(self.snapshot(attack, strict=strict))
        assert await self.envoy.complaints() == []
        heard = [await traffic.http((OUTBOUND, self.http), headers={"host": host})]
        heard += [
            await traffic.http((OUTBOUND, self.http), headers={"host": host})
            for _ in range(REQUESTS - 1)
        ]
        return sum("x-stolen: yes" in answer.body for answer in heard)

    def snapshot(self, attack: str, *, strict: bool) -> Snapshot:
        """Return what the client gets with the attacker's resources."""
        text = "\n---\n".join([self.entry("victim", HOST, VICTIM), self.lair(), attack])
        events = [Upsert(resource, 1.0) for resource in resources(text)]
        state = apply(initial(MeshSettings(strict_hosts=strict)), events).state
        client = mesh.proxy(interception=Interception.NONE, outbound_address=OUTBOUND)
        return generate.snapshot(Scoper().scope(state.mesh, client))

    def entry(self, namespace: str, host: str, address: str) -> str:
        """Return a ServiceEntry of a namespace that says where a host is."""
        return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e, namespace: {namespace}, creationTimestamp: 1970-01-01T00:00:05Z}}
spec:
  hosts: ["{host}"]
  ports: [{{number: {self.http}, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: {address}, ports: {{http: {self.application}}}}}]
"""

    def lair(self) -> str:
        """Return the attacker's own service."""
        return self.entry("evil", "lair.example.com", ATTACKER)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    listen, application = free_ports(2)
    folder = tmp_path_factory.mktemp("envoy")
    empty = generate.snapshot(Scoper().scope(mesh.mesh(), mesh.proxy()))
    async with (
        traffic.application(VICTIM, application),
        traffic.application(ATTACKER, application),
        running(empty, TestAuthority().issue("client"), folder) as envoy,
    ):
        yield Client(envoy, listen, application)


def routing(host: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: theft, namespace: evil}}
spec:
  hosts: ["{host}"]
  http:
    - headers: {{request: {{set: {{x-stolen: "yes"}}}}}}
      route: [{{destination: {{host: lair.example.com}}}}]
"""


@pytest.mark.parametrize("host", [HOST, "*.example.com", "*"])
async def test_a_routing_of_anothers_host(client: Client, host: str) -> None:
    assert await client.hijacked(routing(host), strict=False) == REQUESTS  # as in Istio
    assert await client.hijacked(routing(host), strict=True) == 0


async def test_the_attackers_own_host_stays_reachable(client: Client) -> None:
    own = routing("lair.example.com")
    assert await client.hijacked(own, "lair.example.com", strict=True) == REQUESTS
