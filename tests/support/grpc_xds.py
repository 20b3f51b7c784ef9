"""gRPC programs that speak xDS: one that answers, one that is configured by us and calls."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tests.support.certificates import Certificate
from tests.support.push_plane import node


def backend(
    name: bytes, address: str = "127.0.0.1", proving: Certificate | None = None
) -> AbstractAsyncContextManager[int]:
    """Answer every call with `name`; yield the port. With `proving`, over mutual TLS alone."""

    async def answer() -> bytes:
        return name

    return answering(answer, address, proving)


@asynccontextmanager
async def answering(
    answer: Callable[[], Awaitable[bytes]],
    address: str = "127.0.0.1",
    proving: Certificate | None = None,
) -> AsyncIterator[int]:
    """Answer every call with what `answer` comes to; else as `backend`."""

    async def who(_request: bytes, _context: object) -> bytes:
        return await answer()

    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Who": grpc.unary_unary_rpc_method_handler(who)
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", handlers)])
    port = _port(server, f"{address}:0", proving)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


def _port(server: grpc.aio.Server, address: str, proving: Certificate | None) -> int:
    if proving is None:
        return server.add_insecure_port(address)
    pair = (proving.key, proving.chain)
    credentials = grpc.ssl_server_credentials([pair], proving.roots, require_client_auth=True)
    return server.add_secure_port(address, credentials)


class Caller:
    """The program that calls."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def until(self, answer: str) -> None:
        """Call until `answer` comes: a client accepts a configuration before it follows it."""
        async with asyncio.timeout(60):
            while await self.call() != answer:
                pass

    async def call(self, metadata: Mapping[str, str] | None = None) -> str:
        """Have it call once; return the answer, or the error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(dict(metadata or {})).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(60):
            return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def calling(
    folder: Path, address: str, target: str, proving: Certificate | None = None
) -> AsyncIterator[Caller]:
    """Run a program whose channel to `target` is configured by who listens at `address`.

    It has the certificate `proving`, for configurations that want one.
    """
    bootstrap = _bootstrap(folder, address, "client", proving)
    async with calling_by(bootstrap, target, mutual=proving is not None) as caller:
        yield caller


@asynccontextmanager
async def calling_by(bootstrap: Path, target: str, *, mutual: bool) -> AsyncIterator[Caller]:
    """Run a program whose channel to `target` is configured as `bootstrap` says."""
    mode = "mutual" if mutual else "clear"
    arguments = ("tests.support.grpc_xds_caller", f"xds:///{target}", mode)
    async with _program(bootstrap, *arguments) as process:
        yield Caller(process)


@asynccontextmanager
async def serving(
    folder: Path, address: str, listen: str, proving: Certificate
) -> AsyncIterator[None]:
    """Run the pod `greeter`, a program that answers at `listen` as who is at `address` says.

    It answers with the metadata that it got, as soon as it has its configuration.
    """
    bootstrap = _bootstrap(folder, address, "greeter", proving)
    async with serving_by(bootstrap, listen):
        yield


@asynccontextmanager
async def serving_by(bootstrap: Path, listen: str) -> AsyncIterator[None]:
    """Run a program that answers at `listen`, configured as `bootstrap` says."""
    async with _program(bootstrap, "tests.support.grpc_xds_server", listen):
        yield


@asynccontextmanager
async def _program(bootstrap: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *arguments),
        env={**os.environ, "GRPC_XDS_BOOTSTRAP": str(bootstrap)},  # noqa: TID251  # a child's
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()


def _bootstrap(folder: Path, address: str, pod: str, proving: Certificate | None) -> Path:
    """Write what a program of the pod `pod` reads, as Istio's agent would."""
    metadata = {"NAMESPACE": "shop", "GENERATOR": "grpc"}
    bootstrap: dict[str, Any] = {
        "xds_servers": [
            {
                "server_uri": address,
                "channel_creds": [{"type": "insecure"}],
                "server_features": ["xds_v3"],
            }
        ],
        "node": {"id": node(pod).id, "metadata": metadata},
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s",
    }
    if proving is not None:
        own = folder / pod
        own.mkdir(exist_ok=True)
        bootstrap["certificate_providers"] = {"default": _provider(own, proving)}
    path = folder / f"bootstrap-{pod}.json"
    path.write_text(json.dumps(bootstrap))
    return path


def _provider(folder: Path, proving: Certificate) -> dict[str, Any]:
    """Return gRPC's configuration of a certificate in files."""
    config: dict[str, str] = {"refresh_interval": "600s"}
    for name, content in (
        ("certificate_file", proving.chain),
        ("private_key_file", proving.key),
        ("ca_certificate_file", proving.roots),
    ):
        file = folder / f"program-{name}.pem"
        file.write_bytes(content)
        config[name] = str(file)
    return {"plugin_name": "file_watcher", "config": config}
