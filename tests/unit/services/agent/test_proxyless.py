"""The agent without Envoy: what it writes, when it is ready, which roots it says are trusted."""

import asyncio
import json
import stat
from pathlib import Path

import pytest

from libs.runtime.settings import load
from libs.runtime.tasks import background
from services.agent.http.server import Asked
from services.agent.issued import Issued
from services.agent.proxyless import BELIEVED_SECONDS, Proxyless
from services.agent.settings import AgentSettings
from services.agent.trust import identifiers
from tests.support.certificates import TestAuthority
from tests.support.clock import VirtualClock

NODE = {"id": "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"}
READY = Asked("GET", "/healthz/ready", "", {}, local=False)


def _issued(roots: bytes) -> Issued:
    return Issued(key="K", chain="C", roots=roots.decode(), not_before=0.0, not_after=1.0)


def _agent(folder: Path, clock: VirtualClock) -> Proxyless:
    environ = {
        "POD_NAME": "web-1",
        "INSTANCE_IP": "10.0.0.7",
        "DISABLE_ENVOY": "true",
        "OUTPUT_CERTS": str(folder / "certs"),
        "GRPC_XDS_BOOTSTRAP": str(folder / "grpc" / "bootstrap.json"),
    }
    settings = load(AgentSettings, environ)
    return Proxyless(settings, node=NODE, token=lambda: "", clock=clock)


def _content_and_mode(path: str) -> tuple[str, int]:
    return Path(path).read_text(), stat.S_IMODE(Path(path).stat().st_mode)


async def test_it_is_ready_when_bootstrap_and_certificate_are_there(tmp_path: Path) -> None:
    agent = _agent(tmp_path, VirtualClock())
    assert agent._answer(READY).status == 503
    agent._use(_issued(TestAuthority().issue("web").roots))
    assert agent._answer(READY).status == 200
    written = json.loads((tmp_path / "grpc" / "bootstrap.json").read_text())
    assert written["node"] == NODE
    config = written["certificate_providers"]["default"]["config"]
    assert _content_and_mode(config["private_key_file"]) == ("K", 0o640)
    assert written["xds_servers"][0]["server_uri"].startswith("unix:///")


async def test_a_disk_that_is_full_leaves_it_unready(tmp_path: Path) -> None:
    agent = _agent(tmp_path, VirtualClock())
    (tmp_path / "certs").write_text("a file in the way")
    agent._use(_issued(b""))
    assert agent._answer(READY).status == 503


async def test_new_roots_are_told_when_programs_have_read_them(tmp_path: Path) -> None:
    clock = VirtualClock()
    agent = _agent(tmp_path, clock)
    first, second = (TestAuthority().issue("web").roots for _ in range(2))
    agent._use(_issued(first))
    assert agent._trusted.header == identifiers(first.decode())
    changed = agent._trusted.next_change()
    async with background(agent._believe()):
        agent._use(_issued(first + second))
        await clock.advance(BELIEVED_SECONDS / 2)
        assert agent._trusted.header == identifiers(first.decode())
        await clock.advance(BELIEVED_SECONDS)
        both = identifiers((first + second).decode())
        async with asyncio.timeout(30):
            await changed.wait()
        assert agent._trusted.header == both


@pytest.mark.parametrize("path", ["/drain", "/elsewhere"])
async def test_other_pages_are_not_there(tmp_path: Path, path: str) -> None:
    asked = Asked("POST", path, "", {}, local=True)
    assert _agent(tmp_path, VirtualClock())._answer(asked).status == 404
