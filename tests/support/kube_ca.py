"""The real CA in a real cluster's API server: Secrets, TokenReview, ConfigMaps, a Lease."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc.aio

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import bundle, csr
from libs.rpc import channel, tls
from libs.runtime.clock import Clock, SystemClock
from services.ca import app
from services.ca.root_maps import KEY, NAME
from services.ca.secrets import IN_USE, OWN, PLUGGED_IN, ROTATE
from services.ca.settings import Settings
from tests.support import kube_accounts as kube
from tests.support.pki_ca import CA_NAME, Answer, Metadata, ask, bearer

SYSTEM = "istio-system"
_SECONDS = 60
_CLOCK = SystemClock()
_MERGE = "application/merge-patch+json"
_LATER = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
SECRETS = f"/api/v1/namespaces/{SYSTEM}/secrets"
RESOLV = f"search {SYSTEM}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.0.0.1\n"


def settings(folder: Path, kubeconfig: str, **changes: Any) -> Settings:  # noqa: ANN401
    """Return settings of a CA on free ports."""
    resolv = folder / "resolv.conf"
    resolv.write_text(RESOLV)
    own: dict[str, Any] = {
        "port": 0,
        "mtls_port": 0,
        "monitoring_port": 0,
        "kubeconfig": kubeconfig,
        "resolv_conf": resolv,
    }
    return Settings(**(own | changes))


class ClusterCa:
    """A running CA and what a test asks of it."""

    def __init__(self, bound: app.Bound, client: Client, roots: bytes) -> None:
        self.bound = bound
        self.client = client
        self.roots = roots
        self._stack = AsyncExitStack()

    async def connect(self, material: tls.Material | None = None) -> grpc.aio.Channel:
        """Return a channel to the token port, or with a certificate to the mTLS port."""
        credentials = (
            tls.Keychain(material).channel_credentials() if material else tls.trusting(self.roots)
        )
        port = self.bound.mtls if material else self.bound.token
        return await self._stack.enter_async_context(
            channel.connect(f"127.0.0.1:{port}", credentials=credentials, server_name=CA_NAME)
        )

    async def ask(
        self,
        metadata: Metadata,
        *,
        request: bytes = b"",
        over: grpc.aio.Channel | None = None,
        lifetime: int = 0,
        wishes: dict[str, Any] | None = None,
    ) -> Answer:
        """Ask for a certificate."""
        own = over or await self.connect()
        request = request or csr.make_with_key()[1]
        return await ask(own, request, metadata, lifetime=lifetime, wishes=wishes)

    async def enrol(self, namespace: str, account: str, pod: str) -> tls.Material:
        """Return the certificate that a pod gets for its token."""
        token = await kube.pod_token(self.client, namespace, pod, by=account)
        key, request = csr.make_with_key()
        async with asyncio.timeout(_SECONDS):
            while True:
                answer = await self.ask(bearer(token), request=request)
                if answer.code not in _LATER:  # it signs only with what it saw confirmed lately
                    break
                await asyncio.sleep(0.1)
        assert answer.code == "OK", answer
        *chain, roots = (pem.encode() for pem in answer.chain)
        return tls.Material(key, b"".join(chain), roots, *bundle.validity(chain[0]))

    async def close(self) -> None:
        await self._stack.aclose()


async def secret(client: Client, name: str = OWN) -> Any:  # noqa: ANN401  # JSON
    return await client.get(f"{SECRETS}/{name}")


async def own_roots(client: Client) -> bytes:
    """Return the bundle in the CA's own Secret."""
    return base64.b64decode((await secret(client))["data"]["root-cert.pem"])


async def root_map(client: Client, namespace: str) -> str:
    found = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{NAME}")
    return str(found["data"][KEY])


@asynccontextmanager
async def cluster_ca(
    folder: Path,
    client: Client,
    kubeconfig: str,
    *,
    clock: Clock | None = None,
    roots: bytes = b"",
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[ClusterCa]:
    """Run a CA while the block runs."""
    await kube.namespace(client, SYSTEM)
    own = settings(folder, kubeconfig, **changes)
    async with app.running(own, clock=clock) as bound:
        ca = ClusterCa(bound, client, roots or await own_roots(client))
        try:
            yield ca
        finally:
            await ca.close()


async def fresh(client: Client) -> None:
    """Let nothing of another CA be left: its Secrets, and who led."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"
    for path in (
        *(f"{SECRETS}/{name}" for name in (OWN, PLUGGED_IN, IN_USE)),
        f"{leases}/seine-ca",
    ):
        with suppress(NotFoundError):
            await client.request("DELETE", path)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 90) -> float:
    """Return after how many seconds it holds."""
    started = _CLOCK.monotonic()
    async with asyncio.timeout(seconds):
        while not await holds():
            await _CLOCK.sleep(0.02)  # an API server is asked: nothing would tell
    return _CLOCK.monotonic() - started


async def has_roots(client: Client, namespace: str, roots: bytes) -> bool:
    try:
        return await root_map(client, namespace) == roots.decode()
    except (NotFoundError, KeyError):
        return False


async def rotate(client: Client, word: str) -> None:
    body = {"metadata": {"annotations": {ROTATE: word}}}
    await client.request("PATCH", f"{SECRETS}/{OWN}", body=body, content_type=_MERGE)


async def generation_is(client: Client, number: int) -> bool:
    record = base64.b64decode((await secret(client))["data"]["rotation.json"])
    return f'"generation":{number},'.encode() in record


async def is_there(client: Client, name: str) -> bool:
    try:
        await secret(client, name)
    except NotFoundError:
        return False
    return True


async def plug_in(client: Client, content: dict[str, bytes], method: str) -> None:
    data = {name: base64.b64encode(value).decode() for name, value in content.items()}
    body = {"metadata": {"name": PLUGGED_IN}, "data": data}
    path = SECRETS if method == "POST" else f"{SECRETS}/{PLUGGED_IN}"
    await client.request(method, path, body=body)
