"""Wiring of discovery: source, ingest, feed, own certificate and ports."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import grpc.aio
from msgspec import Struct

from libs.api import mesh_layers
from libs.api.problem import Problem
from libs.cache.cache import OPERATION_SECONDS, Cache
from libs.cache.redis_backend import RedisBackend
from libs.kube.access_review import AccessReviewer
from libs.kube.client import Client
from libs.kube.domain import DEFAULT, cluster_domain
from libs.kube.tokens import Reviewer
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.pki import bundle, csr, files, verify
from libs.pki.errors import PkiError
from libs.pki.seal import CacheSealer
from libs.protos.credentials.v1 import credentials_pb2_grpc
from libs.protos.feed.v1 import feed_pb2_grpc
from libs.rpc import ca_client, channel, interceptors, server
from libs.rpc.health import Health
from libs.rpc.kept import Handling, Kept
from libs.rpc.server import Port
from libs.rpc.svid import Functions, Svid
from libs.runtime import http
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.probes import Readiness
from libs.runtime.tasks import Group, background
from libs.translate.apply import Step
from services.discovery import debug, metrics, outgoing, sources
from services.discovery.analyst import Analyst
from services.discovery.audience import Audience
from services.discovery.credentials import (
    CredentialBook,
    CredentialService,
    May,
    by_review,
    everybody,
)
from services.discovery.earlier import EarlierLife
from services.discovery.feed import Feed
from services.discovery.files import Batch
from services.discovery.findings import Findings
from services.discovery.ingest import Ingest
from services.discovery.key_fetcher import Get, KeyFetcher
from services.discovery.machines.wiring import registration
from services.discovery.name_finder import NameFinder, look_up
from services.discovery.numbering import Numbering
from services.discovery.outgoing import Reach
from services.discovery.problems import Problems
from services.discovery.replicas import Connect, addresses
from services.discovery.servicer import MeshFeed
from services.discovery.settings import Settings
from services.discovery.sources import Opened, Source, Work
from services.discovery.status.wiring import Statuses

SUBSCRIBERS = frozenset({"seine-config-push", "seine-webhook", "seine-console", "seine-ctl"})
ALLOWED: Mapping[str, frozenset[str]] = {
    "/seine.credentials.v1.Credentials/Follow": frozenset({"seine-config-push"}),
    "/seine.feed.v1.MeshFeed/Analyze": frozenset({"seine-console", "seine-ctl"}),
    "/seine.feed.v1.MeshFeed/DryRun": frozenset({"seine-console", "seine-ctl", "seine-webhook"}),
    "/seine.feed.v1.MeshFeed/Subscribe": SUBSCRIBERS,
    "/seine.feed.v1.MeshFeed/WatchProblems": SUBSCRIBERS | {"seine-local"},
}

ANSWER_SECONDS = 5.0
"""How long the first mesh waits for the keys of issuers, and the addresses of names."""


class Bound(Struct, frozen=True):
    """The ports on which a running discovery listens."""

    feed: int
    monitoring: int


async def serve(settings: Settings) -> None:
    """Run discovery until cancelled."""
    async with running(settings):
        await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Bound]:
    """Run discovery while the block runs; the source is read before the first subscriber comes."""
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(sources.opened(settings, clock))
        reach = Reach(settings.keys_from_loopback, settings.keys_from_private)
        out = await stack.enter_async_context(outgoing.opened(reach))
        parts = _Parts(settings, opened, clock, get=out.get)
        monitoring = await stack.enter_async_context(
            http.serve(
                settings.listen_address,
                settings.monitoring_port,
                parts.pages,
                readiness=parts.waiting,
                component="discovery",
            )
        )
        await stack.enter_async_context(background(*parts.work()))
        await parts.svid.ready()
        parts.readiness.set("certificate")
        number = await stack.enter_async_context(_serving(parts))
        yield Bound(feed=number, monitoring=monitoring)


class _Parts:
    """The parts of the process, wired and not yet running."""

    def __init__(self, settings: Settings, opened: Opened, clock: Clock, *, get: Get) -> None:
        self.settings = settings
        self.clock = clock
        self.opened = opened
        self.readiness = Readiness("configuration", "certificate")
        self.svid = _own_certificate(settings, clock)
        self.credentials = CredentialBook()
        self._feed, self._problems = Feed(), Problems()
        self._earlier = _earlier_life(settings, clock)
        connect = _to_config_push(settings, self.svid)
        where = partial(_config_pushes, settings)
        self._statuses = _statuses(settings, opened, connect, clock=clock)
        self._machines = registration(
            settings, opened, self._statuses, connect=connect, clock=clock, where=where
        )
        self._fetcher = KeyFetcher(get, clock, opened.source.put)
        self._names = NameFinder(look_up, clock, opened.source.put)
        self._numbering = Numbering(clock)
        self._audience = Audience(
            self._feed,
            self._problems,
            self.credentials,
            earlier=self._earlier,
            statuses=self._statuses,
            readiness=self.readiness,
        )
        self._findings = Findings(connect, clock, places=where, moved=self._audience.look_again)
        self._ingest = Ingest(
            _mesh_settings(settings),
            self._publish,
            clock,
            complete=opened.complete,
            prepare=self._prepare,
            numbering=self._numbering,
        )
        self._audience.found = self._found
        self._analyst = Analyst(
            lambda: self._ingest.state,
            self._ingest.located,
            fetches_anywhere=settings.keys_from_loopback and settings.keys_from_private,
        )
        readers = debug.Readers(settings.system_namespace, _namespaces(opened.client, clock))
        self.pages = debug.routes(
            self._feed, self._problems, analyst=self._analyst, readers=readers
        )

    @property
    def servicer(self) -> MeshFeed:
        """What subscribers call."""
        return MeshFeed(self._feed, self._problems, self._analyst)

    def waiting(self) -> Sequence[str]:
        """Return what is not there yet; of the configuration, which kinds, and why."""
        missing = self.readiness()
        return [*missing, *self.opened.waiting()] if "configuration" in missing else missing

    def work(self) -> list[Work]:
        """Return what runs beside the ports."""
        return [
            self._ingest.run(self.opened.source.batches()),
            self.svid.run(),
            self._fetcher.run(),
            self._names.run(),
            self._findings.run(),
            *self.opened.work,
            *self._saving(),
            self._statuses.run() if self._statuses else self._machines.run(),
        ]

    def _saving(self) -> list[Work]:
        if self._earlier is None or self.opened.away is None:
            return []
        serve = partial(self._audience.fall_back, self._numbering)
        return [self._earlier.run(), self._earlier.fall_back(self.opened.away, serve)]

    def _publish(self, step: Step) -> None:
        self._machines.publish(step.state)
        self._fetcher.want(step.state.mesh)
        self._names.want(step.state.mesh)
        self._audience.publish(step)

    async def _prepare(self, mesh: Mesh) -> Batch:
        return await _with_answers((self._fetcher, self._names), self.opened.source, mesh)

    def _found(self, mesh: Mesh) -> Iterable[Problem]:
        return map(self._ingest.located, self._findings.about(mesh))


def _config_pushes(settings: Settings, mesh: Mesh) -> frozenset[str]:
    """Return where config-push is: as settings say, or everywhere where a cluster has it."""
    told = settings.config_push_address
    return (
        frozenset({told}) if told else addresses(mesh, settings.system_namespace, settings.revision)
    )


def _to_config_push(settings: Settings, svid: Svid) -> Connect:
    @asynccontextmanager
    async def connect(address: str) -> AsyncIterator[grpc.aio.Channel]:
        await svid.ready()
        name = f"seine-config-push.{settings.system_namespace}.svc"
        credentials = svid.channel_credentials()
        async with channel.connect(address, credentials=credentials, server_name=name) as found:
            yield found

    return connect


def _statuses(
    settings: Settings, opened: Opened, connect: Connect, *, clock: Clock
) -> Statuses | None:
    """Return who writes statuses; a folder of manifests has none."""
    if opened.client is None or opened.tell is None:
        return None
    statuses = Statuses(
        opened.client,
        clock,
        system_namespace=settings.system_namespace,
        connect=connect,
        revision=settings.revision,
    )
    opened.tell(statuses.subjects.take)
    return statuses


def _earlier_life(settings: Settings, clock: Clock) -> EarlierLife | None:
    """A folder of manifests is always there; an API server may be away."""
    if settings.config_dir or not settings.redis_url or settings.cache_key_file is None:
        return None
    cache = Cache(
        RedisBackend(settings.redis_url, timeout=OPERATION_SECONDS),
        CacheSealer(settings.cache_key_file.read_bytes()),
        observe=lambda outcome: metrics.DISCOVERY_CACHE.labels(outcome=outcome.value).inc(),
        clock=clock,
    )
    return EarlierLife(cache, clock)


async def _with_answers(
    asked: Sequence[KeyFetcher | NameFinder], source: Source, mesh: Mesh
) -> Batch:
    """Wait a little for what others have to say.

    A restart must not make good tokens bad for want of keys, nor lead anybody past the gateways of
    networks for want of their addresses.
    """
    for one in asked:
        one.want(mesh)
    async with Group() as group:
        for one in asked:
            group.create_task(one.tried(ANSWER_SECONDS))
    return source.drained()


def _namespaces(client: Client | None, clock: Clock) -> debug.NamespaceOf | None:
    """Return who says whose a token is; for a folder of manifests nobody does."""
    if client is None:
        return None
    reviewer = Reviewer(client, clock=clock)

    async def namespace_of(token: str) -> str:
        return (await reviewer.review(token)).namespace

    return namespace_of


def _may_read(client: Client | None, clock: Clock) -> May:
    """Return who may have the keys in Secrets: in a cluster whom its own rules let read them."""
    return by_review(AccessReviewer(client, clock=clock)) if client else everybody


@asynccontextmanager
async def _serving(parts: _Parts) -> AsyncIterator[int]:
    settings, svid = parts.settings, parts.svid
    credentials = CredentialService(
        parts.credentials, _may_read(parts.opened.client, parts.clock), clock=parts.clock
    )
    health = Health()
    register = partial(feed_pb2_grpc.add_MeshFeedServicer_to_server, parts.servicer)
    hand_out = partial(credentials_pb2_grpc.add_CredentialsServicer_to_server, credentials)
    allow = interceptors.allow(
        ALLOWED,
        trust_domain=settings.trust_domain or _own_trust_domain(svid),
        namespace=settings.system_namespace,
    )
    port = Port(f"{settings.listen_address}:{settings.port}", svid.server_credentials(mutual=True))
    services: list[Callable[[grpc.aio.Server], None]] = [register, hand_out, health.register]
    async with server.running(services, port, interceptors=[allow]) as number:
        await health.set(serving=True)
        yield number


def _own_certificate(settings: Settings, clock: Clock) -> Svid:
    ca = ca_client.CaAddress(
        settings.ca_address,
        settings.ca_root_file,
        settings.token_file,
        f"seine-ca.{settings.system_namespace}.svc",
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


def _own_trust_domain(svid: Svid) -> str:
    return verify.identity_of(bundle.parse(svid.material.chain)[0]).trust_domain


def _mesh_settings(settings: Settings) -> MeshSettings:
    domain = settings.cluster_domain or _cluster_domain(settings)
    return MeshSettings(
        trust_domain=settings.trust_domain or domain,
        cluster_domain=domain,
        cluster_id=settings.cluster_id,
        mesh_id=settings.trust_domain or domain,
        root_namespace=settings.system_namespace,
        ingress_namespace=settings.ingress_namespace,
        strict_hosts=settings.strict_hosts,
        config_map=mesh_layers.config_map_name(settings.revision),
    )


def _cluster_domain(settings: Settings) -> str:
    in_cluster = settings.config_dir is None and settings.resolv_conf.is_file()
    return cluster_domain(settings.resolv_conf.read_text()) if in_cluster else DEFAULT
