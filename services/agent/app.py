"""App: the wiring of `agent proxy`, and the order in which it comes and goes.

First the sockets that Envoy will ask, then Envoy; secrets and configuration may come later, Envoy
waits for them. At the end readiness and listeners go first, Envoy next, the sockets last.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from libs.runtime.clock import Clock, SystemClock
from libs.runtime.reach import Reach
from libs.runtime.tasks import background
from services.agent import (
    additional_roots,
    addresses,
    files,
    issued,
    launch,
    metrics,
    probes,
    proxy_config,
    scrape,
    secrets,
)
from services.agent.admin import Admin
from services.agent.counting import tally
from services.agent.counting.tally import Tally
from services.agent.dns.feed import Feed
from services.agent.dns.proxy import DnsProxy, system_resolv
from services.agent.drain import Drain, DrainRules
from services.agent.envoy import Envoy, binary
from services.agent.files import FileSecrets
from services.agent.health.checker import Checker
from services.agent.health.probe import failure
from services.agent.health.telling import Telling
from services.agent.http import server as http_server
from services.agent.issued import Issued
from services.agent.launch import Launch, Levels
from services.agent.modules.door import Door
from services.agent.modules.judge import Judge
from services.agent.modules.pull_secret import PullSecrets
from services.agent.modules.rewrite import Refusals, nobody, rewritten
from services.agent.modules.store import Store
from services.agent.node import downward_labels, node
from services.agent.own_stream import OwnStream
from services.agent.patches import Asker
from services.agent.probes import Prober
from services.agent.provisioned import MAX_TOKEN_BYTES
from services.agent.proxyless import Proxyless
from services.agent.readiness import Readiness
from services.agent.relay import METHODS, Relay, Rewrite
from services.agent.rotation import Rotation, Schedule
from services.agent.scrape import Scraper
from services.agent.sds import SdsServer
from services.agent.secrets import Secrets
from services.agent.settings import AgentSettings
from services.agent.status import Status
from services.agent.streams import server as stream_server
from services.agent.streams.server import Handler
from services.agent.trust import Published, TrustedRoots

logger = logging.getLogger(__name__)

SDS_FOLDER = Path("./var/run/secrets/workload-spiffe-uds")
LABELS_FILE = Path("./etc/istio/pod/labels")
AUTO_REGISTER_GROUP = "AUTO_REGISTER_GROUP"
"""Metadata of the node: the WorkloadGroup by which a machine registers."""


class Invocation(Struct, frozen=True):
    """The command line of `agent proxy`."""

    role: str = "sidecar"
    domain: str = ""
    """Empty: `<namespace>.svc.cluster.local`."""
    envoy_log_level: str = "warning"
    envoy_component_log_level: str = "misc:error"


async def serve(settings: AgentSettings, invocation: Invocation) -> None:
    """Run the agent until cancelled, with its Envoy if it is to have one; then drain."""
    clock = SystemClock()
    agent = Agent(settings, invocation, clock)
    if settings.disable_envoy:
        await Proxyless(settings, node=agent.node(), token=agent.token, clock=clock).run()
    else:
        await agent.run()


class Agent:
    """One agent, made of its parts."""

    def __init__(self, settings: AgentSettings, invocation: Invocation, clock: Clock) -> None:
        self._settings = settings
        self._invocation = invocation
        self._clock = clock
        self._proxy = settings.proxy
        self.token = functools.partial(
            read_token, Path(settings.token_file), or_none=bool(settings.prov_cert)
        )
        self._started = clock.monotonic()
        self._was_ready = False
        self._quit = asyncio.Event()
        self._secrets = Secrets()
        self._trusted = TrustedRoots()
        self._files = FileSecrets(self._secrets, clock=clock)
        self._roots_beside = additional_roots.usable(self._proxy.ca_certificates_pem)
        self._admin = Admin(settings.admin_address, self._proxy.proxy_admin_port)
        self._dns = self._dns_proxy() if self._captures_dns else None
        self._readiness = Readiness(self._admin, names_known=self._names_known)
        self._tally = Tally(clock)
        self._drain = Drain(self._admin, self._readiness, self._drain_rules(), clock=clock)

    async def run(self) -> None:
        """Come up, run until cancelled or told to quit, drain, go."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._xds())
            await stack.enter_async_context(self._counting())
            await stack.enter_async_context(self._identity())
            if self._dns is not None:
                await stack.enter_async_context(self._names(self._dns))
            await stack.enter_async_context(self._status_port())
            envoy = await self._envoy()
            await stack.enter_async_context(background(envoy.run(), *self._health()))
            try:
                await self._quit.wait()
            finally:
                if envoy.pid:
                    await self._drain.finish()

    def _xds(self) -> AbstractAsyncContextManager[None]:
        settings = self._settings
        relay = Relay(
            addresses.discovery(settings),
            self.token,
            cluster_id=self._cluster_id,
            clock=self._clock,
            rewrite=self._with_modules(),
            trusted=self._trusted,
        )
        handlers: dict[str, Handler] = dict.fromkeys(METHODS, relay.serve)
        return stream_server.serve(self._xds_socket, handlers)

    def _counting(self) -> AbstractAsyncContextManager[None]:
        handlers, path = self._tally.handlers, self._tally_socket
        return stream_server.serve(path, handlers, connections=tally.MAX_WORKERS)

    def _health(self) -> list[Coroutine[Any, Any, None]]:
        """Return what probes the workload of a machine and tells of it; a pod has a kubelet."""
        probe = self._proxy.readiness_probe
        if probe is None or AUTO_REGISTER_GROUP not in self._settings.metadata:
            return []
        settings = self._settings
        prober = Prober({}, addresses.application(settings))

        async def ask() -> str:
            return await self._readiness.waiting_for() or await failure(probe, prober)

        own = OwnStream(
            addresses.discovery(settings),
            self.token,
            node=self.node(),
            cluster_id=self._cluster_id,
            clock=self._clock,
        )
        telling = Telling(own)
        return [Checker(probe, ask, self._clock).run(telling.say), telling.run()]

    def _dns_proxy(self) -> DnsProxy:
        resolv = system_resolv(Path(self._settings.resolv_conf))
        return DnsProxy(resolv, domain=self._domain, clock=self._clock)

    @asynccontextmanager
    async def _names(self, dns: DnsProxy) -> AsyncIterator[None]:
        """Answer DNS queries, by tables from a stream of the agent's own."""
        settings = self._settings
        feed = Feed(
            addresses.discovery(settings),
            self.token,
            node=self.node(),
            cluster_id=self._cluster_id,
            on_table=dns.use,
            clock=self._clock,
        )
        async with dns.serve(settings.dns_address), background(feed.run()):
            yield

    @property
    def _captures_dns(self) -> bool:
        return self._settings.dns_capture and self._invocation.role == "sidecar"

    def _names_known(self) -> bool:
        return self._dns is None or self._dns.ready

    def _with_modules(self) -> Rewrite:
        settings = self._settings
        insecure = frozenset(filter(None, settings.insecure_registries.split(",")))
        door = Door(Reach(loopback=settings.modules_from_loopback), insecure)
        secrets = PullSecrets(
            addresses.discovery(settings),
            self.token,
            node=self.node(),
            cluster_id=self._cluster_id,
        )
        folder = Path(self._proxy.config_path) / "modules"
        store = Store(folder, door=door, sleep=self._clock.sleep, secret_of=secrets.get)

        refusals: Refusals = nobody
        if settings.try_extensions:
            path = functools.partial(binary, settings.envoy_binary)
            refusals = Judge(path, self.node(), Path(self._proxy.config_path)).refusals

        async def rewrite(message: bytes, delta: bool) -> bytes:
            return await rewritten(message, delta=delta, file_of=store.file, refusals=refusals)

        return rewrite

    @asynccontextmanager
    async def _identity(self) -> AsyncIterator[None]:
        """Serve secrets: our CA's, those of files, or nobody's if something else serves them."""
        socket = SDS_FOLDER / self._settings.identity_socket
        if await _answers(socket):
            logger.info("somebody else serves secrets", extra={"path": str(socket)})
            self._trusted.forget()
            yield
            return
        sds = SdsServer(self._secrets, on_subscribe=self._files.subscribe, on_accept=self._accepted)
        async with (
            stream_server.serve(socket, sds.handlers),
            background(self._files.run(), *self._own_certificate()),
        ):
            yield

    def _own_certificate(self) -> list[Coroutine[Any, Any, None]]:
        if given := files.provided(besides=self._settings.prov_cert):
            chain, key, roots = given
            self._files.follow_certificate(secrets.DEFAULT, chain, key)
            self._files.follow_root(secrets.ROOTCA, roots, beside=self._roots_beside)
            self._trusted.forget()
            return []
        settings = self._settings
        rotation = Rotation(
            functools.partial(issued.order, addresses.order(settings)),
            self._use,
            schedule=Schedule(settings.grace_ratio, settings.grace_jitter),
            clock=self._clock,
        )
        published = Published(Path(settings.ca_root_file), rotation.renew_soon, clock=self._clock)
        return [rotation.run(), published.run()]

    def _accepted(self, name: str, version: str) -> None:
        if name == secrets.ROOTCA:
            self._trusted.accept(version)

    def _use(self, fresh: Issued) -> None:
        if fresh.identity != (expected := str(addresses.identity(self._settings))):
            extra = {"identity": fresh.identity, "expected": expected}
            logger.warning("the ca certified another identity", extra=extra)
        chain, key = fresh.chain.encode(), fresh.key.encode()
        roots = f"{fresh.roots.rstrip()}\n{self._roots_beside}"
        trusted = secrets.validation(secrets.ROOTCA, roots=roots.encode())
        self._trusted.offer(trusted.version, fresh.roots)
        self._secrets.put(secrets.certificate(secrets.DEFAULT, chain=chain, key=key), trusted)
        if folder := self._settings.output_certs:
            files.keep_all(Path(folder), chain=fresh.chain, key=fresh.key, roots=fresh.roots)

    def _status_port(self) -> AbstractAsyncContextManager[int]:
        settings, proxy = self._settings, self._proxy
        refused = frozenset({proxy.status_port, *self._drain_rules().own_ports})
        application = scrape.target(settings.prometheus_annotations, refused=refused)
        status = Status(
            readiness=self._readiness,
            scraper=Scraper(
                self._admin,
                application,
                addresses.application(settings),
                counted=self._tally.page,
            ),
            prober=Prober(probes.parse(settings.app_probers), addresses.probed(settings)),
            drain=self._drain.before_stop,
            quit_now=self._quit.set,
            became_ready=self._note_startup,
            names=self._dns.page if self._dns is not None else None,
        )
        return http_server.serve(addresses.listening(settings), proxy.status_port, status.route)

    def _note_startup(self) -> None:
        if not self._was_ready:
            self._was_ready = True
            metrics.STARTUP.set(self._clock.monotonic() - self._started)

    async def _envoy(self) -> Envoy:
        """Return Envoy as it is to be started; the control plane may have a say in it."""
        levels = Levels(
            self._invocation.envoy_log_level, self._invocation.envoy_component_log_level
        )
        sds = SDS_FOLDER / self._settings.identity_socket
        paths = (self._xds_socket, sds, self._tally_socket)
        introduced = self.node()
        if await _answers(launch.EXTERNAL_SDS_SOCKET):
            introduced["metadata"][launch.EXTERNAL_SDS] = "true"
        given = launch.given(self._settings, introduced, paths=paths)
        start = Launch(self._settings, levels, self._asker(), given=given)
        line = await start.prepared()

        def instead(why: str) -> list[str] | None:
            return start.without_patches(why) if start.patched else None

        return Envoy(line, on_start=self._restarted, clock=self._clock, instead=instead)

    def _restarted(self) -> None:
        self._readiness.restarted()
        self._tally.restarted()

    def _asker(self) -> Asker:
        settings = self._settings
        return Asker(
            addresses.discovery(settings),
            self.token,
            self.node(),
            self._cluster_id,
            self._clock,
        )

    def node(self) -> dict[str, Any]:
        """Return how it introduces itself to the control plane."""
        role = self._invocation.role
        return node(self._settings, role, domain=self._domain, labels=_labels())

    @property
    def _domain(self) -> str:
        return self._invocation.domain or f"{self._settings.pod_namespace}.svc.cluster.local"

    @property
    def _cluster_id(self) -> str:
        return self._settings.metadata.get("CLUSTER_ID", "Kubernetes")

    def _drain_rules(self) -> DrainRules:
        settings = self._settings
        return DrainRules(
            sidecar=self._invocation.role == "sidecar",
            seconds=self._proxy.termination_drain_duration,
            until_idle=settings.exit_on_zero_connections,
            minimum=proxy_config.seconds(settings.minimum_drain),
            own_ports=frozenset({settings.ready_port, settings.prometheus_port}),
        )

    @property
    def _xds_socket(self) -> Path:
        return Path(self._proxy.config_path) / "XDS"

    @property
    def _tally_socket(self) -> Path:
        return Path(self._proxy.config_path) / "TALLY"


def read_token(path: Path, *, or_none: bool = False) -> str:
    """Return the token in a file; empty if there is no such file and none is needed.

    Raises:
        OSError: it cannot be read, or is longer than a token.

    """
    if or_none and not path.exists():
        return ""
    token = path.read_bytes()[: MAX_TOKEN_BYTES + 1].strip()
    if len(token) > MAX_TOKEN_BYTES:
        message = f"{path} is longer than a token"
        raise OSError(message)
    return token.decode("ascii", "replace")


async def _answers(path: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


def _labels() -> dict[str, str]:
    try:
        return downward_labels(LABELS_FILE.read_text())
    except FileNotFoundError:
        return {}
