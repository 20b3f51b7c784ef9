"""A machine outside the cluster, as somebody sets it up: from a folder of files to requests.

The files are made by `seinectl` at a real API server. Rules, agent and Envoy start from them in a
network namespace of the machine's own; the control plane is behind an address that only the file
`hosts` names. The client is a pod of the mesh, with a proxy of its own.
"""

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from typer.testing import CliRunner

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from services.ctl.app import app as seinectl
from tests.support import agent as agents
from tests.support import dns, meshed_pod, netns
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_ca import SYSTEM, root_map
from tests.support.kube_discovery import apply, define
from tests.support.kubeconfig import write_kubeconfig
from tests.support.netns import Pod
from tests.support.tcp_gate import Gate

REASON = netns.unavailable()
pytestmark = [
    pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}"),
    pytest.mark.timeout(600),
]

PORT, SSH, ABROAD, PROXY_PORT = 8080, 22, 8081, 15080
DB, ECHO = "db.machines.internal", "echo.shop.svc.cluster.local"
ENTRIES = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries"
NAMESERVER = "192.0.2.53"  # nobody's: what is sent there has to be caught
HEALTH_CHECKS = "proxy.istio.io/health-checks-enabled"  # then only a machine that is well is called
PATIENCE = 180
# Another view of some files, for what starts machines: the folder's `hosts`, and a name server.
_UNDER = (
    'cat "$0/hosts" >> "$0/etc-hosts" && mount --bind "$0/etc-hosts" /etc/hosts'
    ' && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
)


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.pod() as made:
        yield made


class World:
    """A control plane, and the network namespace of a machine."""

    def __init__(self, apps: KubeApps, pod: Pod, folder: Path) -> None:
        self.apps = apps
        self.pod = pod
        self.folder = folder
        self.brought = folder / "brought"
        self.ports: dict[str, int] = {}

    @property
    def client(self) -> Client:
        return self.apps.client

    def seinectl(self, *words: str) -> str:
        done = CliRunner().invoke(seinectl, list(words))
        assert done.exit_code == 0, done.output + done.stderr
        return done.stdout

    def configure(self, kubeconfig: str) -> None:
        """Write the folder, as an administrator does."""
        manifest = self.folder / "group.yaml"
        words = ["-n", "shop", "--serviceAccount", "vm", "--labels", "app=db", "--ports"]
        group = self.seinectl(
            *("workload", "group", "create", "--name", "db", *words, f"http={PORT}")
        )
        probe = {"httpGet": {"port": PORT, "path": "/up"}, "periodSeconds": 1}
        made = yaml.safe_load(group)
        manifest.write_text(yaml.safe_dump({**made, "spec": {**made["spec"], "probe": probe}}))
        asked = ("-f", str(manifest), "-o", str(self.brought), "--kubeconfig", kubeconfig)
        own = ("--autoregister", "--ingressIP", self.pod.host, "--clusterID", "Kubernetes")
        self.seinectl("workload", "entry", "configure", *asked, *own)

    def enter(self, user: int = 0) -> tuple[str, ...]:
        """The words before a command of the machine."""
        (self.brought / "etc-hosts").write_text("127.0.0.1 localhost\n")
        (self.brought / "resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
        view = ("unshare", "--mount", "sh", "-c", _UNDER, str(self.brought))
        become = self.pod.enter_as(user)[len(self.pod.enter) :] if user else ()
        return (*self.pod.enter, *view, *become)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],  # noqa: TID251  # a child's environment
            "PYTHONPATH": str(netns.ROOT),
            "SEINE_MTLS_ADDRESS": f"istiod.{SYSTEM}.svc:{self.ports['mtls']}",
        }

    def spoil_token(self) -> None:
        """Let the machine's token be one that expired long ago."""
        head, _, signature = (self.brought / "istio-token").read_text().split(".")
        claims = {"aud": ["istio-ca"], "exp": 1_000_000_000}
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        (self.brought / "istio-token").write_text(f"{head}.{body}.{signature}")


