"""Users' certificates on their way: from discovery's book over config-push to those who may have
them, over real gRPC. T20: whoever asks for more learns nothing, not even whether it is there.
"""

import asyncio
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as EnvoySecret
from prometheus_client import REGISTRY

from libs.model.gateway import ServerTls, ServerTlsMode
from libs.model.service import Protocol
from libs.protos.credentials.v1 import credentials_pb2
from libs.xds.generate import GENERATORS
from libs.xds.types import SECRET
from services.config_push import config_dump
from services.discovery.app import ALLOWED
from tests.support import mesh
from tests.support.credential_desk import (
    KEYS,
    Running,
    answer,
    key_of,
    running_desk,
    secret,
    secrets,
    world,
)

MINE = "kubernetes://web"
FORBIDDEN = (
    "kubernetes://other/web",
    "kubernetes://other/web-cacert",
    "kubernetes://OTHER/web",
    "kubernetes://..%2fother/web",
    "kubernetes-gateway://other/web",
    "configmap://other/web",
    "builtin://",
    "file-cert:/etc/passwd~/etc/passwd",
    "web-cacert",
    "other/web-cacert",
    "kubernetes://other/" + "a" * 4000,
)
ABSENT = tuple(name.replace("web", "nothing") for name in FORBIDDEN[:2])


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with running_desk(tmp_path) as found:
        found.book.publish(secrets(secret("shop"), secret("other")))
        yield found


async def test_a_gateway_gets_the_certificate_that_it_names(running: Running) -> None:
    running.plane.change(world(MINE))
    async with running.asking(MINE) as proxy:
        response = await answer(proxy)
        assert [item.name for item in response.resources] == [MINE]
        assert key_of(proxy, MINE) == KEYS["shop"]


async def test_the_same_name_is_another_secret_elsewhere(running: Running) -> None:
    running.plane.change(world(MINE))
    async with running.asking(MINE) as ours, running.asking(MINE, namespace="other") as theirs:
        await answer(ours)
        await answer(theirs)
        assert key_of(ours, MINE) == KEYS["shop"]
        assert key_of(theirs, MINE) == KEYS["other"]


async def test_a_renewed_certificate_arrives_by_itself(running: Running) -> None:
    running.plane.change(world(MINE))
    async with running.asking(MINE) as proxy:
        await answer(proxy)
        running.book.publish(secrets(secret("shop", key=b"NEW")))
        await answer(proxy)
        assert key_of(proxy, MINE) == b"NEW"
        running.book.publish(secrets())
        assert list((await answer(proxy)).removed_resources) == [MINE]


def _not_had() -> float:
    return REGISTRY.get_sample_value("pilot_sds_certificate_errors_total") or 0.0


async def test_a_secret_that_comes_later_is_sent_when_it_comes(running: Running) -> None:
    late = "kubernetes://late"
    before = _not_had()
    running.plane.change(world(late))
    async with running.asking(late) as proxy:
        assert list((await answer(proxy)).removed_resources) == [late]
        assert _not_had() > before
        running.book.publish(secrets(secret("shop", "late")))
        await answer(proxy)
        assert key_of(proxy, late) == KEYS["shop"]


async def test_roots_come_without_the_key(running: Running) -> None:
    name = f"{MINE}-cacert"
    tls = ServerTls(mode=ServerTlsMode.MUTUAL, credentials=("web",))
    gateway = mesh.gateway("public", mesh.server(8443, Protocol.HTTPS, tls=tls))
    running.plane.change(mesh.mesh(gateway))
    async with running.asking(name) as proxy:
        await answer(proxy)
        body = proxy.client.bodies[SECRET][name]
        assert EnvoySecret.FromString(body).validation_context.trusted_ca.inline_bytes == b"ROOTS"
        assert KEYS["shop"] not in body


@pytest.mark.parametrize("name", FORBIDDEN)
async def test_what_is_forbidden_looks_as_if_it_were_not_there(running: Running, name: str) -> None:
    # The gateway names it all, as users can write what they like: only the name decides.
    running.plane.change(world(name, MINE, *ABSENT))
    async with running.asking(name, MINE) as proxy, running.asking(ABSENT[0], MINE) as other:
        forbidden, absent = await answer(proxy), await answer(other)
        assert [item.name for item in forbidden.resources] == [MINE]
        assert list(forbidden.removed_resources) == [name]
        assert [item.name for item in absent.resources] == [MINE]
        assert list(absent.removed_resources) == [ABSENT[0]]
        assert KEYS["other"] not in forbidden.SerializeToString()


async def test_ten_thousand_names_in_one_request_are_as_good_as_none(running: Running) -> None:
    names = [f"kubernetes://other/web{index}" for index in range(10_000)]
    running.plane.change(world(MINE))
    async with running.asking(MINE, "kubernetes://other/web", *names) as proxy:
        response = await answer(proxy)
        assert [item.name for item in response.resources] == [MINE]
        assert len(response.removed_resources) == 10_001


async def test_who_is_not_told_to_use_a_credential_does_not_get_it(running: Running) -> None:
    running.plane.change(world(MINE))
    async with running.asking(MINE, kind="sidecar") as sidecar, running.asking(MINE) as router:
        assert list((await answer(sidecar)).removed_resources) == [MINE]
        assert [item.name for item in (await answer(router)).resources] == [MINE]


async def test_keys_are_in_no_page_no_log_and_nothing_that_is_shared(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    running.plane.change(world(MINE))
    async with running.asking(MINE) as proxy:
        await answer(proxy)
        assert key_of(proxy, MINE) == KEYS["shop"]
        (connection,) = running.plane.plane.connections
        pages = config_dump.render(connection.before)
        assert b"kubernetes://web" in pages
        assert KEYS["shop"] not in pages
        assert b64encode(KEYS["shop"]) not in pages
        assert SECRET not in connection.before
        assert SECRET not in GENERATORS  # so that no class, and no shared cache, holds any
        assert not any(KEYS["shop"].decode() in line for line in _everything(caplog))


async def test_keys_are_forgotten_with_the_last_who_may_have_them(running: Running) -> None:
    running.plane.change(world(MINE))
    desk = running.plane.plane.credentials
    assert desk is not None
    async with running.asking(MINE) as proxy:
        await answer(proxy)
        assert desk.held == {("shop", "web", "default", False)}
    async with asyncio.timeout(60):
        while desk.held:  # noqa: ASYNC110 - a dictionary cannot be awaited
            await asyncio.sleep(0)


def test_only_config_push_may_ask() -> None:
    method = "/seine.credentials.v1.Credentials/Follow"
    assert ALLOWED[method] == {"seine-config-push"}
    service = credentials_pb2.DESCRIPTOR.services_by_name["Credentials"]
    assert {f"/{service.full_name}/{one.name}" for one in service.methods} <= set(ALLOWED)


def _everything(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    for record in caplog.records:
        yield str(record.__dict__)
