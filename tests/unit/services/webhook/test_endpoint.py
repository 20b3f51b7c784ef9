"""What the port does with requests that no API server would send."""

import asyncio
import gzip
import json
import ssl
from pathlib import Path

import pytest

from services.webhook.bodies import Bodies
from services.webhook.review import Question, Verdict
from tests.support.certificates import TestAuthority
from tests.support.webhook_port import NAME, Port, port_of

REVIEW = json.dumps(
    {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u", "object": {"kind": "Pod"}},
    }
).encode()


async def _allow(question: Question, path: str) -> Verdict:
    del question, path
    return Verdict()


async def _works(port: Port) -> bool:
    answer = await port.post(REVIEW)
    return answer.status == 200 and answer.json["response"] == {"uid": "u", "allowed": True}


async def test_a_review_is_answered() -> None:
    async with port_of(_allow) as port:
        assert await _works(port)
        answer = await port.post(REVIEW, path="/inject/cluster/a/net/b")
        assert answer.status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Content-Encoding": "br"}, 415),
    ],
)
async def test_other_types_and_compressed_bodies_are_refused(
    headers: dict[str, str], status: int
) -> None:
    async with port_of(_allow) as port:
        assert (await port.post(REVIEW, headers=headers)).status in {status, 400}
        assert await _works(port)


async def test_a_compressed_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 20_000_000)
    async with port_of(_allow) as port:
        answer = await port.post(bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status in {400, 415}
        assert await _works(port)


async def test_a_body_over_the_limit_is_refused_by_its_announced_length() -> None:
    async with port_of(_allow) as port:
        answer = await port.post(b"", headers={"Content-Length": str(7 * 1024 * 1024)})
        assert answer.status == 413


async def test_a_body_of_chunks_without_end_is_refused() -> None:
    async with port_of(_allow, bodies=Bodies(max_bytes=100_000)) as port:
        async with port.connected() as (reader, writer):
            head = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
            writer.write(f"POST /inject HTTP/1.1\r\nHost: {NAME}\r\n{head}\r\n".encode())
            for _ in range(30):
                writer.write(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
            assert b"413" in await reader.readline()
        assert await _works(port)


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with port_of(_allow, bodies=Bodies(seconds=2)) as port:
        async with port.connected() as (reader, writer):
            head = "Content-Type: application/json\r\nContent-Length: 100\r\n"
            writer.write(f"POST /inject HTTP/1.1\r\nHost: {NAME}\r\n{head}\r\n{{".encode())
            assert b"408" in await reader.readline()
        assert await _works(port)


async def test_one_body_too_many_is_told_to_come_back() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(question: Question, path: str) -> Verdict:
        del question, path
        entered.set()
        await leave.wait()
        return Verdict()

    async with port_of(slow, bodies=Bodies(at_once=1)) as port, asyncio.TaskGroup() as group:
        first = group.create_task(port.post(REVIEW))
        await entered.wait()
        assert (await port.post(REVIEW)).status == 503
        leave.set()
        assert (await first).status == 200


async def test_a_bug_is_answered_without_its_trace() -> None:
    async def broken(question: Question, path: str) -> Verdict:
        raise KeyError("a secret detail")

    async with port_of(broken) as port:
        answer = await port.post(REVIEW)
        assert answer.status == 500
        assert b"secret" not in answer.body
        assert b"Traceback" not in answer.body


async def test_other_methods_and_paths_are_not_served() -> None:
    async with port_of(_allow) as port:
        assert (await port.post(b"", method="GET")).status == 405
        assert (await port.post(REVIEW, path="/other")).status == 404


async def test_a_renewed_certificate_is_shown_at_once_and_open_connections_stay() -> None:
    async with port_of(_allow) as port:
        before = await port.post(REVIEW)
        async with port.connected() as (reader, writer):
            fresh = port.issue()
            port.certificate.use(fresh.key, fresh.chain)
            after = await port.post(REVIEW)
            assert before.serial != after.serial
            size = len(REVIEW)
            head = f"Content-Type: application/json\r\nContent-Length: {size}\r\n"
            first = f"POST /inject HTTP/1.1\r\nHost: {NAME}\r\n{head}\r\n"
            writer.write(first.encode() + REVIEW)
            assert b"200" in await reader.readline()


async def test_a_broken_certificate_is_not_used() -> None:
    async with port_of(_allow) as port:
        other = port.issue()
        with pytest.raises(ssl.SSLError):
            port.certificate.use(other.key, port.issue().chain)
        assert await _works(port)


async def test_connections_over_the_limit_are_closed() -> None:
    async with port_of(_allow, max_connections=2) as port:
        assert await _works(port)
        async with port.connected(), port.connected(), port.connected() as (reader, _):
            assert await reader.read() == b""


async def test_callers_must_prove_themselves_if_that_is_asked_for(tmp_path: Path) -> None:
    callers, strangers = TestAuthority("callers"), TestAuthority("strangers")
    roots = tmp_path / "callers.pem"
    roots.write_bytes(callers.issue("any").roots)
    async with port_of(_allow, client_roots=roots) as port:
        for authority, served in ((callers, True), (strangers, False), (None, False)):
            context = port.context()
            if authority is not None:
                issued = authority.issue("kube-apiserver", "kube-system")
                pem = tmp_path / "caller.pem"
                pem.write_bytes(issued.chain + issued.key)
                context.load_cert_chain(pem)
            assert await _is_served(port, context) is served


async def _is_served(port: Port, context: ssl.SSLContext) -> bool:
    try:
        return (await port.post(REVIEW, context=context)).status == 200
    except (OSError, IndexError, asyncio.IncompleteReadError):
        return False
