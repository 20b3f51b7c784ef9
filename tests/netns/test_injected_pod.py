"""An injected pod for real: its own flags, its own environment, and kubelet's probes under STRICT.

What injection wrote is used as it is, but for addresses of this machine: the init container's flags
lay the rules, the proxy's variables start the agent, and whoever asks from outside is kubelet.
"""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import meshed_pod, netns, traffic
from tests.support import pods as injection
from tests.support.agent import ROOT, Agent
from tests.support.certificates import TestAuthority
from tests.support.meshed_pod import STRICT, MeshedPod, service
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

HTTP, HTTPS, TCP, GRPC, CLOSED = 8080, 8443, 9000, 9001, 9999
PATIENT = {"timeoutSeconds": 30}  # a busy machine is not an ill one
APP = {
    "name": "web",
    "image": "web:1",
    "ports": [{"name": "http", "containerPort": HTTP}],
    "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, **PATIENT},
    "livenessProbe": {"httpGet": {"path": "/live", "port": HTTPS, "scheme": "HTTPS"}, **PATIENT},
    "startupProbe": {"tcpSocket": {"port": TCP}, **PATIENT},
    "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": "http"}}},
}
OTHER = {
    "name": "rpc",
    "image": "rpc:1",
    "readinessProbe": {"grpc": {"port": GRPC, "service": "shop"}, **PATIENT},
    "livenessProbe": {"grpc": {"port": GRPC, "service": "sick"}, **PATIENT},
    "startupProbe": {"tcpSocket": {"port": CLOSED}},
}


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.pod() as made:
        yield made


@asynccontextmanager
async def _applications(pod: Pod, folder: Path) -> AsyncIterator[list[str]]:
    """Run what the containers would; yields the paths that the first was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            asked.append(head.split()[1].decode())
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nwell")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with AsyncExitStack() as stack:
        for port, context in ((HTTP, None), (HTTPS, _tls(folder)), (TCP, None)):
            listening = pod.listen(port)
            listening.settimeout(None)
            server = await asyncio.start_server(serve, sock=listening, ssl=context)
            stack.callback(server.close)
        await stack.enter_async_context(_grpc(pod))
        yield asked


def _tls(folder: Path) -> ssl.SSLContext:
    issued = TestAuthority().issue("web")
    path = folder / "web.pem"
    path.write_bytes(issued.chain + issued.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@asynccontextmanager
async def _grpc(pod: Pod) -> AsyncIterator[None]:

    command = (sys.executable, "-m", "tests.support.grpc_health", str(GRPC))
    process = await asyncio.create_subprocess_exec(
        *pod.enter, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"listening\n"
        yield
    finally:
        process.kill()
        await process.wait()


def _given() -> dict[str, Any]:
    return injection.pod(APP, OTHER, labels={"app": "web"}, serviceAccountName="web")


@asynccontextmanager
async def _running(
    pod: Pod, folder: Path, *policies: dict[str, Any]
) -> AsyncIterator[tuple[Agent, list[str]]]:
    wanted = MeshedPod(_given(), (pod.address,), (service("web", HTTP), *policies))
    async with (
        _applications(pod, folder) as asked,
        meshed_pod.running(pod, folder, wanted) as agent,
    ):
        yield agent, asked


def _kubelet(made: dict[str, Any]) -> dict[str, tuple[int, str]]:
    """Return port and path of each probe and hook, as kubelet reads them in the pod."""
    found = {}
    for container in made["spec"]["containers"]:
        hooks = container.get("lifecycle", {})
        for name, probe in {**container, **hooks}.items():
            if isinstance(probe, dict) and "httpGet" in probe:
                get = probe["httpGet"]
                found[f"{container['name']} {name}"] = (get["port"], get["path"])
    return found


async def test_probes_and_hooks_work_though_plain_text_is_refused(tmp_path: Path, pod: Pod) -> None:
    probes = _kubelet(injection.result(_given()))
    async with _running(pod, tmp_path, STRICT) as (agent, asked):
        direct = await traffic.http((pod.address, HTTP), "/ready")
        answers = {name: (await agent.get(*place))[0] for name, place in probes.items()}
    assert direct.status != 200
    assert answers == {
        "web readinessProbe": 200,
        "web livenessProbe": 200,
        "web startupProbe": 200,
        "web preStop": 200,
        "rpc readinessProbe": 200,
        "rpc livenessProbe": 500,
        "rpc startupProbe": 500,
    }
    assert {"/ready", "/live", "/bye"} <= set(asked)


async def test_the_same_plain_text_is_served_where_nothing_refuses_it(
    tmp_path: Path, pod: Pod
) -> None:
    """The control: it is STRICT that refuses what kubelet would have sent."""
    async with _running(pod, tmp_path):
        direct = await traffic.http((pod.address, HTTP), "/ready")
    assert direct.status == 200
