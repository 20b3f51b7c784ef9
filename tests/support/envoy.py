"""A real Envoy under test, started with the agent's bootstrap against a control plane of the test.

Everything stays on loopback; ports are free ones; the process ends with the test, by its own id.
"""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from libs.xds.types import Snapshot
from services.agent import bootstrap
from services.agent.envoy import binary
from services.agent.proxy_config import StatsMatcher
from tests.support.certificates import Certificate
from tests.support.control_plane import ControlPlane, serving
from tests.support.ports import free_ports

_START_SECONDS = 90
_NO_MORE = StatsMatcher()
Series = tuple[Mapping[str, str], float]
"""Labels and value."""


class Envoy:
    """One running Envoy, asked through its admin page."""

    def __init__(
        self, process: asyncio.subprocess.Process, admin: int, folder: Path, plane: ControlPlane
    ) -> None:
        self.pid = process.pid
        self.plane = plane
        self.folder = folder
        self.access_log = access_log(folder)
        self._admin = admin

    async def admin(self, path: str) -> str:
        """Return a page of the admin interface."""
        return await asyncio.to_thread(self._fetch, path)

    async def stats(self, prefix: str = "") -> dict[str, int]:
        """Return counters and gauges by name."""
        page = json.loads(await self.admin(f"/stats?format=json&filter=^{prefix}"))
        return {row["name"]: row["value"] for row in page["stats"] if "value" in row}

    async def serve(self, snapshot: Snapshot) -> None:
        """Have Envoy take over `snapshot`, or refuse it."""
        changed = self.plane.serve(snapshot)
        await self.plane.settled(changed)
        await self.active()

    async def prometheus(self) -> list[str]:
        """Return the lines of the metrics page that are not comments."""
        page = await self.admin("/stats/prometheus")
        return [line for line in page.splitlines() if line and not line.startswith("#")]

    async def series(self, name: str, **wanted: str) -> list[Series]:
        """Return the series of a metric, as `envoy_` names it, that carry all of `wanted`."""
        found: list[Series] = []
        for line in await self.prometheus():
            metric, _, rest = line.partition("{")
            if metric == f"envoy_{name}":
                tags, _, value = rest.rpartition("} ")
                labels = dict(re.findall(r'(\w+)="([^"]*)"', tags))
                if wanted.items() <= labels.items():
                    found.append((labels, float(value)))
        return found

    async def counted(self, name: str, **wanted: str) -> list[Series]:
        """Return such series once there is one.

        Envoy counts a request when it destroys its stream: after the client has the answer.
        """
        async with asyncio.timeout(_START_SECONDS):
            while not (found := await self.series(name, **wanted)):  # noqa: ASYNC110 - a page
                await asyncio.sleep(0.02)
        return found

    async def config_dump(self) -> dict[str, Any]:
        """Return what Envoy has taken over, and what it refused."""
        dump: dict[str, Any] = json.loads(await self.admin("/config_dump"))
        return dump

    async def complaints(self) -> list[str]:
        """Return every sign that Envoy refused something."""
        stats = await self.stats(".*update_rejected")
        rejected = [f"{name} {value}" for name, value in stats.items() if value]
        errors = list(_error_states(await self.config_dump()))
        return [*self.plane.refused, *rejected, *errors]

    async def logged(self, text: str) -> str:
        """Return the line of the access log that holds `text`, once it is there."""
        async with asyncio.timeout(_START_SECONDS):
            while not (found := [line for line in self._log() if text in line]):
                await self.admin_post("/reopen_logs")  # flushes
        return found[0]

    async def admin_post(self, path: str) -> None:
        """Ask for something that changes Envoy."""
        await asyncio.to_thread(self._fetch, path, "POST")

    async def active(self) -> None:
        """Wait until all that was accepted is active: listeners warm until their secrets come."""
        async with asyncio.timeout(_START_SECONDS):
            while not await self._is_active():  # noqa: ASYNC110 - a page cannot be awaited
                await asyncio.sleep(0.02)

    async def _is_active(self) -> bool:
        try:
            stats = await self.stats("listener_manager")
        except OSError:
            return False
        warming = stats["listener_manager.total_listeners_warming"]
        return bool(stats["listener_manager.workers_started"]) and not warming

    def _log(self) -> list[str]:
        return self.access_log.read_text().splitlines() if self.access_log.exists() else []

    def _fetch(self, path: str, method: str = "GET") -> str:
        url = f"http://127.0.0.1:{self._admin}{path}"
        request = Request(url, method=method)
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            text: str = answer.read().decode()
        return text


@asynccontextmanager
async def running(
    snapshot: Snapshot,
    certificate: Certificate,
    folder: Path,
    *,
    gated: bool = True,
    whole: bool = False,
    cluster: str = "test",
    variables: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    stats: StatsMatcher = _NO_MORE,
) -> AsyncIterator[Envoy]:
    """Run an Envoy that has taken over `snapshot` and holds `certificate`.

    `whole`: it speaks the state-of-the-world protocol. `cluster` is its node's, `variables` are in
    its environment, `stats` says what of its own statistics is kept besides.
    """
    plane = ControlPlane(certificate, gated=gated)
    plane.serve(snapshot)
    async with (
        serving(plane, folder / "xds"),
        _process(
            folder, options, whole=whole, cluster=cluster, variables=variables or {}, stats=stats
        ) as (process, admin),
    ):
        envoy = Envoy(process, admin, folder, plane)
        try:
            await envoy.active()
        except TimeoutError as error:
            error.add_note((folder / "envoy.log").read_text()[-4000:])
            raise
        yield envoy


def access_log(folder: Path) -> Path:
    """Return where an Envoy with its files in `folder` is expected to log."""
    return folder / "access.log"


@asynccontextmanager
async def _process(
    folder: Path,
    options: Sequence[str],
    *,
    whole: bool,
    cluster: str,
    variables: Mapping[str, str],
    stats: StatsMatcher,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    admin, ready, prometheus = free_ports(3)
    rendered = bootstrap.render(
        bootstrap.Bootstrap(
            node={"id": "sidecar~127.0.0.1~test.shop~shop", "cluster": cluster},
            xds_socket=str(folder / "xds"),
            sds_socket=str(folder / "xds"),
            tally_socket=str(folder / "tally"),
            admin_port=admin,
            listen_address="127.0.0.1",
            ready_port=ready,
            prometheus_port=prometheus,
            stats=stats,
        )
    )
    rendered["stats_flush_interval"] = "0.05s"  # histograms show only what was flushed
    if whole:
        rendered["dynamic_resources"]["ads_config"]["api_type"] = "GRPC"
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(rendered))
    with (folder / "envoy.log").open("ab") as log:  # Envoy opens it once more for access logs
        process = await asyncio.create_subprocess_exec(
            "env",
            *(f"{name}={value}" for name, value in variables.items()),
            binary(""),
            *("-c", str(config), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"),
            *("--file-flush-interval-msec", "20"),
            *options,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process, admin
        finally:
            process.kill()
            await process.wait()


def _error_states(node: Any) -> Iterable[str]:  # noqa: ANN401
    if isinstance(node, dict):
        if "error_state" in node:
            yield json.dumps(node["error_state"])[:1000]
        for value in node.values():
            yield from _error_states(value)
    elif isinstance(node, list):
        for value in node:
            yield from _error_states(value)
