"""The fleet: real Envoys of the world and their applications, started once, then reconfigured.

A table's manifests go the whole way: read and judged like a user's, translated, scoped and
generated for each proxy, and pushed over real xDS sessions. Only what changed is sent, and asking
begins when every Envoy has answered for it.
"""

import asyncio
import json
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.model.mesh import Mesh
from libs.pki import jwk, keys
from libs.proxy.scoper import Scoper
from libs.xds import credentials, generate
from libs.xds.credentials import Material
from libs.xds.types import SECRET, NamedResource, Snapshot
from services.agent.proxy_config import StatsMatcher
from tests.support import wasm_module
from tests.support.behaviour.collecting import Collector, collecting
from tests.support.behaviour.outside import Outside, server_context
from tests.support.behaviour.program import Program, program
from tests.support.behaviour.tables import Feature, Table
from tests.support.behaviour.wire import Applications, application
from tests.support.behaviour.world import ACCOUNTS, PORTS, PROXIES, Built, Place, free_block
from tests.support.certificates import Certificate, TestAuthority, client_context
from tests.support.envoy import Envoy, running

ISTIO_ALPN = ("istio-http/1.1", "istio", "http/1.1")
_LOG_SECONDS = 60
_VARIABLES = {"SEA": "north", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
_OPTIONS = ("--drain-time-s", "0", "--drain-strategy", "immediate")  # no row asks an old listener
_STATS = StatsMatcher(inclusion_regexps=(r"vhost\..+\.route\..+",))  # of routes with `statPrefix`

_RUNTIME = "tracing.opentelemetry.min_flush_spans=1&tracing.zipkin.min_flush_spans=1"  # at once


class Log:
    """The access log of one Envoy, line by line as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Return where the next line will begin."""
        return self._path.stat().st_size

    def lines(self, since: int) -> list[dict[str, Any]]:
        """Return what was logged since then."""
        with self._path.open("rb") as file:
            file.seek(since)
            whole = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    async def of(self, number: str, port: int, *, since: int) -> dict[str, Any]:
        """Return the line of a request, or of a connection from `port` (0: any) without one."""
        async with asyncio.timeout(_LOG_SECONDS):
            while True:
                for line in self.lines(since):
                    if line["row"] == number or (line["row"] is None and port in {0, line["port"]}):
                        return line
                await asyncio.sleep(0.005)


class Keys(Struct, frozen=True):
    """Whose word counts in this run."""

    mesh: TestAuthority
    strangers: TestAuthority
    outside: TestAuthority  # of servers outside the mesh
    issuer: ec.EllipticCurvePrivateKey
    forger: ec.EllipticCurvePrivateKey


class Fleet:
    """The running world."""

    def __init__(self, place: Place, folder: Path, authorities: Keys) -> None:
        self.place = place
        self.keys = authorities
        self.applications = Applications()
        self.collector = Collector()
        self.program: Program
        self.envoys: dict[str, Envoy] = {}
        self.numbers = count(1)
        self._folder = folder
        self._scoper = Scoper()
        self._given: tuple[Feature, Table] | None = None
        self._contexts: dict[tuple[str, tuple[str, ...], str], ssl.SSLContext] = {}

    def log(self, workload: str) -> Log:
        """Return the access log of a workload's Envoy."""
        return Log(self._folder / workload / "envoy.log")

    async def give(self, feature: Feature, table: Table) -> None:
        """Have every Envoy follow a table's manifests, if they do not already."""
        if self._given == (feature, table):
            return
        self._given = None
        mesh, snapshots = self.snapshots(feature, table)
        await asyncio.gather(
            *(envoy.serve(snapshots[workload]) for workload, envoy in self.envoys.items())
        )
        await asyncio.gather(*map(_drained, self.envoys.values()))
        await self.program.stop()
        programs = [row for row in table.rows if row.source == "program"]
        if programs:
            await self.program.start(mesh, self._certificate(programs[0].proving))
        for workload, envoy in self.envoys.items():
            refused, envoy.plane.refused = envoy.plane.refused, []
            assert not refused, (workload, refused)
        self._given = (feature, table)

    def snapshots(self, feature: Feature, table: Table) -> tuple[Mesh, dict[str, Snapshot]]:
        """Return the mesh of a table, and what the proxies get."""
        built = self.place.build(feature, table)
        assert built.reasons == sorted(set(table.problems)), f"{table.name}: {built.reasons}"
        return built.mesh, {workload: self._snapshot(workload, built) for workload in PROXIES}

    def _snapshot(self, workload: str, built: Built) -> Snapshot:
        scope = self._scoper.scope(built.mesh, self.place.proxy(workload, built.mesh))
        sets = {**generate.snapshot(scope).sets}
        namespace = PROXIES[workload].partition(".")[2]
        sets[SECRET] = credentials.credential_set(namespace, list(_credentials(namespace, built)))
        return Snapshot(sets)

    def client(self, proving: str, alpn: tuple[str, ...], newest: str = "") -> ssl.SSLContext:
        """Return a TLS client that proves an identity, or none; it judges no server."""
        wanted = (proving, alpn, newest)
        if wanted not in self._contexts:
            made = client_context(self._certificate(proving), self._folder, alpn)
            if newest:
                made.maximum_version = ssl.TLSVersion[f"TLSv{newest.replace('.', '_')}"]
            self._contexts[wanted] = made
        return self._contexts[wanted]

    def _certificate(self, proving: str) -> Certificate | None:
        if not proving:
            return None
        if proving == "stranger":
            return self.keys.strangers.issue("web")
        proved = parse_spiffe_id(proving)
        return self.keys.mesh.issue(proved.service_account, proved.namespace, proved.trust_domain)

    @asynccontextmanager
    async def started(self) -> AsyncIterator["Fleet"]:
        """Run applications and Envoys."""
        empty = Table(name="", rows=())
        _, snapshots = self.snapshots(Feature(title="", order=0, tables=()), empty)
        (self._folder / "module.wasm").write_bytes(wasm_module.module())
        (self._folder / "connections.wasm").write_bytes(wasm_module.connection_module())
        place = self.place
        outside = Outside(place.block, self._folder, self.keys.outside, self.applications)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(outside.serving())
            await stack.enter_async_context(
                collecting(self.collector, outside.address("collector"), outside.address("judge"))
            )
            for workload, address, contexts in self._programs():
                await stack.enter_async_context(
                    application(
                        self.applications, workload, address=address, ports=PORTS, tls=contexts
                    )
                )
            for workload, pod in PROXIES.items():
                folder = self._folder / workload
                folder.mkdir()
                identity = self.identity(workload, pod.partition(".")[2])
                certificate = self.keys.mesh.issue(identity.service_account, identity.namespace)
                self.envoys[workload] = await stack.enter_async_context(
                    running(
                        snapshots[workload],
                        certificate,
                        folder,
                        cluster=f"{identity.service_account}.{identity.namespace}",
                        variables=_VARIABLES,
                        options=_OPTIONS,
                        stats=_STATS,
                    )
                )
                await self.envoys[workload].admin_post(f"/runtime_modify?{_RUNTIME}")
            self.program = await stack.enter_async_context(program(self._folder))
            yield self

    def identity(self, workload: str, namespace: str) -> SpiffeId:
        """Return who a workload is."""
        return SpiffeId("cluster.local", namespace, ACCOUNTS.get(workload, workload))

    def _programs(self) -> Iterator[tuple[str, str, Mapping[int, ssl.SSLContext]]]:
        """Yield the applications: name, address, and the ports that speak TLS themselves."""
        for workload in ("web-v1", "web-v2"):
            yield workload, self.place.address(workload, 2), self._speaking_tls(workload)
        yield "books", self.place.address("books"), self._speaking_tls("books")

    def _speaking_tls(self, name: str) -> Mapping[int, ssl.SSLContext]:
        certificate = self.keys.outside.issue(name, dns_names=(f"{name}.example.com",))
        return {8443: server_context(certificate, self._folder)}


async def _drained(envoy: Envoy) -> None:
    """Wait until the connections of listeners that are no more have ended."""
    names = ("listener_manager.total_filter_chains_draining", "total_listeners_draining")
    while True:
        stats = await envoy.stats("listener_manager")
        if not any(value for name, value in stats.items() if name.endswith(names)):
            return
        await asyncio.sleep(0.01)


def _credentials(namespace: str, built: Built) -> Iterator[NamedResource]:
    """Yield what a proxy of a namespace gets of the Secrets, under each name that it may use."""
    for secret in built.secrets:
        owner, bare = secret.metadata.namespace, secret.metadata.name
        material = Material(
            certificate=secret.value("tls.crt", "cert"),
            private_key=secret.value("tls.key", "key"),
            roots=secret.value("ca.crt", "cacert"),
        )
        for name in (bare, f"{bare}-cacert", f"{owner}/{bare}", f"{owner}/{bare}-cacert"):
            wanted = credentials.parse(f"kubernetes://{name}", namespace)
            if wanted is None or (wanted.namespace, wanted.name) != (owner, bare):
                continue
            make = credentials.roots if wanted.roots else credentials.certificate
            found = make(f"kubernetes://{name}", wanted, material)
            if found is not None:
                yield found


def _words(authorities: Keys, folder: Path) -> Mapping[str, str]:
    """Return the texts that manifests leave open."""
    words = {
        "keys": jwk.document(authorities.issuer.public_key()).decode(),
        "strangers-keys": jwk.document(authorities.forger.public_key()).decode(),
        "folder": str(folder),
    }
    partner = authorities.outside.issue("partner")
    words["partner.crt"] = b64encode(partner.chain).decode()
    words["partner.key"] = b64encode(partner.key).decode()
    words["outside.crt"] = b64encode(partner.roots).decode()
    for name in ("one", "two"):
        held = authorities.mesh.issue(name, "edge", dns_names=(f"{name}.example.com",))
        words[f"{name}.crt"] = b64encode(held.chain).decode()
        words[f"{name}.key"] = b64encode(held.key).decode()
        words["roots.crt"] = b64encode(held.roots).decode()
    return words


@asynccontextmanager
async def sailing(folder: Path) -> AsyncIterator[Fleet]:
    """Run a fleet on addresses that no other run has."""
    authorities = Keys(
        TestAuthority(),
        TestAuthority("strangers"),
        TestAuthority("outside"),
        keys.generate(),
        keys.generate(),
    )
    with free_block() as block:
        words = {**_words(authorities, folder), "port": str(18000 + int(block.split(".")[1]))}
        async with Fleet(Place(block, words), folder, authorities).started() as fleet:
            yield fleet
