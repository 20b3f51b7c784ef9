"""A mesh for one agent: the real CA, an xDS server over TLS, and the agent as a process.

Each agent has a folder of its own as working directory and a loopback address of its own, so its
ports are the usual ones. Processes are ended by their own id.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grpc
from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, jwk, keys, tokens
from libs.rpc import ca_client
from libs.rpc.svid import Functions, Svid
from libs.xds.types import Snapshot
from services.ca import app as ca
from services.ca.settings import Settings as CaSettings
from tests.support.certificates import Certificate, TestAuthority
from tests.support.control_plane import ControlPlane
from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
SYSTEM = "istio-system"
_START_SECONDS = 90
_addresses = count(1)


def loopback() -> str:
    """Return an address of this machine that no other test uses."""
    process = os.getpid()
    return f"127.{40 + process % 20}.{process // 20 % 250}.{next(_addresses)}"


class Mesh:
    """What agents need to find and believe their control plane."""

    def __init__(self, folder: Path, ca_port: int, host: str) -> None:
        self.folder = folder
        self.host = host
        self.ca_address = f"{host}:{ca_port}"
        self.plane = ControlPlane(TestAuthority().issue("unused"))
        self.tokens_seen: list[str] = []
        (self.port,) = free_ports(1, host)
        self._key = keys.load((folder / "token-key.pem").read_bytes())
        self.options: list[tuple[str, int]] = [("grpc.so_reuseport", 0)]
        self._svid: Svid | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def root_file(self) -> Path:
        return self.folder / "root.pem"

    def token(self, account: str, namespace: str) -> str:
        """Return a token as a cluster would mint it."""
        return tokens.mint(
            SpiffeId("cluster.local", namespace, account),
            pod=tokens.Bound(f"{account}-pod", "uid"),
            key=self._key,  # type: ignore[arg-type]
            now=time.clock_gettime(time.CLOCK_REALTIME),
        )

    @property
    def credentials(self) -> grpc.ServerCredentials:
        """The xDS server's, for another server in its place."""
        if self._svid is None:
            raise RuntimeError
        return self._svid.server_credentials(mutual=False)

    async def start_xds(self) -> None:
        """Serve xDS, each time on the same port."""
        if self._svid is None:
            raise RuntimeError
        self._server = grpc.aio.server(options=self.options)
        self._server.add_generic_rpc_handlers((_Recorder(self), *self.plane.handlers()))
        credentials = self._svid.server_credentials(mutual=False)
        self.port = self._server.add_secure_port(f"{self.host}:{self.port}", credentials)
        await self._server.start()

    async def stop_xds(self) -> None:
        """Break every stream."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def certify(self, svid: Svid) -> None:
        """Wait until the xDS server has its certificate."""
        self._svid = svid
        await svid.ready()


class _Recorder(grpc.GenericRpcHandler):
    """Notes the credentials of each call, and leaves the call to the next handler."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh

    def service(self, details: grpc.HandlerCallDetails) -> None:
        found = dict(details.invocation_metadata).get("authorization", "")
        self._mesh.tokens_seen.append(str(found))


@asynccontextmanager
async def mesh(folder: Path, snapshot: Snapshot, *, host: str = "127.0.0.1") -> AsyncIterator[Mesh]:
    """Run CA and xDS server on `host`."""
    key = keys.generate()
    (folder / "token-key.pem").write_bytes(keys.to_pem(key))
    (folder / "tokens.json").write_bytes(jwk.document(key.public_key()))
    settings = CaSettings(
        listen_address=host,
        port=0,
        mtls_port=0,
        monitoring_port=0,
        ca_dir=folder / "ca",
        root_file=folder / "root.pem",
        token_keys_file=folder / "tokens.json",
    )
    async with ca.running(settings) as bound, asyncio.TaskGroup() as group:
        found = Mesh(folder, bound.token, host)
        svid = _server_svid(found)
        renewing = group.create_task(svid.run())
        await found.certify(svid)
        found.plane.serve(snapshot)
        await found.start_xds()
        try:
            yield found
        finally:
            await found.stop_xds()
            renewing.cancel()


def _server_svid(found: Mesh) -> Svid:
    address = _ca(found, "seine-config-push", SYSTEM)

    async def sign(request: bytes) -> Any:  # noqa: ANN401
        return await ca_client.sign(address, request)

    return Svid(Functions(csr.make_with_key, bundle.validity, sign))


