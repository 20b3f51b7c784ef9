"""gRPC to the control plane, with the operator's certificate that local mode has written."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from libs.rpc import channel
from libs.runtime.localmesh import LocalMesh, Server
from services.ctl import output


@asynccontextmanager
async def connect(mesh: LocalMesh, name: str) -> AsyncIterator[grpc.aio.Channel]:
    """Yield a channel to a process of the control plane; a failed call ends the command."""
    server = mesh.servers[name]
    credentials = _credentials(Path(mesh.credentials))
    async with channel.connect(
        server.grpc, credentials=credentials, server_name=server.server_name
    ) as opened:
        try:
            yield opened
        except grpc.aio.AioRpcError as error:
            _explain(name, server, error)


def _explain(name: str, server: Server, error: grpc.aio.AioRpcError) -> None:
    text = f"{name} at {server.grpc}: {error.code().name}: {error.details()}"
    output.fail(text, hint=f"`seinectl check` says more; its log is {server.log}")


def _credentials(folder: Path) -> grpc.ChannelCredentials:
    names = ("root-cert.pem", "key.pem", "cert-chain.pem")
    try:
        return grpc.ssl_channel_credentials(*((folder / name).read_bytes() for name in names))
    except PermissionError as error:
        output.fail(f"{error.filename} may not be read", hint="Run seinectl as the mesh's user.")
    except OSError as error:
        output.fail(f"{error.filename}: {error.strerror}", hint="Is the mesh still starting?")
