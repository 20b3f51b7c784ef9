"""Paths as policies read them: each mode of `pathNormalization` through a real Envoy.

A request is refused if its path, after normalisation, is the one that a DENY policy names.
"""

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
MODES = ("NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")
NONE, BASE, MERGE, DECODE = range(4)
TABLE = [
    # as written, as the policy names it, the first mode in which it is the same
    ("/foo", "/foo", NONE),
    ("/foo?x=/bar", "/foo", NONE),
    ("/foo/../bar", "/bar", BASE),
    ("/foo/./bar", "/foo/bar", BASE),
    ("/foo/%2e%2e/bar", "/bar", BASE),
    ("/foo/..%2fbar", "/bar", DECODE),
    ("/foo\\bar", "/foo/bar", BASE),
    ("/foo\\..\\bar", "/bar", BASE),
    ("/f%6fo", "/foo", BASE),
    ("//foo", "/foo", MERGE),
    ("/foo//bar", "/foo/bar", MERGE),
    ("/foo///bar", "/foo/bar", MERGE),
    ("/foo%2fbar", "/foo/bar", DECODE),
    ("/foo%2Fbar", "/foo/bar", DECODE),
    ("/foo%5cbar", "/foo/bar", DECODE),
    ("/foo%5Cbar", "/foo/bar", DECODE),
    ("/foo%2f%2fbar", "/foo/bar", DECODE),
    ("/FOO", "/foo", None),
    ("/foo%252fbar", "/foo/bar", None),
    ("/foo%20", "/foo", None),
    ("/foo;x", "/foo", None),
]


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


@pytest.mark.parametrize("mode", range(4), ids=MODES)
async def test_the_table(server: Server, mode: int) -> None:
    found, expected = {}, {}
    for named in sorted({named for _, named, _ in TABLE}):
        await under(server, MODES[mode], named)
        for written, wanted, first in TABLE:
            if wanted == named:
                found[written] = (await traffic.http(server.port("http"), written)).status
                same = first is not None and first <= mode
                expected[written] = 403 if same else 200
    assert found == expected


async def test_a_fragment_is_no_way_around(server: Server) -> None:
    await under(server, "BASE", "/foo")
    assert (await traffic.http(server.port("http"), "/foo#bar")).status in {400, 403}


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
