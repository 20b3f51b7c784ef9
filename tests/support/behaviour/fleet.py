"""The fleet: real Envoys of the world and their applications, started once, then reconfigured.

A table's manifests go the whole way: read and judged like a user's, translated, scoped and
generated for each proxy, and pushed over real xDS sessions. Only what changed is sent, and asking
begins when every Envoy has answered for it.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.model.mesh import Mesh
from libs.pki import jwk, keys
from libs.proxy.scoper import Scoper
from libs.xds import credentials, generate
from libs.xds.credentials import Material
from libs.xds.types import SECRET, NamedResource, Snapshot
from tests.support.behaviour.tables import Feature, Table
from tests.support.behaviour.wire import Applications, application
from tests.support.behaviour.world import ACCOUNTS, PORTS, PROXIES, Place, free_block
from tests.support.certificates import Certificate, TestAuthority, client_context
from tests.support.envoy import Envoy, running

ISTIO_ALPN = ("istio-http/1.1", "istio", "http/1.1")
_NAMES = {"one": "one.example.com", "two": "two.example.com"}
_LOG_SECONDS = 10


class Log:
    """The access log of one Envoy, line by line as it is written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def size(self) -> int:
        """Return where the next line will begin."""
        return self._path.stat().st_size

    def lines(self, since: int) -> list[dict[str, str]]:
        """Return what was logged since then."""
        with self._path.open("rb") as file:
            file.seek(since)
            whole = file.read().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    async def of(self, number: str, since: int) -> dict[str, str]:
        """Return the line of a request, or of the connection that had none."""
        async with asyncio.timeout(_LOG_SECONDS):
            while True:
                for line in self.lines(since):
                    if line.get("row") in {number, None}:
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
        self.envoys: dict[str, Envoy] = {}
        self.numbers = count(1)
        self._folder = folder
        self._scoper = Scoper()
        self._given: tuple[Feature, Table] | None = None
        self._contexts: dict[tuple[str, tuple[str, ...]], ssl.SSLContext] = {}
        self._material = {name: _material(authorities, name) for name in _NAMES}

    def log(self, workload: str) -> Log:
        """Return the access log of a workload's Envoy."""
        return Log(self._folder / workload / "envoy.log")

    async def give(self, feature: Feature, table: Table) -> None:
        """Have every Envoy follow a table's manifests, if they do not already."""
        if self._given == (feature, table):
            return
        self._given = None
        snapshots = self.snapshots(feature, table)
        await asyncio.gather(
            *(envoy.serve(snapshots[workload]) for workload, envoy in self.envoys.items())
        )
        for workload, envoy in self.envoys.items():
            refused, envoy.plane.refused = envoy.plane.refused, []
            assert not refused, (workload, refused)
        self._given = (feature, table)

    def snapshots(self, feature: Feature, table: Table) -> dict[str, Snapshot]:
        """Return what the proxies get under a table."""
        state, reasons = self.place.build(feature, table)
        assert reasons == sorted(set(table.problems)), f"{table.name}: {reasons}"
        return {workload: self._snapshot(workload, state.mesh) for workload in PROXIES}

    def _snapshot(self, workload: str, mesh: Mesh) -> Snapshot:
        scope = self._scoper.scope(mesh, self.place.proxy(workload, mesh))
        sets = {**generate.snapshot(scope).sets}
        namespace = PROXIES[workload].partition(".")[2]
        sets[SECRET] = credentials.credential_set(namespace, list(self._secrets(namespace)))
        return Snapshot(sets)

    def _secrets(self, namespace: str) -> Iterator[NamedResource]:
        """Yield the users' certificates, which the gateway's namespace has and no other."""
        if namespace != "edge":
            return
        for account, material in self._material.items():
            for name in (f"kubernetes://{account}", f"kubernetes://{account}-cacert"):
                wanted = credentials.parse(name, namespace)
                assert wanted is not None
                make = credentials.roots if wanted.roots else credentials.certificate
                found = make(name, wanted, material)
                assert found is not None
                yield found

    def client(self, proving: str, alpn: tuple[str, ...]) -> ssl.SSLContext:
        """Return a TLS client that proves an identity, or none; it judges no server."""
        known = self._contexts.get((proving, alpn))
        if known is None:
            known = client_context(self._certificate(proving), self._folder, alpn)
            self._contexts[proving, alpn] = known
        return known

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
        snapshots = self.snapshots(Feature(title="", order=0, tables=()), empty)
        async with AsyncExitStack() as stack:
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
                    running(snapshots[workload], certificate, folder)
                )
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


def server_context(certificate: Certificate, folder: Path, roots: bytes = b"") -> ssl.SSLContext:
    """Return a TLS server that proves `certificate`, and asks for one of `roots` if there are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = folder / "server.pem"
    path.write_bytes(certificate.chain + certificate.key)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if roots:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=roots.decode())
    return context


def _material(authorities: Keys, name: str) -> Material:
    held = authorities.mesh.issue(name, "edge", dns_names=(_NAMES[name],))
    return Material(held.chain, held.key, held.roots)


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
        words = {
            "keys": jwk.document(authorities.issuer.public_key()).decode(),
            "folder": str(folder),
        }
        async with Fleet(Place(block, words), folder, authorities).started() as fleet:
            yield fleet
