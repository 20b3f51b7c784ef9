"""The machine: everything of one run, started step by step, each step awaited until it is ready.

The order: addresses, tokens and network; Redis and the CA; discovery and config-push; agents with
their Envoys; programs that are called; programs that only call. It is ended in reverse.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from libs.rpc.ca_client import CaAddress
from libs.runtime.clock import Clock
from libs.runtime.localmesh import LocalMesh
from services.local import addresses, completions, controlplane, health
from services.local.addresses import Plan
from services.local.controlplane import CA, CONFIG_PUSH, DISCOVERY, ControlPlane
from services.local.identities import Issuer
from services.local.manifests import Application, Pod
from services.local.mode import Mode
from services.local.network import Network, command, free_network
from services.local.options import Options
from services.local.rundir import RunDirectory
from services.local.supervisor import Supervisor
from services.local.workloads import READY_PORT, Workloads

Tell = Callable[[str, str], None]
"""Takes a fact about the run: its name, and the text."""
OnLine = Callable[[str, str], None]
"""Takes a pod's name and a line."""


class Machine:
    """One run. `start` brings it up; leaving `stack` takes it down."""

    def __init__(
        self,
        options: Options,
        mode: Mode,
        application: Application,
        *,
        run: RunDirectory,
        clock: Clock,
    ) -> None:
        self._options = options
        self._mode = mode
        self._application = application
        self._run = run
        self._clock = clock
        self._enter: dict[str, Sequence[str]] = {}
        self._namespace_pids: dict[str, int] = {}
        self._redis = ""
        self._plan: Plan
        self.issuer = Issuer(run.path, controlplane.TRUST_DOMAIN, clock)
        self.control_plane: ControlPlane
        self._workloads: Workloads
        self._operator_token: Path

    async def lay_out(self, stack: AsyncExitStack) -> None:
        """Decide the addresses, and make the network if there is one to make."""
        if self._mode is Mode.LOOPBACK:
            network, claim = addresses.claim_loopback()
            stack.callback(claim.close)
            self._plan = addresses.plan(self._mode, network, self._application)
            return
        network = await free_network()
        self._plan = addresses.plan(self._mode, network, self._application)
        made = Network(self._run.path / "network", network, self._run.remember)
        stack.push_async_callback(made.close)
        plan = self._plan
        servers = [plan.ca, plan.discovery, plan.config_push, plan.redis]
        await made.open(servers, plan.host)
        self._enter["hub"] = made.hub.enter
        self._made = made

    def prepare(self) -> None:
        """Write what the processes will read."""
        completions.write(self._run.generated, self._application, self._plan)
        hub = self._enter.get("hub", ())
        self.control_plane = ControlPlane(self._run, self._plan, self.issuer, enter=hub)
        self._operator_token = self.control_plane.token(controlplane.OPERATOR)
        self._workloads = Workloads(
            self._run,
            self._mode,
            self._plan,
            application=self._application,
            control_plane=self.control_plane,
            issuer=self.issuer,
        )

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

    async def start_workloads(
        self, supervisor: Supervisor, *, on_log: OnLine, on_line: OnLine
    ) -> None:
        """Start agents with their Envoys, the programs, and last those that only call."""
        await asyncio.gather(*(self._join(index, pod) for index, pod in self._numbered()))
        supervisor.next_tier()
        with_proxy = [pod for pod in self._application.pods if pod.sidecar]
        for pod in with_proxy:
            enter = self._enter.get(pod.key, ())
            supervisor.start(self._workloads.agent(pod, enter, _named(on_log, pod)))
        servers = [pod for pod in self._application.pods if self._is_called(pod)]
        supervisor.next_tier()
        for pod in servers:
            self._start_program(supervisor, pod, on_line)
        await supervisor.while_alive(
            _together(
                health.all_ready(map(self._agent_ready, with_proxy), self._clock),
                *(self._listening(supervisor, pod) for pod in servers),
            )
        )
        supervisor.next_tier()
        for pod in self._application.pods:
            if not self._is_called(pod):
                self._start_program(supervisor, pod, on_line)

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
            workloads={
                pod.key: self._workloads.described(pod, self._namespace_pids.get(pod.key, 0))
                for pod in self._application.pods
                if pod.sidecar
            },
        )

    @property
    def credentials(self) -> Path:
        """Where the operator's certificate is."""
        return self._run.path / "credentials"

    @property
    def ca(self) -> CaAddress:
        """Where the operator gets its certificate."""
        plane = self.control_plane
        return CaAddress(plane.ca_address, plane.root_file, self._operator_token)

    async def _ready(self, supervisor: Supervisor, names: Iterable[str]) -> None:
        servers = self.control_plane.servers
        urls = [(name, f"http://{servers[name].monitoring}/ready") for name in names]
        await supervisor.while_alive(health.all_ready(urls, self._clock))

    def _numbered(self) -> Iterable[tuple[int, Pod]]:
        return ((self._plan.pods[pod.key].index, pod) for pod in self._application.pods)

    async def _join(self, index: int, pod: Pod) -> None:
        """Give a pod its namespace, with names and interception, if there are namespaces."""
        if self._mode is Mode.LOOPBACK:
            return
        hosts = self._made.hosts_file(pod.key)
        hosts.write_text(self._workloads.hosts(pod))
        space = await self._made.add(pod.key, index, self._plan.pods[pod.key].pod)
        self._enter[pod.key] = space.enter
        self._namespace_pids[pod.key] = space.pid
        if pod.sidecar:
            await command(*self._workloads.init(space.enter), env=self._workloads.init_environment)

    def _start_program(self, supervisor: Supervisor, pod: Pod, on_line: OnLine) -> None:
        enter = self._enter.get(pod.key, ())
        handle = None if self._is_called(pod) else _named(on_line, pod)
        supervisor.start(self._workloads.program(pod, enter, handle))

    def _is_called(self, pod: Pod) -> bool:
        return any(service.selects(pod) for service in self._application.services)

    def _agent_ready(self, pod: Pod) -> tuple[str, str]:
        address = self._plan.pods[pod.key].pod
        return f"the proxy of {pod.key}", f"http://{address}:{READY_PORT}/healthz/ready"

    async def _listening(self, supervisor: Supervisor, pod: Pod) -> None:
        place = self._plan.pods[pod.key]
        address = place.application if self._mode is Mode.LOOPBACK else None
        await health.listening(
            pod.key, lambda: supervisor.pid(pod.key), address, ports=pod.listens, clock=self._clock
        )


def _named(handle: OnLine, pod: Pod) -> Callable[[str], None]:
    return lambda line: handle(pod.name, line)


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in work:
            group.create_task(coroutine)
