"""Authorizers outside the proxy, asked by a real Envoy: plain HTTP and gRPC, and none at all."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import attribute_context_pb2, external_auth_pb2
from msgspec import structs

from libs.model.providers import Authorizer
from libs.model.security import AccessPolicy, AccessRule, Action, Operation
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = f"127.67.{os.getpid() % 256}.{1 + os.getpid() // 256 % 254}"
"""This run's own, and so are all its ports."""
HTTP_PORT, GRPC_PORT, NOBODY = 9101, 9102, 9103
SERVICE = rows.service(
    "authz",
    rows.port(HTTP_PORT),
    rows.port(GRPC_PORT, Protocol.GRPC),
    rows.port(NOBODY),
)
PLAIN = Authorizer(
    name="plain",
    host=SERVICE.host,
    port=HTTP_PORT,
    http=True,
    path_prefix="/check",
    request_headers=("x-key", "x-al*"),
    additional_headers={"x-mesh": "seine"},
    upstream_on_allow=("x-user",),
    downstream_on_deny=("x-why",),
)
CALLED = Authorizer(name="called", host=SERVICE.host, port=GRPC_PORT)
DEAD = Authorizer(name="dead", host=SERVICE.host, port=NOBODY, http=True)
OPEN = structs.replace(DEAD, name="open", fail_open=True)
LATE = structs.replace(DEAD, name="late", status_on_error=503)
HIDDEN = Authorizer(name="hidden", host="nowhere.example", port=80, http=True)
WORKLOAD = Workload(
    ports={"http": Protocol.HTTP, "tcp": Protocol.TCP},
    others=(SERVICE, rows.endpoints(SERVICE, ADDRESS, mtls=False)),
    settings=MeshSettings(providers=(PLAIN, CALLED, DEAD, OPEN, LATE, HIDDEN)),
)


class Decisions:
    """The authorizers: whoever brings the header `x-key: good` may pass."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {":path": first.split()[1], **dict(line.split(": ", 1) for line in lines)}
        self.asked.append(headers)
        good = headers.get("x-key") == "good"
        status, extra = ("200 OK", "x-user: ann") if good else ("418 Teapot", "x-why: no key")
        reply = f"HTTP/1.1 {status}\r\n{extra}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        writer.write(reply.encode())
        await writer.drain()
        writer.close()

    async def check(
        self, request: external_auth_pb2.CheckRequest, _: object
    ) -> external_auth_pb2.CheckResponse:
        attributes: attribute_context_pb2.AttributeContext = request.attributes
        headers = dict(attributes.request.http.headers)
        self.asked.append(headers)
        answer = external_auth_pb2.CheckResponse()
        if headers.get("x-key") == "good":
            header = base_pb2.HeaderValue(key="x-user", value="bob")
            answer.ok_response.headers.add(header=header)
        else:
            answer.status.code = grpc.StatusCode.PERMISSION_DENIED.value[0]
        return answer


@asynccontextmanager
async def deciding() -> AsyncIterator[Decisions]:
    decisions = Decisions()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        decisions.check,
        external_auth_pb2.CheckRequest.FromString,
        external_auth_pb2.CheckResponse.SerializeToString,
    )
    name = "envoy.service.auth.v3.Authorization"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"Check": handler}),)
    )
    server.add_insecure_port(f"{ADDRESS}:{GRPC_PORT}")
    await server.start()
    plain = await asyncio.start_server(decisions.serve, ADDRESS, HTTP_PORT)
    try:
        yield decisions
    finally:
        plain.close()
        await server.stop(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def decisions() -> AsyncIterator[Decisions]:
    async with deciding() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    decisions: Decisions, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    del decisions
    async with serving(TestAuthority(), WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


def ask(*providers: str, paths: tuple[str, ...] = ("/admin*",)) -> list[AccessPolicy]:
    rule = AccessRule(operations=(Operation(paths=paths),))
    return [
        rows.access_policy(f"ask-{it}", action=Action.CUSTOM, provider=it, rules=(rule,))
        for it in providers
    ]


async def under(server: Server, policies: list[AccessPolicy]) -> None:
    await server.apply(structs.replace(WORKLOAD, policies=policies))
    assert await server.envoy.complaints() == []


async def get(server: Server, path: str, **headers: str) -> traffic.Answer:
    return await traffic.http(server.port("http"), path, headers=headers)


@pytest.mark.parametrize(("provider", "user"), [("plain", "ann"), ("called", "bob")])
async def test_the_authorizer_decides_about_what_the_rules_cover(
    server: Server, decisions: Decisions, provider: str, user: str
) -> None:
    await under(server, ask(provider))
    decisions.asked.clear()
    passed = await get(server, "/admin/x", **{"x-key": "good"})
    assert passed.status == 200
    assert f"x-user: {user}" in passed.body.lower()
    refused = await get(server, "/admin/x", **{"x-key": "bad"})
    assert refused.status == (418 if provider == "plain" else 403)
    assert len(decisions.asked) == 2
    assert (await get(server, "/open")).status == 200
    assert len(decisions.asked) == 2, "nobody is asked about the rest"


async def test_what_a_plain_authorizer_is_shown_and_what_comes_back(
    server: Server, decisions: Decisions
) -> None:
    await under(server, ask("plain"))
    decisions.asked.clear()
    headers = {"x-key": "bad", "x-also": "1", "x-hidden": "2"}
    refused = await get(server, "/admin/x?y=z", **headers)
    assert refused.headers["x-why"] == "no key"
    (shown,) = decisions.asked
    assert shown[":path"] == "/check/admin/x?y=z"
    assert (shown["x-key"], shown["x-also"], shown["x-mesh"]) == ("bad", "1", "seine")
    assert "x-hidden" not in shown


@pytest.mark.parametrize(
    ("providers", "status"),
    [
        (("dead",), 403),
        (("late",), 503),
        (("open",), 200),
        (("hidden",), 403),
        (("unknown",), 403),
        (("plain", "called"), 403),
    ],
)
async def test_an_authorizer_that_does_not_answer(
    server: Server, providers: tuple[str, ...], status: int
) -> None:
    await under(server, ask(*providers))
    assert (await get(server, "/admin/x", **{"x-key": "good"})).status == status
    assert (await get(server, "/open")).status == 200


async def test_the_log_says_that_nobody_could_be_asked(server: Server) -> None:
    await under(server, ask("unknown"))
    assert (await get(server, "/admin/logged")).status == 403
    line = await server.envoy.logged("/admin/logged")
    assert "istio-ext-authz-unknown-ns[shop]-policy[ask-unknown]-rule[0]" in line
    assert "-deny-due-to-bad-CUSTOM-action" in line


async def test_deny_and_allow_still_judge_what_the_authorizer_let_pass(server: Server) -> None:
    rule = AccessRule(operations=(Operation(paths=("/admin/no",)),))
    deny = rows.access_policy("deny", action=Action.DENY, rules=(rule,))
    await under(server, [*ask("plain"), deny])
    assert (await get(server, "/admin/no", **{"x-key": "good"})).status == 403
    assert (await get(server, "/admin/yes", **{"x-key": "good"})).status == 200


async def test_connections(server: Server) -> None:
    everything = [
        rows.access_policy("a", action=Action.CUSTOM, provider=it, rules=(AccessRule(),))
        for it in ("called", "plain", "unknown")
    ]
    for policy, status in zip(everything, (0, 1, 0), strict=True):
        await under(server, [policy])
        answer = await traffic.exchange(server.port("tcp"), b"\x00hello")
        assert answer.status == status, policy.provider
