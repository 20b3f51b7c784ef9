"""Every method of the control plane's own ports, called by every account: the matrix of who may.

Whoever adds a method adds a row here. The table of the code is not looked at.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import FileDescriptor

from libs.protos.credentials.v1 import credentials_pb2
from libs.protos.feed.v1 import feed_pb2
from libs.protos.findings.v1 import findings_pb2
from libs.protos.machines.v1 import machines_pb2
from libs.protos.receipts.v1 import receipts_pb2
from libs.protos.trust.v1 import trust_pb2
from libs.rpc import interceptors
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps

DISCOVERY, PUSH, WEBHOOK, CA, CONSOLE, CTL, LOCAL, OPERATOR = (
    f"seine-{it}"
    for it in ("discovery", "config-push", "webhook", "ca", "console", "ctl", "local", "operator")
)
ACCOUNTS = (DISCOVERY, PUSH, WEBHOOK, CA, CONSOLE, CTL, LOCAL, OPERATOR, "default")
FOREIGN = "shop"
FEED, RECEIPTS = "seine.feed.v1.MeshFeed", "seine.receipts.v1.Receipts"
AT_DISCOVERY = {
    "seine.credentials.v1.Credentials/Follow": {PUSH},
    f"{FEED}/Subscribe": {PUSH, WEBHOOK, CONSOLE, CTL},
    f"{FEED}/WatchProblems": {PUSH, WEBHOOK, CONSOLE, CTL, LOCAL},
    f"{FEED}/Analyze": {CONSOLE, CTL},
    f"{FEED}/DryRun": {WEBHOOK, CONSOLE, CTL},
}
AT_PUSH = {
    f"{RECEIPTS}/Watch": {DISCOVERY, CONSOLE, CTL},
    f"{RECEIPTS}/List": {DISCOVERY, CONSOLE, CTL},
    f"{RECEIPTS}/GetStanding": {DISCOVERY, CONSOLE, CTL},
    "seine.findings.v1.Findings/Watch": {DISCOVERY},
    "seine.machines.v1.Machines/Follow": {DISCOVERY},
    "seine.trust.v1.Trust/Count": {CA},
}
FILES = (credentials_pb2, feed_pb2, findings_pb2, machines_pb2, receipts_pb2, trust_pb2)
LET_IN = 1.0
"""Seconds after which a call that may be made is given up; a refusal is waited for much longer."""
PATIENCE = 120.0
Code = grpc.StatusCode


def _methods(file: FileDescriptor) -> Sequence[str]:
    return [
        f"{service.full_name}/{method.name}"
        for service in file.services_by_name.values()
        for method in service.methods
    ]


def _streams(method: str) -> tuple[bool, bool]:
    """Return whether requests and answers of a method are streams."""
    service, _, name = method.partition("/")
    (found,) = (
        module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]].methods_by_name[name]
        for module in FILES
        if module.DESCRIPTOR.package == service.rpartition(".")[0]
    )
    return found.client_streaming, found.server_streaming


async def _outcome(
    channel: grpc.aio.Channel, method: str, seconds: float, *, patient: bool = True
) -> Code:
    """Return how a call with an empty request ends; `patient` until there is a connection."""
    path, (many_in, many_out) = f"/{method}", _streams(method)
    how = {"timeout": seconds, "wait_for_ready": patient}
    try:
        if many_in:
            await channel.stream_stream(path)(iter([b""]), **how).read()
        elif many_out:
            await channel.unary_stream(path)(b"", **how).read()
        else:
            await channel.unary_unary(path)(b"", **how)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return Code.OK


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as found, found.discovery(), found.config_push():
        await found.synced()
        yield found


def test_every_method_has_a_row() -> None:
    every = {method for module in FILES for method in _methods(module.DESCRIPTOR)}
    assert every == {*AT_DISCOVERY, *AT_PUSH}


async def test_who_may_call_what(apps: Apps) -> None:
    wrong: list[str] = []
    callers = [(SYSTEM, it) for it in ACCOUNTS] + [(FOREIGN, it) for it in (DISCOVERY, PUSH, CA)]
    for namespace, account in callers:
        async with AsyncExitStack() as stack:
            discovery = await stack.enter_async_context(apps.to_discovery(account, namespace))
            push = await stack.enter_async_context(apps.with_certificate(account, namespace))
            for table, channel in ((AT_DISCOVERY, discovery), (AT_PUSH, push)):
                for method, allowed in table.items():
                    may = namespace == SYSTEM and account in allowed
                    code = await _outcome(channel, method, LET_IN if may else PATIENCE)
                    if (code is Code.PERMISSION_DENIED) is may:
                        wrong.append(f"{namespace}/{account} {method}: {code.name}")
    assert wrong == []


async def test_the_negative_control_without_the_lists_everybody_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def around(_method: str, _context: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(interceptors, "allow", lambda *_, **__: interceptors.Intercept(around))
    async with running_apps(tmp_path) as apps, apps.discovery(), apps.config_push():
        await apps.synced()
        async with (
            apps.to_discovery("default", SYSTEM) as discovery,
            apps.with_certificate("default", SYSTEM) as push,
        ):
            for method, channel in ((f"{FEED}/Analyze", discovery), (f"{RECEIPTS}/List", push)):
                assert await _outcome(channel, method, PATIENCE) is not Code.PERMISSION_DENIED


async def test_without_a_certificate_nobody_is_heard(apps: Apps) -> None:
    credentials = grpc.ssl_channel_credentials((apps.folder / "root.pem").read_bytes())
    options = [("grpc.ssl_target_name_override", f"seine-discovery.{SYSTEM}.svc")]
    async with apps.to_discovery(PUSH, SYSTEM) as known:
        assert await _outcome(known, f"{FEED}/WatchProblems", PATIENCE) is Code.OK
    address = f"127.0.0.1:{apps._discovery_port}"
    async with grpc.aio.secure_channel(address, credentials, options=options) as stranger:
        code = await _outcome(stranger, f"{FEED}/WatchProblems", PATIENCE, patient=False)
    assert code is Code.UNAVAILABLE  # the handshake has failed
