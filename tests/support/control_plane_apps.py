"""CA, discovery and config-push in this process, over real ports, with a folder of manifests."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ec

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, jwk, keys, tokens
from libs.protos.receipts.v1 import receipts_pb2_grpc
from libs.rpc import ca_client, channel, tls
from libs.rpc.svid import Functions, Svid
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.ca import app as ca_app
from services.ca.settings import Settings as CaSettings
from services.config_push import app as push_app
from services.config_push.settings import Settings as PushSettings
from services.discovery import app as discovery_app
from services.discovery.settings import Settings as DiscoverySettings
from tests.support.ports import free_ports
from tests.support.push_plane import ConnectedProxy, node
from tests.support.xds_client import DeltaClient

SYSTEM = "istio-system"
NAME = f"seine-config-push.{SYSTEM}.svc"


class Apps:
    """A running control plane. `discovery` and `config_push` may be run again and again."""

    def __init__(self, folder: Path, ca: ca_app.Bound, issuer: ec.EllipticCurvePrivateKey) -> None:
        self.folder = folder
        self.config = folder / "config"
        self.issuer = issuer
        self.ca = ca
        (self._discovery_port,) = free_ports(1)
        self.push: push_app.Bound

    def token(self, account: str, namespace: str = "shop", *, name: str = "pod") -> str:
        identity = SpiffeId("cluster.local", namespace, account)
        pod = tokens.Bound(name, "uid")
        return tokens.mint(identity, pod=pod, key=self.issuer, now=SystemClock().now())

    def token_file(self, account: str, namespace: str = SYSTEM) -> Path:
        path = self.folder / f"{account}.{namespace}.token"
        path.write_text(self.token(account, namespace))
        return path

    @asynccontextmanager
    async def discovery(self, **more: object) -> AsyncIterator[discovery_app.Bound]:
        usual = {
            "config_dir": self.config,
            "ca_address": f"127.0.0.1:{self.ca.token}",
            "ca_root_file": self.folder / "root.pem",
            "token_file": self.token_file("seine-discovery"),
        }
        settings = DiscoverySettings(
            port=self._discovery_port,
            monitoring_port=0,
            **(usual | more),  # type: ignore[arg-type]
        )
        async with discovery_app.running(settings) as bound:
            yield bound

    @asynccontextmanager
    async def config_push(self, **more: object) -> AsyncIterator[None]:
        ca = {
            "ca_address": f"127.0.0.1:{self.ca.token}",
            "ca_mtls_address": f"127.0.0.1:{self.ca.mtls}",
            "mtls_port": 0,
        }
        settings = PushSettings(
            xds_port=0,
            monitoring_port=0,
            discovery_address=f"127.0.0.1:{self._discovery_port}",
            ca_root_file=self.folder / "root.pem",
            token_file=self.token_file("seine-config-push"),
            token_keys_file=self.folder / "tokens.json",
            **(ca | more),  # type: ignore[arg-type]
        )
        async with push_app.running(settings) as bound:
            self.push = bound
            yield

    async def synced(self) -> None:
        """Wait until config-push is ready."""
        url = f"http://127.0.0.1:{self.push.monitoring}/ready"
        async with aiohttp.ClientSession() as session, asyncio.timeout(60):
            while True:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def proxy(
        self, authorization: Sequence[str], name: str = "client", *, roots: str = ""
    ) -> AsyncIterator[ConnectedProxy]:
        """Connect a proxy to the token port, with these `authorization` headers.

        `roots` is what its agent says that it trusts.
        """
        credentials = tls.trusting((self.folder / "root.pem").read_bytes())
        address = f"127.0.0.1:{self.push.xds}"
        async with channel.connect(address, credentials=credentials, server_name=NAME) as opened:
            metadata = [("authorization", one) for one in authorization]
            if roots:
                metadata.append(("seine-trusted-roots", roots))
            async with _connected(opened, metadata, name) as proxy:
                yield proxy

    @asynccontextmanager
    async def with_certificate(
        self, account: str, namespace: str
    ) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to the mTLS port with the certificate of an account."""
        address = f"127.0.0.1:{self.push.mtls}"
        async with self.opened(address, NAME, account, namespace) as opened:
            yield opened

    @asynccontextmanager
    async def to_discovery(self, account: str, namespace: str) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to discovery with the certificate of an account."""
        address, name = f"127.0.0.1:{self._discovery_port}", f"seine-discovery.{SYSTEM}.svc"
        async with self.opened(address, name, account, namespace) as opened:
            yield opened

    @asynccontextmanager
    async def opened(
        self, address: str, name: str, account: str, namespace: str
    ) -> AsyncIterator[grpc.aio.Channel]:
        """Open a channel to whatever is called `name`, with the certificate of an account."""
        ca = ca_client.CaAddress(
            f"127.0.0.1:{self.ca.token}",
            self.folder / "root.pem",
            self.token_file(account, namespace),
        )
        svid = Svid(Functions(csr.make_with_key, bundle.validity, partial(ca_client.sign, ca)))
        async with background(svid.run()):
            await svid.ready()
            async with channel.connect(
                address, credentials=svid.channel_credentials(), server_name=name
            ) as opened:
                yield opened

    @asynccontextmanager
    async def proxy_with_certificate(
        self, account: str, namespace: str, name: str = "client"
    ) -> AsyncIterator[ConnectedProxy]:
        async with (
            self.with_certificate(account, namespace) as opened,
            _connected(opened, [], name) as proxy,
        ):
            yield proxy

    @asynccontextmanager
    async def receipts(
        self, account: str, namespace: str = SYSTEM
    ) -> AsyncIterator[receipts_pb2_grpc.ReceiptsStub]:
        async with self.with_certificate(account, namespace) as opened:
            yield receipts_pb2_grpc.ReceiptsStub(opened)


@asynccontextmanager
async def _connected(
    opened: grpc.aio.Channel, metadata: list[tuple[str, str]], name: str
) -> AsyncIterator[ConnectedProxy]:
    client = DeltaClient(node(name), follow_clusters=True)
    proxy = ConnectedProxy(client, opened, metadata=metadata)
    try:
        yield proxy
    finally:
        proxy.call.cancel()


@asynccontextmanager
async def running_apps(folder: Path) -> AsyncIterator[Apps]:
    """Run a CA; the other two are started by the test."""
    issuer = keys.generate()
    (folder / "tokens.json").write_bytes(jwk.document(issuer.public_key()))
    (folder / "config").mkdir()
    settings = CaSettings(
        port=0,
        mtls_port=0,
        monitoring_port=0,
        ca_dir=folder / "ca",
        root_file=folder / "root.pem",
        token_keys_file=folder / "tokens.json",
    )
    async with ca_app.running(settings) as bound:
        yield Apps(folder, bound, issuer)
