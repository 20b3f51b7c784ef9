"""R12: roots are rotated in a cluster while a real Envoy and its agent take mTLS connections.

The client and the workload renew their certificates all the time and trust what came with them. On
a busy machine a certificate of a few seconds may end before the next one is there: that is counted
by itself, and says nothing about roots.
"""

import asyncio
import contextlib
import re
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from libs.kube.client import Client
from libs.kube.errors import KubeError
from libs.pki import bundle, keys
from libs.rpc.tls import Material
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.ca.proof import Proof
from services.ca.secrets import OWN, ROTATE
from tests.support import agent as agents
from tests.support import kube_accounts as kube
from tests.support.agent import SYSTEM, Mesh
from tests.support.envoy_json import WORKLOAD_TLS, http_chain, snapshot
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SECRETS, ClusterCa, cluster_ca, own_roots, root_map, secret
from tests.support.kubeconfig import write_kubeconfig

CLOCK = SystemClock()
PORT = 9443
LIFE = 8
pytestmark = pytest.mark.timeout(600)
NOBODY = {"name": "none", "type": "STATIC", "load_assignment": {"cluster_name": "none"}}
"""The handshake counts, not the answer: there is no application."""
MERGE = "application/merge-patch+json"
_EXPIRED = re.compile("certificate has expired|CERTIFICATE_EXPIRED")
_SECONDS = 60


@pytest.fixture(name="server")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await kube.namespace(client, "shop")
        yield client


class KubeMesh(Mesh):
    """A mesh whose CA lives in a cluster and whose tokens are the cluster's."""

    def __init__(self, folder: Path, ca: ClusterCa, tokens: dict[str, str]) -> None:
        (folder / "token-key.pem").write_bytes(keys.to_pem(keys.generate()))
        super().__init__(folder, ca.bound.token, "127.0.0.1")
        self._tokens = tokens

    def token(self, account: str, namespace: str) -> str:
        return self._tokens[f"{namespace}/{account}"]


@asynccontextmanager
async def mesh(folder: Path, ca: ClusterCa, address: str) -> AsyncIterator[KubeMesh]:
    """Run an xDS server with a certificate of the CA, and keep the roots' file as kubelet would."""
    client = ca.client
    tokens = {
        f"{space}/{by}": await kube.pod_token(client, space, f"{by}-1", by=by)
        for space, by in (("shop", "web"), (SYSTEM, "seine-config-push"))
    }
    found = KubeMesh(folder, ca, tokens)

    async def kubelet() -> None:
        while True:
            with contextlib.suppress(KubeError):  # not there yet
                found.root_file.write_text(await root_map(client, "shop"))
                ca.roots = found.root_file.read_bytes()
            await CLOCK.sleep(0.5)

    chain = {**http_chain("none", {}), "transport_socket": WORKLOAD_TLS}
    listener = {
        "name": "inbound",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": address, "port_value": PORT}},
        "filter_chains": [chain],
    }
    found.root_file.write_bytes(ca.roots)
    svid = agents._server_svid(found)
    async with background(kubelet(), svid.run()):
        await found.certify(svid)
        found.plane.serve(snapshot([NOBODY], [listener]))
        await found.start_xds()
        try:
            yield found
        finally:
            await found.stop_xds()


