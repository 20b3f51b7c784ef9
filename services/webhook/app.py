"""Wiring of the webhook: own certificate, what it knows of the cluster, and the HTTPS port."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import grpc.aio
from aiohttp import web
from msgspec import Struct
from msgspec.structs import replace

from libs.api.problem import Problem
from libs.inject.scene import Cluster
from libs.inject.unserved import Unserved
from libs.kube import access
from libs.kube.client import Client
from libs.kube.domain import cluster_domain
from libs.kube.follow import Change, Sink
from libs.pki import bundle, verify
from libs.rpc import channel
from libs.rpc.svid import Svid
from libs.runtime import collector, http
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.probes import Readiness
from libs.runtime.tasks import background
from services.webhook import certificate, serving, versions
from services.webhook.authorities import MUTATING, VALIDATING, Authorities
from services.webhook.bodies import Bodies
from services.webhook.certificate import Handover
from services.webhook.endpoint import Judge, endpoint
from services.webhook.injection.asked_in_vain import AskedInVain
from services.webhook.injection.events import Events, Notice, Regarding
from services.webhook.injection.judge import PodJudge
from services.webhook.injection.knowledge import Knowledge, followed
from services.webhook.injection.unasked import Surroundings, UnaskedPods
from services.webhook.serving import ServingCertificate
from services.webhook.settings import NativeSidecars, Settings
from services.webhook.validation.activation import Activation
from services.webhook.validation.configuration import Target
from services.webhook.validation.errors import UnforeseenError
from services.webhook.validation.foresight import Foresight
from services.webhook.validation.judge import Judge as Validator

VERSION_SECONDS = 600.0
"""How often the version of the API server is asked for."""
RETRY_SECONDS = 2.0
"""How long to wait until it is asked for again, if it was not told."""


class Bound(Struct, frozen=True):
    """The ports on which a running webhook listens."""

    https: int
    monitoring: int


async def serve(settings: Settings) -> None:
    """Run the webhook until cancelled."""
    async with running(settings):
        await asyncio.Event().wait()


@asynccontextmanager
async def running(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Bound]:
    """Run the webhook while the block runs."""
    clock = clock or SystemClock()
    readiness = Readiness("certificate", "cluster", "port")
    async with AsyncExitStack() as stack:
        monitoring = await stack.enter_async_context(
            http.serve(
                settings.listen_address,
                settings.monitoring_port,
                readiness=readiness,
                component="webhook",
            )
        )
        client = await stack.enter_async_context(Client(access.load(settings.kubeconfig)))
        authorities = Authorities(client, _services(settings), clock)
        svid, shown = certificate.own(settings, clock), ServingCertificate(settings.client_ca_file)
        await stack.enter_async_context(_shown(svid, shown, authorities, clock=clock))
        readiness.set("certificate")
        judge = await stack.enter_async_context(
            _injection(settings, client, clock=clock, authorities=authorities, svid=svid)
        )
        validator = await stack.enter_async_context(_validation(settings, svid))
        readiness.set("cluster")
        https = await stack.enter_async_context(
            serving.serve(
                (settings.listen_address, settings.port),
                _routes({"/inject": judge, "/validate": validator}),
                shown,
                max_connections=settings.max_connections,
            )
        )
        readiness.set("port")
        collector.settle()
        yield Bound(https=https, monitoring=monitoring)


def _services(settings: Settings) -> frozenset[tuple[str, str]]:
    return frozenset({(settings.system_namespace, settings.service)})


def _routes(judges: dict[str, Judge]) -> list[web.RouteDef]:
    """A path with more behind it, as Istio's have, is the same path."""
    bodies = Bodies()
    handlers = {path: endpoint(judge, bodies) for path, judge in judges.items()}
    return [
        web.post(path + rest, handler)
        for path, handler in handlers.items()
        for rest in ("", "/{rest:.*}")
    ]


@asynccontextmanager
async def _shown(
    svid: Svid, shown: ServingCertificate, authorities: Authorities, *, clock: Clock
) -> AsyncIterator[None]:
    """Keep a certificate on the port; the block begins when there is one."""
    handover = Handover(shown, authorities, clock)
    svid.on_change(handover.note)
    async with background(svid.run(), handover.run(), authorities.run()):
        await handover.ready()
        yield


