"""Certificates of users on their way: discovery's book, config-push's desk, ADS: real gRPC."""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from envoy.config.core.v3 import base_pb2
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as EnvoySecret
from envoy.service.discovery.v3 import discovery_pb2

from libs.api.resource import Metadata, Resource
from libs.api.secret import Secret
from libs.model.gateway import Server, ServerTls, ServerTlsMode
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.service import Protocol
from libs.protos.credentials.v1 import credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import Credential, Wanted
from libs.rpc import channel, server
from libs.rpc.server import Port
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from libs.xds.types import LISTENER, SECRET
from services.config_push.credentials import CredentialDesk
from services.discovery.credentials import CredentialBook, CredentialService, May, everybody
from tests.support import mesh
from tests.support.push_plane import ConnectedProxy, RunningPlane, identity, running_plane
from tests.support.xds_client import DeltaClient

KEYS = {"shop": b"KEY OF SHOP", "other": b"KEY OF OTHER"}


def secret(namespace: str, name: str = "web", key: bytes = b"") -> Secret:
    data = {"tls.crt": b"CERTIFICATE", "tls.key": key or KEYS[namespace], "ca.crt": b"ROOTS"}
    return Secret(
        metadata=Metadata(name=name, namespace=namespace),
        data={key: b64encode(value).decode() for key, value in data.items()},
    )


def secrets(*found: Secret) -> Mapping[Ref, Resource]:
    return {one.ref: one for one in found}


def https(number: int, name: str) -> Server:
    tls = ServerTls(mode=ServerTlsMode.SIMPLE, credentials=(name,))
    return mesh.server(number, Protocol.HTTPS, tls=tls)


def world(*names: str) -> Mesh:
    """Return a mesh whose gateway, for every router, names all of `names`."""
    servers = (https(8000 + index, name) for index, name in enumerate(names))
    return mesh.mesh(mesh.gateway("public", *servers))


class Running:
    """config-push behind ADS, and the book that it asks."""

    def __init__(self, plane: RunningPlane, book: CredentialBook) -> None:
        self.plane = plane
        self.book = book

    @asynccontextmanager
    async def asking(
        self, *names: str, namespace: str = "shop", kind: str = "router", account: str = "default"
    ) -> AsyncIterator[ConnectedProxy]:
        """Connect a proxy that has its listeners and asks for `names`."""
        node = base_pb2.Node(id=f"{kind}~10.244.0.9~gw.{namespace}~{namespace}.svc.cluster.local")
        client = DeltaClient(node)
        client.keep_bodies = True
        async with self.plane.stream(client, identity(namespace, account)) as proxy:
            await proxy.send(client.subscribe(LISTENER))
            await proxy.until(lambda now: LISTENER in now.versions)
            await proxy.send(client.subscribe(SECRET, names))
            yield proxy


async def answer(proxy: ConnectedProxy) -> discovery_pb2.DeltaDiscoveryResponse:
    """Return the next response about credentials."""
    while True:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await proxy.receive())
        if response.type_url == SECRET:
            return response


def key_of(proxy: ConnectedProxy, name: str) -> bytes:
    body = proxy.client.bodies[SECRET][name]
    return EnvoySecret.FromString(body).tls_certificate.private_key.inline_bytes


@asynccontextmanager
async def running_desk(folder: Path, may: May = everybody) -> AsyncIterator[Running]:
    """Run it all while the block runs; the book is empty and not published yet."""
    book = CredentialBook()
    clock = SystemClock()
    service = CredentialService(book, may, clock=clock)
    register = partial(credentials_pb2_grpc.add_CredentialsServicer_to_server, service)
    address = f"unix:{folder}/discovery.sock"

    async def follow(wanted: AsyncIterator[Wanted]) -> AsyncIterator[Credential]:
        async with channel.connect(address, credentials=None) as opened:
            async for credential in credentials_pb2_grpc.CredentialsStub(opened).Follow(wanted):
                yield credential

    desk = CredentialDesk(follow, clock=clock)
    async with (
        server.running([register], Port(address)),
        running_plane(folder) as found,
        background(desk.run()),
    ):
        found.plane.credentials = desk
        yield Running(found, book)