async def _laid(world: World, *flags: str) -> None:
    line = (sys.executable, "-m", "services.agent", "machine", "init")
    done = await asyncio.create_subprocess_exec(
        *world.enter(),
        *line,
        *("--folder", str(world.brought), *flags),
        env=world.environ,
        cwd=world.folder,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(done.communicate(), PATIENCE)
    assert done.returncode == 0, said.decode()


@asynccontextmanager
async def _machine(world: World) -> AsyncIterator[agents.Agent]:
    """Run the agent in the machine's working directory."""
    work = world.folder / "machine"
    work.mkdir(exist_ok=True)
    line = (sys.executable, "-m", "services.agent", "machine", "proxy")
    with (work / "agent.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *world.enter(netns.PROXY),
            *line,
            *("--folder", str(world.brought)),
            cwd=work,
            env=world.environ,
            stdout=log,
            stderr=log,
        )
        try:
            yield agents.Agent(process, work, world.pod.address)
        finally:
            await agents._end(process)


@asynccontextmanager
async def _gates(world: World) -> AsyncIterator[None]:
    """Let the machine reach the control plane's two ports, and nothing else of this host."""
    async with AsyncExitStack() as stack:
        for name, target in (("xds", world.apps.push.xds), ("mtls", world.apps.push.mtls)):
            gate = Gate(target)
            server = await asyncio.start_server(gate.accept, world.pod.host, 0)
            stack.callback(server.close)
            stack.callback(gate.cut)
            world.ports[name] = server.sockets[0].getsockname()[1]
        yield


@asynccontextmanager
async def _world(server: ApiServer, pod: Pod, folder: Path) -> AsyncIterator[World]:
    (folder / "apps").mkdir()
    async with kube.client_of(server, folder) as client:
        await define(client)
        await kube.account(client, "shop", "vm")
        own = {"machines_grace_seconds": 1.0}
        async with kube_apps(folder / "apps", server, client, of_discovery=own) as apps:
            world = World(apps, pod, folder)
            async with _gates(world):
                await _configured(world)
                kubeconfig = str(write_kubeconfig(server, folder / "admin"))
                await asyncio.to_thread(world.configure, kubeconfig)
                group: Any = yaml.safe_load((folder / "group.yaml").read_text())
                path = "/apis/networking.istio.io/v1/namespaces/shop/workloadgroups"
                await kube.ensure(client, path, group)
                yield world


async def _configured(world: World) -> None:
    """Tell the mesh where machines find it, what the machine serves, and what it calls."""
    address = f"istiod.{SYSTEM}.svc:{world.ports['xds']}"
    await apply(world.client, _mesh(address))
    await apply(world.client, _echo(world.pod.host))
    networking = "/apis/networking.istio.io/v1/namespaces/shop/serviceentries"
    await kube.ensure(world.client, networking, yaml.safe_load(_DB))
    strict = "/apis/security.istio.io/v1/namespaces/shop/peerauthentications"
    await kube.ensure(world.client, strict, yaml.safe_load(_STRICT))
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(NotFoundError):
                if await root_map(world.client, "shop"):
                    return
            await asyncio.sleep(0.1)


def _mesh(address: str) -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: {SYSTEM}}}
data:
  mesh: |
    defaultConfig: {{discoveryAddress: "{address}", concurrency: 1, terminationDrainDuration: 0s}}
"""


def _echo(address: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: shop}}
spec:
  ports: [{{name: http, port: 80, targetPort: {ABROAD}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-1
  namespace: shop
  labels: {{kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{{name: http, port: {ABROAD}, protocol: TCP}}]
endpoints:
- addresses: ["{address}"]
  conditions: {{ready: true}}
"""


_DB = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: db}}
spec:
  hosts: [{DB}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {PORT}}}]
  workloadSelector: {{labels: {{app: db}}}}
"""
_STRICT = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
"""


@asynccontextmanager
async def _caller(world: World) -> AsyncIterator[str]:
    """Run a pod of the mesh; yield the proxy by which it calls."""
    outbound = agents.loopback()
    token = await kube.pod_token(world.client, "shop", "caller-1", by="caller")
    place = _Place(world, token)
    proxy = {"discoveryAddress": f"127.0.0.1:{place.port}", "concurrency": 1}
    environ = {
        "PROXY_CONFIG": json.dumps({**proxy, "terminationDrainDuration": "0s"}),
        "ISTIO_META_INTERCEPTION_MODE": "NONE",
        "ISTIO_META_HTTP_PROXY_PORT": str(PROXY_PORT),
        "ISTIO_META_SEINE_OUTBOUND_ADDRESS": outbound,
    }
    async with agents.agent(
        place,  # type: ignore[arg-type]  # all that is used of a Mesh
        account="caller",
        environ=environ,
    ) as found:
        await found.ready()
        yield f"http://{outbound}:{PROXY_PORT}"


