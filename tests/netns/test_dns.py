"""DNS in a pod's namespace: an application that knows nothing asks, and the agent answers.

Rules as `agent init --redirect-dns` lays them; the C library's own resolver asks, by UDP and TCP.
"""

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.xds.types import NAME_TABLE, Snapshot, resource, resource_set
from tests.support import agent as agents
from tests.support import dns, netns
from tests.support.agent import Agent, Mesh
from tests.support.envoy_json import snapshot
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

SEARCH = "shop.svc.cluster.local svc.cluster.local cluster.local"
_UNDER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
_ASK = """
import json, socket, sys
found = {}
for name in sys.argv[1:]:
    try:
        rows = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        found[name] = sorted({row[4][0] for row in rows})
    except socket.gaierror as error:
        found[name] = [error.args[0]]
print(json.dumps(found))
"""


@pytest.fixture(params=netns.BACKENDS)
def pod(request: pytest.FixtureRequest) -> Iterator[Pod]:
    with netns.pod(nftables=request.param == "nftables") as made:
        yield made


class World(Struct):
    """A pod with its agent, and the network's server outside."""

    pod: Pod
    folder: Path
    mesh: Mesh
    agent: Agent
    outside: dns.Server
    server: str
    """The network's own, which resolv.conf names."""

    async def ask(self, *names: str, tcp: bool = False) -> dict[str, list[object]]:
        """Ask as an application of the pod would."""
        options = "options ndots:5 timeout:20 attempts:1" + (" use-vc" if tcp else "")
        line = (sys.executable, "-c", _ASK, *names)
        done = await asyncio.create_subprocess_exec(
            *under(self.pod, resolv_conf(self.folder, self.server, options)),
            *line,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(done.communicate(), 120)
        found: dict[str, list[object]] = json.loads(out)
        return found

    async def passed_on(self) -> float:
        """Return what the agent's counter says."""
        _, page = await self.agent.get(15020, "/metrics")
        name = "istio_agent_dns_upstream_requests_total "
        (row,) = [line for line in page.splitlines() if line.startswith(name)]
        return float(row.removeprefix(name))


def resolv_conf(folder: Path, server: str, options: str = "") -> Path:
    path = folder / f"resolv-{len(options)}.conf"
    path.write_text(f"nameserver {server}\nsearch {SEARCH}\n{options}\n")
    return path


def under(pod: Pod, conf: Path) -> tuple[str, ...]:
    """The words before a command that sees another resolv.conf."""
    return (*pod.enter, "unshare", "--mount", "sh", "-c", _UNDER, str(conf))


def names(**rows: str) -> Snapshot:
    table = NameTable()
    for written, address in rows.items():
        host = written.replace("_", ".")
        table.table[host].ips.append(address)
        if host.endswith(".local"):
            table.table[host].registry = "Kubernetes"
            table.table[host].namespace = host.split(".")[1]
    found = resource("names", NAME_TABLE, body=table.SerializeToString(deterministic=True))
    return Snapshot({**snapshot([], []).sets, NAME_TABLE: resource_set(NAME_TABLE, [found])})


MESH = names(
    web_shop_svc_cluster_local="10.96.0.1",
    db_data_svc_cluster_local="10.96.0.2",
    api_example_com="240.240.0.1",
    six_shop_svc_cluster_local="fd00:96::3",
)


def outside_socket(server: str, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((server, 53))
    return made


@asynccontextmanager
async def world(folder: Path, pod: Pod, *flags: str, family: int = 4) -> AsyncIterator[World]:
    server = pod.host if family == 4 else pod.host6
    conf = resolv_conf(folder, server)
    by_nft = ("--native-nftables",) if pod.nftables else ()
    init = (sys.executable, "-m", "services.agent", "init", *by_nft, *flags)
    netns.run(*under(pod, conf), "sh", "-c", f'cd {netns.ROOT} && exec "$0" "$@"', *init)
    environ = {
        "SEINE_LISTEN_ADDRESS": "0.0.0.0",  # noqa: S104 - inside the pod
        "SEINE_ADMIN_ADDRESS": "127.0.0.1",
        "SEINE_RESOLV_CONF": str(conf),
        "ISTIO_META_DNS_CAPTURE": "true",
    }
    outside = dns.Server({"outside.test": ["192.0.2.1"], "late.shop.svc.cluster.local": []})
    async with (
        outside.serving(
            outside_socket(server, socket.SOCK_DGRAM), outside_socket(server, socket.SOCK_STREAM)
        ),
        agents.mesh(folder, MESH, host=pod.host) as mesh,
        agents.agent(
            mesh, address=pod.address, environ=environ, prefix=pod.enter_as_proxy
        ) as agent,
    ):
        await agent.ready()
        yield World(pod, folder, mesh, agent, outside, server)


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("family", [4, 6])
async def test_an_application_finds_the_mesh_and_the_rest(
    tmp_path: Path, pod: Pod, family: int, tcp: bool
) -> None:
    async with world(tmp_path, pod, "--redirect-dns", family=family) as found:
        hosts = {
            "web": ["10.96.0.1"],
            "web.shop": ["10.96.0.1"],
            "db.data": ["10.96.0.2"],
            "db.data.svc.cluster.local": ["10.96.0.2"],
            "api.example.com": ["240.240.0.1"],
            "six": ["fd00:96::3"],
        }
        assert await found.ask(*hosts, tcp=tcp) == hosts
        assert found.outside.asked == []
        assert await found.passed_on() == 0
        assert await found.ask("outside.test", tcp=tcp) == {"outside.test": ["192.0.2.1"]}
        assert {way for way, _ in found.outside.asked} == {"tcp" if tcp else "udp"}
        assert await found.passed_on() == len(found.outside.asked)
        assert await found.ask("nowhere.test", tcp=tcp) == {"nowhere.test": [socket.EAI_NONAME]}


@pytest.mark.parametrize("family", [4, 6])
async def test_without_the_rules_the_agent_is_not_asked(
    tmp_path: Path, pod: Pod, family: int
) -> None:
    async with world(tmp_path, pod, family=family) as found:
        assert await found.ask("web") == {"web": [socket.EAI_NONAME]}
        assert await found.passed_on() == 0
        assert found.outside.asked


async def test_the_mesh_is_known_while_everything_else_is_away(tmp_path: Path, pod: Pod) -> None:
    async with world(tmp_path, pod, "--redirect-dns") as found:
        found.outside.silent = 1000
        await found.mesh.stop_xds()
        await found.agent.until_log("stream of names ended")
        assert await found.ask("web", "db.data") == {"web": ["10.96.0.1"], "db.data": ["10.96.0.2"]}
        assert found.outside.asked == []
        found.mesh.plane.serve(names(web_shop_svc_cluster_local="10.96.0.9"))
        await found.mesh.start_xds()
        async with asyncio.timeout(120):
            while await found.ask("web") != {"web": ["10.96.0.9"]}:
                pass
