"""Launch: what Envoy is started with: its bootstrap, what is laid over that, its command line.

Patches of the bootstrap are tried before they are used: Envoy itself reads them in its mode
`validate`. Those that it does not take, or with which it does not stay up, are left out and said to
be so, in the log and in the node's metadata: a bad patch never keeps a proxy from starting.
"""

import asyncio
import json
import logging
import math
import resource
import socket
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from services.agent import addresses, bootstrap, patches
from services.agent.bootstrap import Bootstrap
from services.agent.envoy import binary, command
from services.agent.patches import Asked, Asker, PatchesError
from services.agent.settings import AgentSettings
from services.agent.trial import tried

logger = logging.getLogger(__name__)

TRY_SECONDS = 30.0
RESOLVE_SECONDS = 5.0
EXTERNAL_SDS_SOCKET = Path("./var/run/secrets/credential-uds/socket")
EXTERNAL_SDS = "credential"
"""Metadata of the node: `true` if somebody serves users' certificates at that socket."""
_FAILURE = "error initializing configuration"


class Levels(Struct, frozen=True):
    """How much Envoy logs."""

    all: str
    components: str


class Launch:
    """Makes command lines; `prepared` first, `without_patches` when that does not stay up."""

    def __init__(
        self, settings: AgentSettings, levels: Levels, asker: Asker, *, given: Bootstrap
    ) -> None:
        """Take `given`, which has everything but what has to be looked up."""
        self._settings = settings
        self._levels = levels
        self._asker = asker
        self._given = given
        self._asked = Asked()
        self._folder = Path(settings.proxy.config_path)

    @property
    def patched(self) -> bool:
        """Whether the command line has patches that could be left out."""
        return bool(self._asked.text)

    async def prepared(self) -> list[str]:
        """Return the command line, with everything that it names written."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if custom := self._settings.proxy.custom_config_file:
            return self._command(Path(custom), "")
        self._given = structs.replace(self._given, statsd=await self._statsd())
        self._asked = await self._ask()
        return await self._tried() if self.patched else self._plain("")

    def without_patches(self, why: str) -> list[str]:
        """Return the command line without the patches, which are told to be refused."""
        version, self._asked = self._asked.version, Asked()
        extra = {"version": version, "reason": why}
        logger.error("the patches of the bootstrap are left out", extra=extra)
        return self._plain(f"{version} {why}"[: patches.MAX_REASON])

    async def _ask(self) -> Asked:
        settings = self._settings
        if not settings.bootstrap_patches:
            return Asked()
        path = self._folder / "bootstrap-patches.json"
        asked = await self._asker.ask(settings.bootstrap_seconds)
        if asked is None:
            return patches.kept(path)
        patches.keep(path, asked)
        return asked

    async def _tried(self) -> list[str]:
        try:
            laid = patches.overlay(self._asked.text, self._override)
            line = self._command(self._written(self._asked.version, ""), laid)
            await attempt(line)
        except PatchesError as error:
            return self.without_patches(str(error))
        return line

    def _plain(self, refused: str) -> list[str]:
        return self._command(self._written("", refused), self._override)

    @property
    def _override(self) -> str:
        path = self._settings.bootstrap_override
        return Path(path).read_text() if path else ""

    def _written(self, used: str, refused: str) -> Path:
        """Write the bootstrap of a node that says which patches it has."""
        said = {patches.USED: used, **({patches.REFUSED: refused} if refused else {})}
        node = self._given.node
        if self._settings.bootstrap_patches:
            node = {**node, "metadata": {**node["metadata"], **said}}
        path = self._folder / "envoy-rev.json"
        given = structs.replace(self._given, node=node)
        path.write_text(json.dumps(bootstrap.render(given), indent=1))
        return path

    def _command(self, config: Path, laid_over: str) -> list[str]:
        proxy = self._settings.proxy
        options = ["--log-level", self._levels.all]
        options += ["--component-log-level", self._levels.components]
        options += ["--file-flush-interval-msec", str(round(proxy.file_flush_interval * 1000))]
        if proxy.file_flush_min_size_kb:
            options += ["--file-flush-min-size-kb", str(proxy.file_flush_min_size_kb)]
        if laid_over:
            options += ["--config-yaml", laid_over]
        return command(
            binary(self._settings.envoy_binary),
            config,
            concurrency=proxy.concurrency or math.ceil(self._settings.cpu_limit),
            drain_seconds=proxy.drain_duration,
            options=options,
        )

    async def _statsd(self) -> tuple[str, int] | None:
        """Return where metrics go over UDP: Envoy wants an address, so a name is looked up here."""
        place = self._settings.proxy.statsd_udp_address
        if not place:
            return None
        host, _, port = place.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await loop.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError) as error:
            extra = {"address": place, "reason": str(error) or "no answer in time"}
            logger.warning("the address for statsd is not known: nothing goes there", extra=extra)
            return None
        return str(found[0][4][0]), int(port)


async def attempt(line: list[str]) -> None:
    """Let Envoy read its configuration and say what it thinks of it.

    Raises:
        PatchesError: it does not take it, or does not answer in time.

    """
    try:
        answer = await tried(line, seconds=TRY_SECONDS, cpu_seconds=math.ceil(TRY_SECONDS))
    except TimeoutError as error:
        message = f"envoy did not say within {TRY_SECONDS:g} s whether it takes them"
        raise PatchesError(message) from error
    if answer.code:
        raise PatchesError(_reason(answer.said, answer.code))


def _reason(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if _FAILURE in line] or lines[-1:]
    if not telling:
        return f"envoy ended with code {code} and said nothing"
    _, found, rest = telling[-1].partition(_FAILURE)
    return (found + rest)[: patches.MAX_REASON] if found else telling[-1][: patches.MAX_REASON]


def max_connections(asked: int) -> int:
    """Return the limit of connections: as asked, or what the file descriptors allow.

    Each connection takes a descriptor here and mostly one to the other side.
    """
    if asked:
        return asked
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1_000_000 if soft == resource.RLIM_INFINITY else max(soft // 2 - 100, 100)


def given(
    settings: AgentSettings, node: dict[str, Any], *, paths: tuple[Path, Path, Path]
) -> Bootstrap:
    """Return what the bootstrap is made of; `paths` are the sockets of xDS, SDS and counting."""
    proxy = settings.proxy
    domain = str(node["id"]).rpartition("~")[2]
    external = node["metadata"].get(EXTERNAL_SDS) == "true"
    return Bootstrap(
        node=node,
        external_sds_socket=str(EXTERNAL_SDS_SOCKET) if external else "",
        xds_socket=str(paths[0]),
        sds_socket=str(paths[1]),
        tally_socket=str(paths[2]),
        admin_address=settings.admin_address,
        admin_port=proxy.proxy_admin_port,
        listen_address=addresses.listening(settings),
        ready_port=settings.ready_port,
        prometheus_port=settings.prometheus_port,
        agent_address=addresses.status(settings),
        agent_port=proxy.status_port,
        cluster_domain=domain.partition(".svc.")[2] or "cluster.local",
        stats=proxy.proxy_stats_matcher,
        stat_tags=proxy.extra_stat_tags,
        compressed_stats=proxy.stats_compression,
        access_log_service=proxy.envoy_access_log_service,
        metrics_service=proxy.envoy_metrics_service,
        runtime=proxy.runtime_values,
        max_connections=max_connections(
            proxy.connection_settings.global_downstream_connection_limit
        ),
    )