class _Place:
    """What a pod's agent needs to find the control plane."""

    def __init__(self, world: World, token: str) -> None:
        self.folder = world.folder / "caller"
        self.folder.mkdir()
        self.host = "127.0.0.1"
        self.port = world.apps.push.xds
        self.ca_address = f"127.0.0.1:{world.apps.ca.bound.token}"
        self.root_file = world.folder / "apps/roots.pem"
        self._token = token

    def token(self, account: str, namespace: str) -> str:
        del account, namespace
        return self._token


async def _called(proxy: str, status: int) -> str:
    """Call the machine by its service's name until that is the answer; return the body."""
    said: object = None
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"http://{DB}/", proxy=proxy) as answer:
                        said = (answer.status, body := await answer.text())
                        if answer.status == status:
                            return body
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{status} never came, but {said}") from None


async def _entries(client: Client, count: int) -> Sequence[Any]:
    """Return the entries once there are so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found: Any = await client.get(ENTRIES)
            if len(found["items"]) == count:
                return list(found["items"])
            await asyncio.sleep(0.1)


async def _resolved(pod: Pod, host: str) -> list[str]:
    """Ask the name server that nobody is, as a program of the machine."""

    def made() -> socket.socket:
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    with pod.inside(made) as asked:
        asked.setblocking(False)
        asked.connect((NAMESERVER, 53))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(asked, dns.query(host))
        return dns.read(await asyncio.wait_for(loop.sock_recv(asked, 4096), 60)).addresses


async def test_from_a_folder_of_files_to_requests_both_ways(
    server: ApiServer, pod: Pod, tmp_path: Path
) -> None:
    listening = [pod.listen(PORT), pod.listen(SSH), netns.listen(ABROAD, address=pod.host)]
    async with (
        meshed_pod.listening(listening),
        _world(server, pod, tmp_path) as world,
        _caller(world) as caller,
    ):
        await _called(caller, 503)  # nobody is there
        await _laid(world)
        async with _machine(world) as machine:
            await machine.ready()
            (entry,) = await _entries(world.client, 1)
            assert entry["metadata"]["name"] == f"db-{pod.address}"
            assert entry["spec"]["address"] == pod.address
            assert entry["metadata"]["annotations"][HEALTH_CHECKS] == "true"
            await _in_both_directions(pod, caller)
        await _entries(world.client, 0)
        await _called(caller, 503)
        await _with_its_certificate(world, caller)


async def _in_both_directions(pod: Pod, caller: str) -> None:
    assert "x-forwarded-client-cert:" in (await _called(caller, 200)).lower()

    async def refused() -> bool:
        return (await meshed_pod.ask(netns.dial(pod.address, PORT))).status != 200

    async def known() -> bool:
        if not (addresses := await _resolved(pod, ECHO)):
            return False
        went = await meshed_pod.ask(pod.dial(addresses[0], 80), ECHO)
        return (went.status, went.by_envoy) == (200, True)

    await _until(refused)  # STRICT holds
    await _until(known)
    ssh = await meshed_pod.ask(netns.dial(pod.address, SSH))
    assert (ssh.status, ssh.peer, ssh.by_envoy) == (200, pod.host, False)
    own = await meshed_pod.ask(pod.dial(pod.host, ABROAD, as_proxy=True))
    assert (own.status, own.by_envoy) == (200, False)  # what the agent itself calls


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return once it holds: configuration arrives when it arrives."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - others write
            await asyncio.sleep(0.1)


async def _with_its_certificate(world: World, caller: str) -> None:
    """Start again with a token that has expired, with the certificate and without."""
    world.spoil_token()
    async with _machine(world) as machine:
        await machine.ready()
        await _entries(world.client, 1)
        assert "x-forwarded-client-cert:" in (await _called(caller, 200)).lower()
    kept = world.folder / "machine/certs"
    kept.rename(world.folder / "certs-elsewhere")
    async with _machine(world) as machine:
        refused = machine.log.count("no certificate from the ca")
        await machine.until_log("no certificate from the ca", refused + 2)
        assert (await machine.get(15021, "/healthz/ready"))[0] != 200
        assert not (kept / "key.pem").exists()
    await _laid(world, "--cleanup-only")
    plain = await meshed_pod.ask(netns.dial(world.pod.address, PORT))
    assert (plain.status, plain.by_envoy) == (200, False)  # the control: the rules held it
