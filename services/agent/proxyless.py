"""Proxyless: the agent beside a gRPC program that speaks xDS itself, with no Envoy (DISABLE_ENVOY).

Others look for it as `grpc-agent`. It passes the program's stream on to the control plane with the
pod's token, keeps a certificate in files, and writes the bootstrap that GRPC_XDS_BOOTSTRAP names:
programs read that once, so the pod is ready only when all of it is there. The program may run as
another user of the pod's group. Which configuration it gets is decided by the control plane.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.agent import addresses, files, issued, metrics, probes
from services.agent.http import server as http_server
from services.agent.http.server import Answer, Asked, text
from services.agent.issued import Issued
from services.agent.probes import Prober
from services.agent.relay import METHODS, Relay
from services.agent.rotation import Rotation, Schedule
from services.agent.scrape import CONTENT_TYPE
from services.agent.settings import AgentSettings
from services.agent.streams import server as stream_server
from services.agent.trust import Published, TrustedRoots, identifiers

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 60
"""How often programs look whether their certificate was renewed."""
BELIEVED_SECONDS = 1.5 * REFRESH_SECONDS
"""After new roots were written: programs do not say that they have read them."""
LISTENER_TEMPLATE = "xds.istio.io/grpc/lds/inbound/%s"
_FILES = ("cert-chain.pem", "key.pem", "root-cert.pem")


class Proxyless:
    """One agent without an Envoy."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        node: dict[str, Any],
        token: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._node = node
        self._token = token
        self._clock = clock
        self._trusted = TrustedRoots()
        self._offered = ""
        self._renewed = asyncio.Event()
        self._written = False
        self._quit = asyncio.Event()

    async def run(self) -> None:
        """Serve until cancelled or told to quit."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._xds())
            await stack.enter_async_context(background(*self._certificate()))
            await stack.enter_async_context(self._status_port())
            await self._quit.wait()

    @property
    def _socket(self) -> Path:
        return Path(self._settings.proxy.config_path).absolute() / "XDS"

    @asynccontextmanager
    async def _xds(self) -> AsyncIterator[None]:
        relay = Relay(
            addresses.discovery(self._settings),
            self._token,
            cluster_id=self._settings.metadata.get("CLUSTER_ID", "Kubernetes"),
            clock=self._clock,
            rewrite=_as_it_is,
            trusted=self._trusted,
        )
        handlers = dict.fromkeys(METHODS, relay.serve)
        async with stream_server.serve(self._socket, handlers, by_group=True):
            yield

    def _certificate(self) -> list[Coroutine[Any, Any, None]]:
        settings = self._settings
        if given := files.provided(besides=settings.prov_cert):
            self._trusted.forget()
            self._write_bootstrap(given)
            return []
        rotation = Rotation(
            functools.partial(issued.order, addresses.order(settings)),
            self._use,
            schedule=Schedule(settings.grace_ratio, settings.grace_jitter),
            clock=self._clock,
        )
        published = Published(Path(settings.ca_root_file), rotation.renew_soon, clock=self._clock)
        return [rotation.run(), published.run(), self._believe()]

    def _use(self, fresh: Issued) -> None:
        folder = Path(self._settings.output_certs).absolute()
        written = files.keep_all(
            folder, chain=fresh.chain, key=fresh.key, roots=fresh.roots, group=True
        )
        if not written:
            return
        self._offered = identifiers(fresh.roots)
        self._trusted.offer(self._offered, fresh.roots)
        if self._written:
            self._renewed.set()
            return
        chain, key, roots = (folder / name for name in _FILES)
        self._write_bootstrap((chain, key, roots))
        self._trusted.accept(self._offered)  # no program has read any others

    async def _believe(self) -> None:
        """Tell the control plane of new roots when programs must have read them."""
        while True:
            await self._renewed.wait()
            self._renewed.clear()
            offered = self._offered
            await self._clock.sleep(BELIEVED_SECONDS)
            self._trusted.accept(offered)

    def _write_bootstrap(self, certificate: tuple[Path, Path, Path]) -> None:
        path = Path(self._settings.grpc_bootstrap)
        path.parent.mkdir(parents=True, exist_ok=True)
        document = bootstrap(self._node, self._socket, certificate)
        partial = path.with_name(f".{path.name}.new")
        partial.write_bytes(msgspec.json.encode(document))
        partial.replace(path)
        self._written = True
        logger.info("bootstrap written", extra={"path": str(path)})

    @asynccontextmanager
    async def _status_port(self) -> AsyncIterator[None]:
        settings = self._settings
        prober = Prober(probes.parse(settings.app_probers), addresses.probed(settings))

        async def route(asked: Asked) -> Answer:
            if asked.path.startswith(("/app-health/", "/app-lifecycle/")):
                return await prober.answer(asked)
            return self._answer(asked)

        listening = addresses.listening(settings)
        async with http_server.serve(listening, settings.proxy.status_port, route):
            yield

    def _answer(self, asked: Asked) -> Answer:
        match asked.path:
            case "/healthz/ready" if self._written:
                return text(200, "ready")
            case "/healthz/ready":
                return text(503, "no certificate yet, so no bootstrap for gRPC")
            case "/metrics" | "/stats/prometheus":
                return Answer(200, metrics.render(), CONTENT_TYPE)
            case "/quitquitquit" if asked.local and asked.method == "POST":
                self._quit.set()
                return text(200, "ok")
            case _:
                return text(404, "no such page")


def bootstrap(
    node: dict[str, Any], socket: Path, certificate: tuple[Path, Path, Path]
) -> dict[str, Any]:
    """Return what a gRPC program reads, as Istio's agent writes it.

    Args:
        node: who introduces itself, Envoy's Node as JSON data.
        socket: where the agent passes streams on.
        certificate: files of the chain, its key, and the roots.

    """
    chain, key, roots = map(str, certificate)
    provider = {
        "plugin_name": "file_watcher",
        "config": {
            "certificate_file": chain,
            "private_key_file": key,
            "ca_certificate_file": roots,
            "refresh_interval": f"{REFRESH_SECONDS}s",
        },
    }
    server = {
        "server_uri": f"unix://{socket}",
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    return {
        "xds_servers": [server],
        "node": node,
        "certificate_providers": {"default": provider},
        "server_listener_resource_name_template": LISTENER_TEMPLATE,
    }


async def _as_it_is(message: bytes, _delta: bool) -> bytes:
    return message
