"""Paths as policies read them, byte for byte: `behaviour/paths.yaml` has the rest."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec import structs

from libs.model.security import AccessPolicy, AccessRule, Action, Operation
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

WORKLOAD = Workload(ports={"http": Protocol.HTTP})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    async with serving(TestAuthority(), WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


async def under(server: Server, mode: str, *named: str) -> None:
    deny: AccessPolicy = rows.access_policy(
        "deny",
        action=Action.DENY,
        rules=tuple(AccessRule(operations=(Operation(paths=(path,)),)) for path in named),
    )
    settings = MeshSettings(path_normalization=mode)
    await server.apply(structs.replace(WORKLOAD, settings=settings, policies=(deny,)))
    assert await server.envoy.complaints() == []


@pytest.mark.parametrize("mode", ["BASE", "DECODE_AND_MERGE_SLASHES"])
async def test_every_escaped_byte(server: Server, mode: str) -> None:
    await under(server, mode, "/a*")
    passed = set()
    for byte in range(256):
        path = f"/%{byte:02x}dmin"
        answer = await traffic.http(server.port("http"), path)
        if answer.status == 403:
            passed.add(chr(byte))
    assert passed == {"a"}, "only an escaped a is an a"
