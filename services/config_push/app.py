"""Wiring of config-push: own certificate, replica, push loop, two ADS ports, debug pages, cache."""

import asyncio
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from msgspec import Struct

from libs.cache.cache import OPERATION_SECONDS, Cache
from libs.cache.redis_backend import RedisBackend
from libs.cache.warm import WarmMesh
from libs.kube import access
from libs.kube.client import Client
from libs.kube.errors import UnreachableError
from libs.kube.tokens import Reviewer
from libs.model import wire
from libs.model.ids import Ref, SpiffeId
from libs.model.mesh import Mesh
from libs.pki import bundle, csr, files, verify
from libs.pki.errors import PkiError
from libs.pki.seal import CacheSealer
from libs.protos.credentials.v1 import credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import Credential, Wanted
from libs.protos.feed.v1 import feed_pb2_grpc
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, SubscribeRequest
from libs.protos.receipts.v1.receipts_pb2 import Standing
from libs.rpc import ca_client, channel, interceptors, server
from libs.rpc.health import Health
from libs.rpc.kept import Handling, Kept
from libs.rpc.limits import Limits as ServerLimits
from libs.rpc.server import Port
from libs.rpc.svid import Functions, Svid
from libs.runtime import collector, http
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.probes import Readiness
from libs.runtime.tasks import background
from libs.xds.generate import GENERATORS
from services.config_push import authn, machines, metrics, stored, trust
from services.config_push.ads import AdsService, StreamLimits
from services.config_push.authn import Authenticate, Prove, TokenKeys, TokenRules
from services.config_push.credentials import CredentialDesk
from services.config_push.debug import DebugPages, Readers
from services.config_push.findings_service import METHODS as FINDINGS
from services.config_push.findings_service import READER, FindingsService
from services.config_push.guard import Guarded
from services.config_push.machines import MachinesService
from services.config_push.passing import Line, Passing
from services.config_push.plane import Plane
from services.config_push.push import ThreadWorker
from services.config_push.receipts_service import METHODS, ReceiptsService
from services.config_push.replica import Replica
from services.config_push.settings import Settings
from services.config_push.shared import SharedSets
from services.config_push.standing import Concerns, standing
from services.config_push.trust import TrustService

SUBSCRIBER = "config-push"
CA_MTLS_PORT = 15013
CA_ACCOUNT = "seine-ca"


class Bound(Struct, frozen=True):
    """The ports on which a running config-push listens."""

    xds: int
    mtls: int
    monitoring: int


async def serve(settings: Settings) -> None:
    """Run config-push until cancelled."""
    async with running(settings):
        await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Bound]:
    """Run config-push while the block runs."""
    parts = _Parts(settings, clock or SystemClock())
    async with AsyncExitStack() as stack:
        stack.push_async_callback(parts.close)
        monitoring = await stack.enter_async_context(
            http.serve(
                settings.listen_address,
                settings.monitoring_port,
                parts.pages.routes(),
                readiness=parts.readiness,
                component="pilot",
            )
        )
        plane = parts.plane
        own_work = (parts.svid.run(), parts.line.run(), plane.pusher.run(), plane.findings.run())
        await stack.enter_async_context(background(*own_work))
        await parts.svid.ready()
        parts.believe(await stack.enter_async_context(_kubernetes(settings)))
        parts.readiness.set("certificate")
        xds = await stack.enter_async_context(_token_port(parts))
        mtls = await stack.enter_async_context(_mutual_port(parts))
        await stack.enter_async_context(
            background(parts.replica.run(), parts.desk.run(), *parts.cache_work())
        )
        yield Bound(xds=xds, mtls=mtls, monitoring=monitoring)