class Caller:
    """Connects again and again, with a certificate that it renews all the time."""

    def __init__(self, ca: ClusterCa, folder: Path, address: str) -> None:
        self._ca = ca
        self._file = folder / "caller.pem"
        self._address = address
        self.handshakes: Counter[str] = Counter()
        self.expired = 0
        self._more = asyncio.Event()

    @property
    def bad(self) -> int:
        """Handshakes that failed for want of trust."""
        return self.handshakes.total() - self.handshakes[""]

    async def hears(self, good: int) -> None:
        """Wait until so many more handshakes have gone well."""
        wanted = self.handshakes[""] + good
        while self.handshakes[""] < wanted:
            self._more.clear()
            await self._more.wait()

    async def renew(self) -> None:
        while True:
            self._use(await self._ca.enrol("shop", "bob", "bob-1"))
            await CLOCK.sleep(1.5)

    def _use(self, material: Material) -> None:
        self._file.write_bytes(material.chain + material.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_cert_chain(self._file)
        context.load_verify_locations(cadata=material.roots.decode())
        self.context = context

    async def call(self) -> None:
        while True:
            why = await self._handshake()
            if _EXPIRED.search(why):
                self.expired += 1
            else:
                self.handshakes[why] += 1
            self._more.set()
            await CLOCK.sleep(0.02)

    async def _handshake(self) -> str:
        """Return why Envoy and the caller do not believe each other; empty if they do.

        Connections that are cut off or silent say nothing of trust, if the next one says more.
        """
        for _ in range(3):
            why = await self._attempt()
            if not why.startswith(("Connection", "Timeout")):
                break
        return why

    async def _attempt(self) -> str:
        try:
            reader, writer = await asyncio.open_connection(self._address, PORT, ssl=self.context)
            try:
                writer.write(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n")
                # With TLS 1.3 a server's refusal of a certificate comes after the handshake.
                async with asyncio.timeout(_SECONDS):
                    answered = await reader.read(100)
            finally:
                writer.close()
        except (ssl.SSLError, ConnectionError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"[:120]
        return "" if answered.startswith(b"HTTP/1.1") else "no answer"


async def signer(client: Client) -> str:
    return str((await secret(client))["data"]["ca-cert.pem"])


async def rotated(client: Client, word: str) -> None:
    """Ask for a rotation and wait until the new root signs."""
    before, signed = bundle.parse(await own_roots(client))[-1], await signer(client)
    body = {"metadata": {"annotations": {ROTATE: word}}}
    await client.request("PATCH", f"{SECRETS}/{OWN}", body=body, content_type=MERGE)
    while await signer(client) == signed:
        await CLOCK.sleep(0.1)
    assert bundle.parse(await own_roots(client))[-1] != before


@asynccontextmanager
async def calling(folder: Path, server: ApiServer, client: Client) -> AsyncIterator[Caller]:
    """Run it all, and yield a caller that calls."""
    config = str(write_kubeconfig(server, folder / "config"))
    address = agents.loopback()
    short = {"certificate_seconds": LIFE, "confirm_seconds": 1}
    async with (
        cluster_ca(folder, client, config, **short) as ca,
        mesh(folder, ca, address) as found,
        agents.agent(found, address=address, environ={"SECRET_TTL": f"{LIFE}s"}) as agent,
    ):
        await agent.ready()
        caller = Caller(ca, folder, address)
        caller._use(await ca.enrol("shop", "bob", "bob-1"))
        async with background(caller.renew(), caller.call()):
            await caller.hears(20)
            yield caller


async def test_no_handshake_fails_while_roots_are_rotated(
    tmp_path: Path, server: ApiServer, client: Client
) -> None:
    async with calling(tmp_path, server, client) as caller:
        for number in range(3):
            await rotated(client, str(number))
            await caller.hears(20)
        await CLOCK.sleep(LIFE)  # until all have certificates of the last root
        await caller.hears(20)
        found, bad = caller.handshakes, caller.bad
    sys.stdout.write(
        f"rotation: 3 new roots, {found.total()} handshakes, failures = {bad}; "
        f"besides {caller.expired} with certificates that had expired\n"
    )
    assert bad == 0, found


async def test_the_negative_control_a_root_that_signs_at_once(
    tmp_path: Path, server: ApiServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(*_: object, **__: object) -> bool:
        return True

    monkeypatch.setattr(Proof, "holds", at_once)
    async with calling(tmp_path, server, client) as caller:
        for number in count():
            await rotated(client, str(number))
            await caller.hears(20)
            if caller.bad:
                break
    total = caller.handshakes.total()
    sys.stdout.write(f"rotation without proof: {total} handshakes, failures = {caller.bad}\n")