@asynccontextmanager
async def _injection(
    settings: Settings, client: Client, *, clock: Clock, authorities: Authorities, svid: Svid
) -> AsyncIterator[Judge]:
    """Yield the judge of pods, once it knows the cluster."""
    events = Events(client, clock)

    def conflict(namespace: str, text: str) -> None:
        events.tell(Notice(Regarding("Namespace", namespace, ""), "ConflictingLabels", text))

    def unserved(namespace: str, found: Unserved) -> None:
        about = Regarding("Namespace", namespace, "")
        events.tell(Notice(about, found.reason, found.text, detail=found.wish))

    def labelled(namespace: str, labels: dict[str, str] | None) -> None:
        in_vain.note_namespace(namespace, labels)
        pods.note_namespace(namespace)

    async def configured(changes: Sequence[Change]) -> None:
        await in_vain.take_configurations(changes)
        pods.note_configurations()

    in_vain = AskedInVain(unserved, clock)
    knowledge = Knowledge(
        settings.system_namespace,
        settings.revision,
        conflict,
        shared_mesh_config=settings.shared_mesh_config,
        on_labels=labelled,
    )
    around = Surroundings(
        namespace=knowledge.namespace,
        asks=lambda: in_vain.asks,
        service=(settings.system_namespace, settings.service),
    )
    pods = UnaskedPods(events.tell, clock, around)
    judge = PodJudge(knowledge, events, _cluster(settings, svid))
    activation = Activation(client, _validated(settings), clock)
    followed_too = [
        (MUTATING, _both(authorities.sink(MUTATING), configured)),
        (VALIDATING, _both(authorities.sink(VALIDATING), activation.take)),
    ]
    version = _Version(settings.native_sidecars, judge)
    async with (
        background(events.run(), version.follow(client, clock), activation.run()),
        followed(client, [*knowledge.sources, *followed_too], clock),
        background(in_vain.run(), pods.run(client)),
    ):
        await version.known.wait()
        yield judge.judge


@asynccontextmanager
async def _validation(settings: Settings, svid: Svid) -> AsyncIterator[Judge]:
    """Yield the judge of the mesh's resources."""
    if not settings.discovery_address:
        yield Validator(_nobody_foresees).judge
        return

    def connect() -> grpc.aio.Channel:
        name = f"seine-discovery.{settings.system_namespace}.svc"
        credentials = svid.channel_credentials()
        return channel.connect(
            settings.discovery_address, credentials=credentials, server_name=name
        )

    foresight = Foresight(connect)
    svid.on_change(lambda _: foresight.renew())
    try:
        yield Validator(foresight.foresee).judge
    finally:
        await foresight.close()


async def _nobody_foresees(_: bytes) -> Sequence[Problem]:
    message = "no discovery to ask"
    raise UnforeseenError(message)


def _validated(settings: Settings) -> Target:
    return Target(
        revision=settings.revision,
        system_namespace=settings.system_namespace,
        service=settings.service,
    )


def _both(*sinks: Sink) -> Sink:
    async def take(changes: Sequence[Change]) -> None:
        for sink in sinks:
            await sink(changes)

    return take


def _cluster(settings: Settings, svid: Svid) -> Cluster:
    domain = settings.cluster_domain or cluster_domain(settings.resolv_conf.read_text())
    own = verify.identity_of(bundle.parse(svid.material.chain)[0]).trust_domain
    return Cluster(
        revision=settings.revision,
        system_namespace=settings.system_namespace,
        trust_domain=settings.trust_domain or own,
        cluster_domain=domain,
        cluster_id=settings.cluster_id,
        proxy_image=settings.proxy_image,
        native_sidecars=settings.native_sidecars is NativeSidecars.ALWAYS,
    )


class _Version:
    """Tells the judge whether there are native sidecars: a cluster is upgraded while this runs."""

    def __init__(self, wanted: NativeSidecars, judge: PodJudge) -> None:
        self.known = asyncio.Event()
        self._wanted = wanted
        self._judge = judge

    async def follow(self, client: Client, clock: Clock) -> None:
        """Ask now and then, if that is what is wanted, until cancelled."""
        while self._wanted is NativeSidecars.AUTO:
            native = await versions.has_native_sidecars(client)
            if native is not None:
                self._judge.cluster = replace(self._judge.cluster, native_sidecars=native)
                self.known.set()
            await clock.sleep(VERSION_SECONDS if self.known.is_set() else RETRY_SECONDS)
        self.known.set()
