"""The DNS port against real sockets: what is answered here, what is passed on, and rude peers."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.runtime.clock import SystemClock
from services.agent.dns import names, server, upstream
from services.agent.dns.names import Names
from services.agent.dns.server import Answers
from services.agent.dns.upstream import Upstream
from tests.support import dns

DOMAIN = "shop.svc.cluster.local"
WEB = f"web.{DOMAIN}"


class Port:
    """A DNS port, the network's server behind it, and what it knows."""

    def __init__(self) -> None:
        self.outside = dns.Server({"outside.example": ["192.0.2.1"]})
        self.names: Names | None = mesh_names()
        self.servers: list[upstream.Server] = []
        self.address = ("127.0.0.1", 0)

    async def udp(self, name: str, kind: int = dns.A) -> dns.Response:
        return dns.read(await dns.by_udp(self.address, dns.query(name, kind)))

    async def tcp(self, name: str, kind: int = dns.A) -> dns.Response:
        return dns.read(await dns.by_tcp(self.address, dns.query(name, kind)))


def mesh_names() -> Names:
    table = NameTable()
    entry = table.table[WEB]
    entry.registry, entry.namespace = "Kubernetes", "shop"
    entry.ips.append("10.0.0.1")
    table.table["many.example"].ips.extend(f"10.1.{n // 250}.{n % 250}" for n in range(1000))
    return names.build(table, domain=DOMAIN, search=[DOMAIN])


@pytest.fixture
def attempt_seconds() -> float:
    """Longer than a busy machine takes; where a server is silent it is short."""
    return 20.0


@pytest.fixture
async def port(attempt_seconds: float) -> AsyncIterator[Port]:
    made = Port()
    async with made.outside.serving():
        made.servers.append(("127.0.0.1", made.outside.port))
        asking = Upstream(made.servers, clock=SystemClock(), attempt_seconds=attempt_seconds)
        answers = Answers(lambda: made.names, asking)
        async with server.serve(["127.0.0.1"], 0, answers) as number:
            made.address = ("127.0.0.1", number)
            yield made


async def test_names_of_the_mesh_are_answered_here(port: Port) -> None:
    for ask in (port.udp, port.tcp):
        assert (await ask(WEB)).addresses == ["10.0.0.1"]
        assert (await ask("web")).addresses == ["10.0.0.1"]
    assert port.outside.asked == []


async def test_a_known_host_has_no_address_of_the_other_family(port: Port) -> None:
    found = await port.udp(WEB, dns.AAAA)
    assert (found.code, found.answers) == (0, ())
    assert port.outside.asked == []


async def test_other_names_are_passed_on_the_way_they_came(port: Port) -> None:
    assert (await port.udp("outside.example")).addresses == ["192.0.2.1"]
    assert (await port.tcp("outside.example")).addresses == ["192.0.2.1"]
    assert (await port.udp("nowhere.example")).code == 3
    ways = [way for way, _ in port.outside.asked]
    assert ways == ["udp", "tcp", "udp"]


async def test_a_name_of_the_mesh_is_never_said_not_to_exist(port: Port) -> None:
    assert (await port.udp("nowhere.example", dns.MX)).code == 3
    found = await port.udp(WEB, dns.MX)
    assert (found.code, found.answers) == (0, ())
    assert port.outside.asked[-1] == ("udp", WEB)


async def test_a_cut_answer_is_had_by_tcp(port: Port) -> None:
    port.outside.cut = True
    assert (await port.udp("outside.example")).truncated
    assert (await port.tcp("outside.example")).addresses == ["192.0.2.1"]
    assert (await port.udp("many.example")).truncated
    assert len((await port.tcp("many.example")).addresses) == 1000


async def test_every_query_begins_with_another_address(port: Port) -> None:
    first = {(await port.tcp("many.example")).answers[0][3] for _ in range(3)}
    assert len(first) == 3


@pytest.mark.parametrize("attempt_seconds", [0.3])
async def test_a_server_that_is_silent_is_asked_again(port: Port) -> None:
    port.outside.silent = 1
    assert (await port.udp("outside.example")).addresses == ["192.0.2.1"]
    assert len(port.outside.asked) >= 2


@pytest.mark.parametrize("attempt_seconds", [0.3])
async def test_the_mesh_is_known_while_no_server_answers(port: Port) -> None:
    port.outside.silent = 1000
    async with asyncio.TaskGroup() as group:
        outside = group.create_task(port.udp("outside.example"))
        assert (await port.udp(WEB)).addresses == ["10.0.0.1"]
    assert outside.result().code == 2
    assert (await port.udp(WEB)).addresses == ["10.0.0.1"]


@pytest.mark.parametrize("attempt_seconds", [0.3])
async def test_another_server_answers_for_one_that_is_away(port: Port) -> None:
    port.servers.insert(0, ("127.0.0.1", 9))
    assert (await port.udp("outside.example")).addresses == ["192.0.2.1"]
    assert (await port.tcp("outside.example")).addresses == ["192.0.2.1"]


async def test_before_the_first_table_nothing_is_claimed(port: Port) -> None:
    port.names = None
    assert (await port.udp(WEB)).code == 2
    assert (await port.udp("outside.example")).code == 2
    assert port.outside.asked == []


async def test_queries_that_come_back_are_refused(port: Port) -> None:
    port.servers[:] = [port.address]
    found = await asyncio.wait_for(port.udp("outside.example"), 60)
    assert found.code == 5


@pytest.mark.parametrize("attempt_seconds", [1.0])
async def test_too_many_queries_fail_at_once(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_IN_FLIGHT", 1)
    port.outside.silent = 1
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        first = group.create_task(port.udp("outside.example"))
        while not port.outside.asked:  # noqa: ASYNC110 - the server is a socket
            await asyncio.sleep(0)
        assert (await port.udp("other.example")).code == 2
    assert first.result().addresses == ["192.0.2.1"]


async def test_rude_peers_do_not_matter(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dns.read(await dns.by_udp(port.address, dns.query(WEB)[:-1])).code == 1
    assert await dns.by_tcp(port.address, b"nonsense") == b""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(server, "IDLE_SECONDS", 3.0)  # the second comes before the first ends
    reader, writer = await asyncio.open_connection(*port.address)
    try:
        writer.write(b"\0")
        assert await dns.by_tcp(port.address, dns.query(WEB)) == b""
        assert await asyncio.wait_for(reader.read(), 60) == b""
    finally:
        writer.close()
    assert (await port.tcp(WEB)).addresses == ["10.0.0.1"]
