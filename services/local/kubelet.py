"""The kubelet: runs the Pods of the manifests, and follows when Pods come and go.

For each Pod: its namespace if there are namespaces, interception, its agent with an Envoy, its
program. All at once at the start; later a new Pod is shown to the mesh when it is ready, and one
that has gone is ended after its callers had time to notice. A running Pod does not change, as in
Kubernetes; only its labels do, which are discovery's business.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from libs.runtime.clock import Clock
from libs.runtime.localmesh import LocalWorkload
from libs.runtime.tasks import Group
from services.local import completions, health
from services.local.addresses import Plan
from services.local.controlplane import ControlPlane
from services.local.identities import Issuer
from services.local.manifests import Application, Pod
from services.local.mode import Mode
from services.local.network import Network, command
from services.local.rundir import RunDirectory
from services.local.supervisor import Supervisor
from services.local.workloads import READY_PORT, Workloads

NOTICE_SECONDS = 2.0
"""For callers of a Pod that has gone to notice, before it ends."""

OnLine = Callable[[str, str], None]
"""Takes a pod's name and a line."""


class Witnesses(Struct, frozen=True):
    """Who listens to what pods say."""

    on_log: OnLine  # access logs of proxies
    on_line: OnLine  # output of programs that only call


class Site(Struct, frozen=True, kw_only=True):
    """What pods are given by the machine."""

    run: RunDirectory
    mode: Mode
    control_plane: ControlPlane
    issuer: Issuer
    network: Network | None  # only with namespaces


class Kubelet:
    """Runs pods."""

    def __init__(
        self, site: Site, supervisor: Supervisor, *, witnesses: Witnesses, clock: Clock
    ) -> None:
        self._site = site
        self._run = site.run
        self._mode = site.mode
        self._network = site.network
        self._supervisor = supervisor
        self._witnesses = witnesses
        self._clock = clock
        self._application = Application()
        self._plan: Plan
        self._workloads: Workloads
        self._enter: dict[str, Sequence[str]] = {}
        self._namespace_pids: dict[str, int] = {}

    async def start(self, application: Application, plan: Plan) -> None:
        """Start everything: proxies, programs that are called, and last those that only call."""
        self._take(application, plan)
        completions.write(self._run.generated, application, plan)
        await _together(*(self._join(pod) for pod in application.pods))
        self._supervisor.next_tier()
        for pod in application.pods:
            self._start_proxy(pod)
        servers = [pod for pod in application.pods if self._is_called(pod)]
        self._supervisor.next_tier()
        self._start_programs(servers)
        await self._supervisor.while_alive(self._ready(application.pods))
        self._supervisor.next_tier()
        self._start_programs(pod for pod in application.pods if pod not in servers)

    async def follow(self, application: Application, plan: Plan) -> list[str]:
        """Bring what runs in line with `application`; return what was done, for people."""
        known = {pod.key: pod for pod in self._application.pods}
        wanted = {pod.key: pod for pod in application.pods}
        kept = [pod for pod in application.pods if pod.key in known]
        new = [pod for pod in application.pods if pod.key not in known]
        gone = [pod for pod in self._application.pods if pod.key not in wanted]
        frozen = [pod for pod in kept if not pod.runs_like(known[pod.key])]
        self._take(application, plan)
        self._rename()
        completions.write(self._run.generated, structs.replace(application, pods=tuple(kept)), plan)
        await self._add(new)
        completions.write(self._run.generated, application, plan)
        await self._remove(gone)
        return [
            *(f"{pod.key} runs" for pod in new),
            *(f"{pod.key} has ended" for pod in gone),
            *(
                f"{pod.key} runs on as it is: a Pod does not change, name a new one"
                for pod in frozen
            ),
        ]

    def described(self) -> dict[str, LocalWorkload]:
        """Return where each pod with a proxy is, for the state file."""
        return {
            pod.key: self._workloads.described(pod, self._namespace_pids.get(pod.key, 0))
            for pod in self._application.pods
            if pod.sidecar
        }

    def _take(self, application: Application, plan: Plan) -> None:
        self._application = application
        self._plan = plan
        self._workloads = Workloads(
            self._run,
            self._mode,
            plan,
            application=application,
            control_plane=self._site.control_plane,
            issuer=self._site.issuer,
        )

    async def _add(self, pods: Sequence[Pod]) -> None:
        await _together(*(self._join(pod) for pod in pods))
        for pod in pods:
            self._start_proxy(pod)
        self._start_programs(pods)
        await self._ready(pods)

    async def _remove(self, pods: Sequence[Pod]) -> None:
        if pods:
            await self._clock.sleep(NOTICE_SECONDS)
        for pod in pods:
            await self._supervisor.end(pod.key)
            await self._supervisor.end(f"{pod.key} proxy")
            if self._network is not None:
                await self._network.remove(pod.key)

    async def _join(self, pod: Pod) -> None:
        """Give a pod its namespace, with names and interception, if there are namespaces."""
        if self._network is None:
            return
        self._network.hosts_file(pod.key).write_text(self._workloads.hosts(pod))
        place = self._plan.pods[pod.key]
        space = await self._network.add(pod.key, place.index, place.pod)
        self._enter[pod.key] = space.enter
        self._namespace_pids[pod.key] = space.pid
        if pod.sidecar:
            await command(*self._workloads.init(space.enter), env=self._workloads.init_environment)

    def _rename(self) -> None:
        """Tell the namespaces that are there of names that have come or gone."""
        for pod in self._application.pods if self._network is not None else ():
            if self._network is not None and pod.key in self._enter:
                self._network.hosts_file(pod.key).write_text(self._workloads.hosts(pod))

    def _start_proxy(self, pod: Pod) -> None:
        if pod.sidecar:
            enter = self._enter.get(pod.key, ())
            handle = _named(self._witnesses.on_log, pod)
            self._supervisor.start(self._workloads.agent(pod, enter, handle))

    def _start_programs(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            enter = self._enter.get(pod.key, ())
            handle = None if self._is_called(pod) else _named(self._witnesses.on_line, pod)
            self._supervisor.start(self._workloads.program(pod, enter, handle))

    def _is_called(self, pod: Pod) -> bool:
        return any(service.selects(pod) for service in self._application.services)

    async def _ready(self, pods: Iterable[Pod]) -> None:
        """Return once all proxies are ready and all programs that are called listen."""
        pods = list(pods)
        await _together(
            health.all_ready((self._url(pod) for pod in pods if pod.sidecar), self._clock),
            *(self._listening(pod) for pod in pods if self._is_called(pod)),
        )

    def _url(self, pod: Pod) -> tuple[str, str]:
        address = self._plan.pods[pod.key].pod
        return f"the proxy of {pod.key}", f"http://{address}:{READY_PORT}/healthz/ready"

    async def _listening(self, pod: Pod) -> None:
        place = self._plan.pods[pod.key]
        address = place.application if self._mode is Mode.LOOPBACK else None
        await health.listening(
            pod.key,
            lambda: self._supervisor.pid(pod.key),
            address,
            ports=pod.listens,
            clock=self._clock,
        )


def _named(handle: OnLine, pod: Pod) -> Callable[[str], None]:
    return lambda line: handle(pod.name, line)


async def _together(*work: Coroutine[Any, Any, None]) -> None:
    async with Group() as group:
        for coroutine in work:
            group.create_task(coroutine)
