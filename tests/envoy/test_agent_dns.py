"""An agent that answers DNS queries: readiness, its own stream beside Envoy's, and its pages."""

import json
from pathlib import Path

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.xds.types import NAME_TABLE, Snapshot, resource, resource_set
from tests.support import agent as agents
from tests.support import dns
from tests.support.envoy_json import snapshot

EMPTY = snapshot([], [])
PORT = 15053


def named(host: str, address: str) -> Snapshot:
    table = NameTable()
    table.table[host].ips.append(address)
    found = resource("names", NAME_TABLE, body=table.SerializeToString(deterministic=True))
    return Snapshot({**EMPTY.sets, NAME_TABLE: resource_set(NAME_TABLE, [found])})


def captured(folder: Path, address: str) -> dict[str, str]:
    conf = folder / "resolv.conf"
    conf.write_text("search shop.svc.cluster.local\n")
    return {
        "ISTIO_META_DNS_CAPTURE": "true",
        "DNS_PROXY_ADDR": f"{address}:{PORT}",
        "SEINE_RESOLV_CONF": str(conf),
    }


async def test_names_come_on_a_stream_of_the_agents_own(tmp_path: Path) -> None:
    address = agents.loopback()
    where = (address, PORT)
    async with (
        agents.mesh(tmp_path, named("api.example.com", "240.240.0.1")) as mesh,
        agents.agent(mesh, address=address, environ=captured(tmp_path, address)) as agent,
    ):
        await agent.ready()
        for ask in (dns.by_udp, dns.by_tcp):
            found = dns.read(await ask(where, dns.query("api.example.com.shop.svc.cluster.local")))
            assert found.addresses == ["240.240.0.1"]
        status, page = await agent.get(15020, "/debug/ndsz")
        assert (status, json.loads(page)) == (200, {"api.example.com": ["240.240.0.1"]})
        assert "istio_agent_dns_requests_total 2.0" in (await agent.get(15020, "/metrics"))[1]
        assert len(mesh.tokens_seen) >= 3  # names, the bootstrap, Envoy; who is slow tries again

        mesh.plane.serve(named("other.example.com", "240.240.0.2"))
        asked = dns.query("other.example.com")
        while not dns.read(await dns.by_udp(where, asked)).addresses:
            pass
        assert dns.read(await dns.by_udp(where, dns.query("api.example.com"))).code == 2
        await agent.ready()


async def test_a_pod_without_names_is_not_ready(tmp_path: Path) -> None:
    address = agents.loopback()
    async with agents.mesh(tmp_path, named("api.example.com", "240.240.0.1")) as mesh:
        await mesh.stop_xds()
        async with agents.agent(
            mesh, address=address, environ=captured(tmp_path, address)
        ) as agent:
            assert "names for dns" in await agent.until(15020, "/healthz/ready", 503)
            found = await dns.by_udp((address, PORT), dns.query("api.example.com"))
            assert dns.read(found).code == 2
            await mesh.start_xds()
            await agent.ready()
            found = await dns.by_udp((address, PORT), dns.query("api.example.com"))
            assert dns.read(found).addresses == ["240.240.0.1"]


async def test_without_capture_nobody_listens(tmp_path: Path) -> None:
    address = agents.loopback()
    environ = captured(tmp_path, address)
    environ["ISTIO_META_DNS_CAPTURE"] = "false"
    async with (
        agents.mesh(tmp_path, named("api.example.com", "240.240.0.1")) as mesh,
        agents.agent(mesh, address=address, environ=environ) as agent,
    ):
        await agent.ready()
        assert (await agent.get(PORT, "/"))[0] == 0
        assert (await agent.get(15020, "/debug/ndsz"))[0] == 404
        assert NAME_TABLE not in mesh.plane.heard