class _Parts:
    """The parts of the process, wired and not yet running."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.readiness = Readiness("certificate", "mesh")
        self._settled = False
        self.trust_domain = settings.trust_domain
        self._prove: Prove = _not_yet
        self._rules = _token_rules(settings)
        self._worker = ThreadWorker()
        self._concerns = Concerns()
        self._cache = _cache(settings, clock)
        self._shared = SharedSets(self._cache, stored.form()) if self._cache else None
        self._warm = WarmMesh(self._cache, clock=clock, owner=SUBSCRIBER) if self._cache else None
        self.plane = Plane(
            GENERATORS,
            clock=clock,
            worker=self._worker,
            history=settings.receipt_history,
            shared=self._shared,
        )
        self.plane.on_mesh(self._served)
        self.svid = _own_certificate(settings, clock)
        self.line = Line(self.svid, _passing_address(settings), _ca_name(settings))
        self.passing = Passing(self.line.ask, at_once=settings.passing)
        self.desk = CredentialDesk(partial(_credentials, settings, self.svid), clock=clock)
        self.plane.credentials = self.desk
        self.replica = Replica(
            partial(_subscribe, settings, self.svid),
            self.plane.change,
            clock=clock,
            fallback=self._warm.load if self._warm else None,
        )
        self.pages = DebugPages(
            self.plane.connections,
            self.plane.pusher,
            book=self.plane.book,
            readers=Readers(self.prove, settings.system_namespace),
        )

    def ads(self, authenticate: Authenticate) -> AdsService:
        """Return ADS for one way of authentication."""
        limits = StreamLimits(
            streams=self.settings.max_streams,
            first_request=self.settings.first_request_seconds,
            stall=self.settings.stall_seconds,
            warming=self.settings.warming_seconds,
        )
        return AdsService(
            self.plane, authenticate, limits=limits, clock=self.clock, pages=self.pages
        )

    def cache_work(self) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside everything else if there is a cache."""
        return [part.run() for part in (self._shared, self._warm) if part is not None]

    async def close(self) -> None:
        """Let go of the worker and of the cache."""
        self._worker.close()
        if self._cache:
            await self._cache.close()

    def _served(self, mesh: Mesh) -> None:
        if not self._settled:
            self._settled = True
            collector.settle()
        self.readiness.set("mesh")
        if self._warm and self.replica.connected:
            self._warm.keep(mesh)

    def believe(self, client: Client | None) -> None:
        """Find out whom to believe, once there is a certificate: keys at hand or the API server."""
        leaf = bundle.parse(self.svid.material.chain)[0]
        self.trust_domain = self.settings.trust_domain or verify.identity_of(leaf).trust_domain
        if client is not None:
            reviewer = Reviewer(
                client,
                clock=self.clock,
                audience=self.settings.token_audience,
                for_machines=self.plane.for_machines,
            )
            self._prove = authn.by_review(reviewer, trust_domain=self.trust_domain)
        elif self._rules is not None:
            self._prove = authn.by_keys(
                self._rules, trust_domain=self.trust_domain, clock=self.clock
            )

    def stands(self, refs: Collection[Ref]) -> Standing:
        """Return how the proxies stand; see `standing.Stand`."""
        found = standing(self.plane.connections, self.replica.taken_over)
        if refs:
            found.resources.extend(self._concerns.standings(self.plane.connections, refs))
        return found

    async def prove(self, token: str) -> SpiffeId:
        """Return whom a token proves; see `authn.Prove`."""
        return await self._prove(token)


def _cache(settings: Settings, clock: Clock) -> Cache | None:
    if not settings.redis_url or settings.cache_key_file is None:
        return None
    return Cache(
        RedisBackend(settings.redis_url, timeout=OPERATION_SECONDS),
        CacheSealer(settings.cache_key_file.read_bytes()),
        observe=lambda outcome: metrics.CACHE.labels(outcome=outcome.value).inc(),
        clock=clock,
    )


async def _not_yet(token: str) -> SpiffeId:
    del token
    raise UnreachableError("this service has no certificate yet")


def _token_rules(settings: Settings) -> TokenRules | None:
    if settings.token_keys_file is None:
        return None
    keys = TokenKeys(settings.token_keys_file)
    return TokenRules(keys, settings.token_issuer, settings.token_audience)


@asynccontextmanager
async def _kubernetes(settings: Settings) -> AsyncIterator[Client | None]:
    """Ask the API server about tokens, unless there are keys to verify them with."""
    if settings.token_keys_file is not None:
        yield None
        return
    async with Client(access.load(settings.kubeconfig)) as client:
        yield client


