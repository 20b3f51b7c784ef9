"""`python -m services.ca` as a process: what it prints, what it leaves, what its user can read."""

import base64
import json
import stat
import sys
from pathlib import Path

import pytest

from libs.pki import bundle, csr
from libs.rpc import ca_client
from libs.rpc.errors import CaError
from tests.support.pki_ca import BOB
from tests.support.pki_process import started


async def test_it_signs_stops_and_keeps_its_root(tmp_path: Path) -> None:
    request = csr.make_with_key(BOB)[1]
    async with started(tmp_path) as first:
        chain = await ca_client.sign(first.address, request)
        roots = (tmp_path / "root.pem").read_text()
        assert chain[-1] == roots
        code, _ = await first.stop()
        assert code == 0
        with pytest.raises(CaError):
            await ca_client.sign(first.address, request)
        await first.start()
        again = await ca_client.sign(first.address, request)
    assert again[-1] == roots
    assert bundle.parse(again[0].encode()) != bundle.parse(chain[0].encode())


async def test_the_signing_key_is_seen_nowhere(tmp_path: Path) -> None:
    async with started(tmp_path) as ca:
        request = csr.make_with_key(BOB)[1]
        await ca_client.sign(ca.address, request)
        (tmp_path / "token").write_text("not.a.token")
        for bad in (request, b"", b"x"):
            try:
                await ca_client.sign(ca.address, bad)
            except CaError:
                continue
        pages = [await ca.get(path) for path in ("/metrics", "/ready", "/version", "/nothing")]
        _, log = await ca.stop()
    secret = _private_part(tmp_path / "ca" / "ca-key.pem")
    haystack = "\n".join([log, *pages]).encode()
    hits = _fragments_in(haystack, secret)
    assert _fragments_in(haystack + secret[40:60].hex().encode(), secret)  # the search can find
    sys.stdout.write(f"key: {len(haystack)} bytes of logs and pages searched, hits = {len(hits)}\n")
    assert hits == []
    assert b"not.a.token" not in haystack
    for line in log.splitlines():
        assert json.loads(line)["service"] == "ca"


def _private_part(key_file: Path) -> bytes:
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    der = base64.b64decode("".join(key_file.read_text().splitlines()[1:-1]))
    return der[-120:]  # the private number is in here


def _fragments_in(haystack: bytes, secret: bytes) -> list[bytes]:
    parts = [secret[start : start + 12] for start in range(0, len(secret) - 12, 4)]
    return [spelt for part in parts for spelt in _spellings(part) if spelt in haystack]


def _spellings(part: bytes) -> list[bytes]:
    return [part, part.hex().encode(), base64.b64encode(part)[:12]]


async def test_its_memory_is_closed_to_its_own_user(tmp_path: Path) -> None:
    async with started(tmp_path) as ca:
        owner, core_limit = _seen_from_outside(ca.process.pid)
    assert owner == 0
    assert core_limit == ["0", "0"]


def _seen_from_outside(pid: int) -> tuple[int, list[str]]:
    proc = Path(f"/proc/{pid}")
    limits = (proc / "limits").read_text().splitlines()
    core = next(line for line in limits if "core file" in line)
    return (proc / "mem").stat().st_uid, core.split()[4:6]


async def test_metrics_have_istios_names(tmp_path: Path) -> None:
    async with started(tmp_path) as ca:
        await ca_client.sign(ca.address, csr.make_with_key(BOB)[1])
        text = await ca.get("/metrics")
    lines = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("citadel_server")
    )
    assert float(lines["citadel_server_csr_count"]) == 1
    assert float(lines["citadel_server_success_cert_issuance_count"]) == 1
    assert float(lines["citadel_server_authentication_failure_count"]) == 0
    assert float(lines["citadel_server_root_cert_expiry_seconds"]) > 3600 * 24 * 3000
    assert float(lines["citadel_server_cert_chain_expiry_timestamp"]) > 1_800_000_000
