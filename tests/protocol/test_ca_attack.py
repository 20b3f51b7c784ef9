"""Strangers who cost the CA something: it stays up, stays its size, and signs for honest callers.

Prints figures; asserts only that nothing grows and that honest callers are served.
"""

import asyncio
import contextlib
import ssl
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from libs.pki import csr
from libs.rpc import ca_client
from libs.rpc.errors import CaError
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from tests.support.pki_ca import BOB
from tests.support.pki_process import Process, started

CLOCK = SystemClock()
REQUEST = csr.make_with_key(BOB)[1]
LEFT = 5
"""File descriptors that may be more than before."""
GENEROUS = {
    "SEINE_PEER_RATE": "100000",
    "SEINE_PEER_BURST": "100000",
    "SEINE_IDENTITY_RATE": "10000",
    "SEINE_IDENTITY_BURST": "10000",
}


async def honest(ca: Process, attempts: int = 20) -> str:
    """Ask with a new connection each time; return the figures."""
    taken = []
    for _ in range(attempts):
        start = CLOCK.monotonic()
        chain = await ca_client.sign(ca.address, REQUEST)
        assert len(chain) == 2
        taken.append((CLOCK.monotonic() - start) * 1000)
    taken.sort()
    return f"honest connect and sign p50 {taken[len(taken) // 2]:.0f} ms, max {taken[-1]:.0f} ms"


async def test_silent_connections_hold_nobody_up(tmp_path: Path) -> None:
    async with started(tmp_path, **GENEROUS) as ca:
        before = await ca.gauge("process_open_fds")
        held = [await asyncio.open_connection("127.0.0.1", ca.ports[0]) for _ in range(500)]
        during = await ca.gauge("process_open_fds")
        figures = await honest(ca)
        async with asyncio.timeout(60):
            for reader, writer in held:
                await reader.read()  # the CA hangs up by itself
                writer.close()
        after = await ca.settled("process_open_fds", before + 20)
    sys.stdout.write(
        f"silent: 500 connections, FDs {before:.0f}/{during:.0f}/{after:.0f}; {figures}\n"
    )
    assert after <= before + 20


async def refused_requests(ca: Process) -> None:
    """Ask a hundred times with a token that proves nothing, over new connections."""
    for _ in range(100):
        try:
            await ca_client.sign(ca.address, REQUEST)
        except CaError:
            continue
        raise AssertionError


async def failed_handshakes(ca: Process) -> None:
    """Connect a hundred times and talk nonsense."""
    for _ in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", ca.ports[1])
        try:
            writer.write(b"GET / HTTP/1.1\r\n\r\n" * 10)
            with contextlib.suppress(ConnectionError):
                await reader.read()
        finally:
            writer.close()


async def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    async with started(tmp_path, **GENEROUS) as ca:
        good = (tmp_path / "token").read_bytes()
        (tmp_path / "token").write_text("not.a.token")
        await grown(ca, [failed_handshakes, refused_requests])  # warm up
        report, fds = [], 0.0
        for attack in (failed_handshakes, refused_requests):
            more_fds, more_kib = await grown(ca, [attack] * 5)
            fds = max(fds, more_fds)
            report.append(f"{attack.__name__} x 500: FDs {more_fds:+.0f}, RSS {more_kib:+.0f} KiB")
        (tmp_path / "token").write_bytes(good)
        report.append(await honest(ca))
    sys.stdout.write("leaks: " + "; ".join(report) + "\n")
    assert fds <= LEFT


async def grown(
    ca: Process, attacks: list[Callable[[Process], Awaitable[None]]]
) -> tuple[float, float]:
    names = ("process_open_fds", "process_resident_memory_bytes")
    before = [await ca.gauge(name) for name in names]
    for attack in attacks:
        await attack(ca)
    after = await ca.settled(names[0], before[0] + LEFT), await ca.gauge(names[1])
    return after[0] - before[0], (after[1] - before[1]) / 1024


def frame(kind: int, payload: bytes, flags: int, stream: int) -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def literal(index: int, text: str) -> bytes:
    return bytes([index, len(text)]) + text.encode()


HEADERS = (
    b"\x83\x87"  # POST, https
    + literal(0x44, "/istio.v1.auth.IstioCertificateService/CreateCertificate")
    + literal(0x41, "ca")
    + b"\x40\x0ccontent-type\x10application/grpc"
    + b"\x40\x02te\x08trailers"
)


async def rapid_resets(port: int, until: asyncio.Event, count: list[int]) -> None:
    """Open and reset streams as fast as possible, connection after connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    while not until.is_set():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, b"", 0, 0))
            for stream in range(1, 20_001, 2):
                writer.write(frame(1, HEADERS, 4, stream) + frame(3, b"\0\0\0\x08", 0, stream))
                count[0] += 1
                if stream % 200 == 1:
                    await writer.drain()
                if until.is_set():
                    break
            writer.close()
        except (ConnectionError, ssl.SSLError):
            continue


async def test_rapid_resets_do_not_starve_honest_callers(tmp_path: Path) -> None:
    async with started(tmp_path, **GENEROUS) as ca:
        until, count = asyncio.Event(), [0]
        calm = await honest(ca, attempts=10)
        cpu = await ca.gauge("process_cpu_seconds_total")
        start = CLOCK.monotonic()
        attackers = [rapid_resets(ca.ports[0], until, count) for _ in range(2)]
        async with background(*attackers):
            figures = await honest(ca, attempts=15)
            until.set()
        spent = await ca.gauge("process_cpu_seconds_total") - cpu
        seconds = CLOCK.monotonic() - start
        after = await honest(ca, attempts=5)
    sys.stdout.write(
        f"rapid reset: {count[0]} in {seconds:.1f} s by 2 attackers, CA used {spent:.1f} CPU s; "
        f"calm: {calm}; during: {figures}; after: {after}\n"
    )
