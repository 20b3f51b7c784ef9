"""The machine: everything of one run, started step by step, each step awaited until it is ready.

The order: addresses, tokens and network; Redis and the CA; discovery and config-push; then the
workloads, which are the kubelet's. It is ended in reverse.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from ipaddress import IPv4Network
from pathlib import Path

from libs.rpc.ca_client import CaAddress
from libs.runtime.clock import Clock
from libs.runtime.localmesh import STATE_FILE, LocalMesh
from services.local import addresses, controlplane, health
from services.local.addresses import Plan
from services.local.controlplane import CA, CONFIG_PUSH, DISCOVERY, ControlPlane
from services.local.identities import Issuer
from services.local.kubelet import Kubelet, Site, Witnesses
from services.local.manifests import Application
from services.local.mode import Mode
from services.local.network import Network, free_network
from services.local.options import Options
from services.local.rundir import RunDirectory
from services.local.supervisor import Supervisor

Tell = Callable[[str, str], None]
"""Takes a fact about the run: its name, and the text."""


class Machine:
    """One run; leaving the stack that `lay_out` is given takes its network down."""

    def __init__(self, options: Options, mode: Mode, *, run: RunDirectory, clock: Clock) -> None:
        self._options = options
        self._mode = mode
        self._run = run
        self._clock = clock
        self._redis = ""
        self._application = Application()
        self._plan: Plan
        self._network: Network | None = None
        self._kubelet: Kubelet
        self.issuer = Issuer(run.path, controlplane.TRUST_DOMAIN, clock)
        self.control_plane: ControlPlane
        self._operator_token: Path

    async def lay_out(self, application: Application, stack: AsyncExitStack) -> None:
        """Decide the addresses, and make the network if there is one to make."""
        network = await self._claim(stack)
        self._application = application
        self._plan = plan = addresses.plan(self._mode, network, application)
        if self._mode is Mode.NAMESPACES:
            made = Network(self._run.path / "network", network, self._run.remember)
            stack.push_async_callback(made.close)
            await made.open([plan.ca, plan.discovery, plan.config_push, plan.redis], plan.host)
            self._network = made
        enter = self._network.hub.enter if self._network else ()
        self.control_plane = ControlPlane(self._run, plan, self.issuer, enter=enter)
        self._operator_token = self.control_plane.token(controlplane.OPERATOR)

    async def start_control_plane(self, supervisor: Supervisor, tell: Tell) -> None:
        """Start Redis and the CA, then discovery and config-push."""
        plane = self.control_plane
        redis = controlplane.find_redis() if self._options.redis else controlplane.NO_REDIS
        tell("redis", redis.sentence)
        supervisor.next_tier()
        if redis.binary:
            supervisor.start(plane.redis(redis.binary))
            self._redis = f"{self._plan.redis}:{controlplane.REDIS_PORT}"
        supervisor.start(plane.ca())
        await self._ready(supervisor, [CA])
        supervisor.next_tier()
        supervisor.start(plane.discovery(self._options.manifests))
        supervisor.start(plane.config_push(redis=bool(redis.binary)))
        await self._ready(supervisor, [DISCOVERY, CONFIG_PUSH])

    async def start_workloads(self, supervisor: Supervisor, witnesses: Witnesses) -> None:
        """Start all workloads; callers are the last."""
        site = Site(
            run=self._run,
            mode=self._mode,
            control_plane=self.control_plane,
            issuer=self.issuer,
            network=self._network,
        )
        self._kubelet = Kubelet(site, supervisor, witnesses=witnesses, clock=self._clock)
        await self._kubelet.start(self._application, self._plan)

    async def follow(self, application: Application) -> list[str]:
        """Run what the manifests say now; return what was done, for people."""
        self._plan = addresses.plan(self._mode, self._plan.network, application, before=self._plan)
        self._application = application
        return await self._kubelet.follow(application, self._plan)

    async def again(self, name: str) -> bool:
        """Return once a process of the control plane is ready again; False if it is none."""
        if name == controlplane.REDIS:
            await health.connectable(name, self._redis, self._clock)
            return True
        server = self.control_plane.servers.get(name)
        if server is None:
            return False
        await health.ready(name, f"http://{server.monitoring}/ready", self._clock)
        if name == CONFIG_PUSH:
            url = f"http://{server.monitoring}/debug/connections"
            proxies = sum(pod.sidecar for pod in self._application.pods)
            token = self._operator_token.read_text()
            await health.connected(url, token, proxies, clock=self._clock)
        return True

    def describe(self, version: str) -> LocalMesh:
        """Return what the state file says."""
        return LocalMesh(
            pid=os.getpid(),
            version=version,
            mode=str(self._mode),
            run_directory=str(self._run.path),
            manifests=str(self._options.manifests),
            trust_domain=controlplane.TRUST_DOMAIN,
            system_namespace=controlplane.SYSTEM_NAMESPACE,
            redis=self._redis,
            credentials=str(self.credentials),
            token_file=str(self._operator_token),
            servers=self.control_plane.servers,
            workloads=self._kubelet.described(),
        )

    @property
    def state_file(self) -> Path:
        """Where the state file is."""
        return self._run.path / STATE_FILE

    @property
    def credentials(self) -> Path:
        """Where the operator's certificate is."""
        return self._run.path / "credentials"

    @property
    def ca(self) -> CaAddress:
        """Where the operator gets its certificate."""
        plane = self.control_plane
        return CaAddress(plane.ca_address, plane.root_file, self._operator_token)

    async def _claim(self, stack: AsyncExitStack) -> IPv4Network:
        if self._mode is Mode.NAMESPACES:
            return await free_network()
        network, claim = addresses.claim_loopback()
        stack.callback(claim.close)
        return network

    async def _ready(self, supervisor: Supervisor, names: Iterable[str]) -> None:
        servers = self.control_plane.servers
        urls = [(name, f"http://{servers[name].monitoring}/ready") for name in names]
        await supervisor.while_alive(health.all_ready(urls, self._clock))