async def certificate(found: Mesh, account: str, namespace: str = "shop") -> Certificate:
    """Return what the mesh's CA gives to an account: for a program that has no agent."""
    key, request = csr.make_with_key()
    *chain, roots = await ca_client.sign(_ca(found, account, namespace), request)
    return Certificate("".join(chain).encode(), key, roots.encode())


def _ca(found: Mesh, account: str, namespace: str) -> ca_client.CaAddress:
    """Return the CA for an account, whose token is written to a file."""
    token_file = found.folder / f"token-{account}"
    token_file.write_text(found.token(account, namespace))
    return ca_client.CaAddress(found.ca_address, found.root_file, token_file)


class Agent(Struct):
    """A running agent and what can be asked of it."""

    process: asyncio.subprocess.Process
    folder: Path
    address: str

    @property
    def log(self) -> str:
        """Everything that agent and Envoy wrote."""
        return (self.folder / "agent.log").read_text()

    async def get(self, port: int, path: str, *, method: str = "GET") -> tuple[int, str]:
        """Return status and body; status 0 if there is no connection."""
        return await asyncio.to_thread(_fetch, f"http://{self.address}:{port}{path}", method)

    async def ready(self) -> None:
        """Wait until the pod may get traffic."""
        await self.until(15021, "/healthz/ready", 200)

    async def until(self, port: int, path: str, status: int) -> str:
        """Ask until `status` comes; return the body."""
        said: tuple[int, str] | None = None
        try:
            async with asyncio.timeout(_START_SECONDS):
                while self.process.returncode is None:
                    said = await self.get(port, path)
                    if said[0] == status:
                        return said[1]
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        message = f"{path} said {said}\n{self.log[-6000:]}"
        raise AssertionError(message)

    async def stats(self, pattern: str) -> dict[str, int]:
        """Return Envoy's statistics that match."""
        _, body = await self.get(15000, f"/stats?filter={pattern}")
        pairs = (line.rpartition(": ") for line in body.splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdigit()}

    async def until_log(self, text: str, times: int = 1) -> None:
        """Wait until the log has `text` so many times."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                while self.log.count(text) < times:  # noqa: ASYNC110 - another process writes
                    await asyncio.sleep(0.02)
        except TimeoutError:
            message = f"no {text!r} in\n{self.log[-6000:]}"
            raise AssertionError(message) from None

    def envoy(self) -> int:
        """Return the process id of its Envoy."""
        for pid in children(self.process.pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text().startswith("envoy"):
                    return pid
        return 0


@asynccontextmanager
async def agent(
    found: Mesh,
    *,
    account: str = "web",
    namespace: str = "shop",
    environ: Mapping[str, str] | None = None,
    prefix: tuple[str, ...] = (),
    address: str = "",
    role: str = "sidecar",
) -> AsyncIterator[Agent]:
    """Run an agent; on leaving it is told to go, and killed if it does not."""
    address = address or loopback()
    folder = found.folder / f"pod-{address}"
    tokens_folder = folder / "var/run/secrets/tokens"
    tokens_folder.mkdir(parents=True)
    (tokens_folder / "istio-token").write_text(found.token(account, namespace))
    proxy_config = {
        "discoveryAddress": f"{found.host}:{found.port}",
        "terminationDrainDuration": "0s",
        "concurrency": 1,
    }
    own = {
        "PATH": os.environ["PATH"],  # noqa: TID251  # a child's environment
        "PYTHONPATH": str(ROOT),
        "POD_NAME": f"{account}-1",
        "POD_NAMESPACE": namespace,
        "SERVICE_ACCOUNT": account,
        "INSTANCE_IP": address,
        "CA_ADDR": found.ca_address,
        "SEINE_CA_ROOT_FILE": str(found.root_file),
        "SEINE_LISTEN_ADDRESS": address,
        "SEINE_ADMIN_ADDRESS": address,
        "PROXY_CONFIG": json.dumps(proxy_config),
        **(environ or {}),
    }
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *(sys.executable, "-m", "services.agent", "proxy", role),
            cwd=folder,
            env=own,
            stdout=log,
            stderr=log,
        )
        try:
            yield Agent(process, folder, address)
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), 30)
    except TimeoutError:
        process.kill()
        await process.wait()


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that have not ended."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Tell whether a process has ended; one that only waits to be reaped has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def _fetch(url: str, method: str) -> tuple[int, str]:
    try:
        with urlopen(Request(url, method=method), timeout=30) as answer:  # noqa: S310
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)