def _ca_name(settings: Settings) -> str:
    return settings.ca_server_name or f"seine-ca.{settings.system_namespace}.svc"


def _passing_address(settings: Settings) -> str:
    if settings.ca_mtls_address:
        return settings.ca_mtls_address
    return f"{settings.ca_address.rpartition(':')[0]}:{CA_MTLS_PORT}"


def _own_certificate(settings: Settings, clock: Clock) -> Svid:
    ca = ca_client.CaAddress(
        settings.ca_address, settings.ca_root_file, settings.token_file, _ca_name(settings)
    )
    functions = Functions(
        make_request=csr.make_with_key,
        validity=bundle.validity,
        sign=partial(ca_client.sign, ca),
        kept=Kept.within(
            settings.certificate_dir,
            Handling(files.write_private, verify.holding(clock.now), PkiError),
        ),
    )
    return Svid(functions, clock=clock)


async def _subscribe(settings: Settings, svid: Svid) -> AsyncIterator[MeshUpdate]:
    """Follow discovery, over a connection of its own with the certificate of this moment."""
    name = settings.discovery_server_name or f"seine-discovery.{settings.system_namespace}.svc"
    async with channel.connect(
        settings.discovery_address, credentials=svid.channel_credentials(), server_name=name
    ) as open_channel:
        feed = feed_pb2_grpc.MeshFeedStub(open_channel)
        request = SubscribeRequest(subscriber=SUBSCRIBER, schema=wire.SCHEMA)
        async for update in feed.Subscribe(request):
            yield update


async def _credentials(
    settings: Settings, svid: Svid, wanted: AsyncIterator[Wanted]
) -> AsyncIterator[Credential]:
    """Ask discovery for users' certificates, over a connection of its own."""
    name = settings.discovery_server_name or f"seine-discovery.{settings.system_namespace}.svc"
    async with channel.connect(
        settings.discovery_address, credentials=svid.channel_credentials(), server_name=name
    ) as open_channel:
        stub = credentials_pb2_grpc.CredentialsStub(open_channel)
        async for credential in stub.Follow(wanted):
            yield credential


@asynccontextmanager
async def _token_port(parts: _Parts) -> AsyncIterator[int]:
    """Serve proxies that have a token."""
    ads = parts.ads(authn.by_token(parts.prove))
    settings = parts.settings
    port = Port(
        f"{settings.listen_address}:{settings.xds_port}",
        parts.svid.server_credentials(mutual=False),
    )
    services = [ads.register, parts.passing.by_token()]
    async with server.running(services, port, limits=_limits(settings)) as number:
        yield number


@asynccontextmanager
async def _mutual_port(parts: _Parts) -> AsyncIterator[int]:
    """Serve proxies that have a certificate, and receipts to our own services."""
    settings = parts.settings
    authenticate = authn.by_certificate(trust_domain=parts.trust_domain)
    ads = parts.ads(authenticate)
    health = Health()
    receipts = ReceiptsService(parts.plane.book, parts.stands)
    allow = interceptors.allow(
        {
            **dict.fromkeys(METHODS, settings.receipt_readers),
            **dict.fromkeys(FINDINGS, READER),
            **dict.fromkeys(trust.METHODS, (CA_ACCOUNT,)),
            **dict.fromkeys(machines.METHODS, machines.READERS),
        },
        trust_domain=parts.trust_domain,
        namespace=settings.system_namespace,
    )
    port = Port(
        f"{settings.listen_address}:{settings.mtls_port}",
        parts.svid.server_credentials(mutual=True),
    )
    async with server.running(
        [
            ads.register,
            parts.passing.by_certificate(authenticate),
            receipts.register,
            FindingsService(parts.plane.findings).register,
            TrustService(parts.plane.connections).register,
            MachinesService(parts.plane.machines).register,
            health.register,
        ],
        port,
        interceptors=[Guarded(allow)],
        limits=_limits(settings),
    ) as number:
        await health.set(serving=True)
        yield number


def _limits(settings: Settings) -> ServerLimits:
    return ServerLimits(
        message_bytes=settings.max_request_bytes, age_seconds=settings.max_connection_seconds
    )
