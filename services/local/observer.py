"""The observer: takes what programs and sidecars say, and keeps the table's ledger.

Each call is judged by the mesh of its moment. A change of configuration makes the ledger start
anew: until the change is settled everywhere, and the calls that began before it have ended, calls
are not judged. Only lost calls are counted without a pause.
"""

from collections.abc import Iterable, Mapping, Sequence

from libs.model.ids import Ref, WorkloadKey, workload_key
from libs.model.mesh import Mesh, Table
from libs.model.workload import Workload
from libs.runtime.clock import Clock
from services.local import accesslog, rows, trails, weights
from services.local.manifests import Application, Pod, Service
from services.local.rows import Key, Ledger, Row, Split
from services.local.trails import Seen
from services.local.verdict import Call, Fate, Verdict, judge

UNSETTLED_SECONDS = 3.0
"""The longest wait for the receipt of a change."""
AFTERMATH_SECONDS = 1.5
"""For calls that began before a change was settled, and for logs of them."""
_DECIDING = frozenset(
    {Table.SERVICE, Table.WORKLOAD, Table.ROUTING, Table.HOST_POLICY, Table.PEER_POLICY}
    | {Table.ACCESS_POLICY, Table.SETTINGS}
)


class Observer:
    """Counts calls by what was asked for."""

    def __init__(self, application: Application, clock: Clock) -> None:
        self._clock = clock
        self.take_application(application)
        self._mesh = Mesh()
        self._before = Mesh()
        self._judging_from = 0.0
        self._ledger = Ledger()
        self.calls = 0
        self.samples: dict[Fate, Seen] = {}
        """A call over HTTP for each fate, to be repeated by hand."""
        self.lost: list[str] = []

    def take_application(self, application: Application) -> None:
        """Know other Pods and Services from now on."""
        self.application = application
        self._pods = {pod.name: pod for pod in application.pods}
        self._services = {service.name: service for service in application.services}

    @property
    def mesh(self) -> Mesh:
        """The latest mesh."""
        return self._mesh

    def take_mesh(self, mesh: Mesh) -> None:
        """Judge by `mesh` from now on."""
        moved = any(mesh.rows(table) != self._mesh.rows(table) for table in _DECIDING)
        self._before, self._mesh = self._mesh, mesh
        if moved:
            self._ledger.clear()
            self._judging_from = self._clock.monotonic() + UNSETTLED_SECONDS

    def settled(self) -> None:
        """Take note that the latest change has reached everyone."""
        now = self._clock.monotonic()
        if now < self._judging_from:
            self._judging_from = min(self._judging_from, now + AFTERMATH_SECONDS)

    def line(self, pod: str, text: str) -> None:
        """Take a line that a program printed; a visit says itself whose it is."""
        del pod
        for seen in trails.calls(text):
            self._call(seen)

    def log(self, pod: str, text: str) -> None:
        """Take a line that a pod's sidecar logged."""
        entry = accesslog.parse(text)
        if entry is not None and self._judging:
            self._ledger.logged(self.application.app_of(pod), entry)

    def rows(self) -> list[Row]:
        """Return the table."""
        return self._ledger.rows()

    def splits(self) -> list[Split]:
        """Return how requests were split over versions."""
        return self._ledger.splits(weights.asked(self._mesh))

    def uncovered(self) -> list[str]:
        """Return what was asked for and is not in the table yet: policies, services."""
        found = self.rows()
        decided = rows.policies(found)
        called = {row.callee for row in found if row.verdict.fate is Fate.ALLOWED}
        policies = self._policies() - decided
        return sorted(
            [*policies, *(f"a call to {name}" for name in self._services if name not in called)]
        )

    def complete(self) -> bool:
        """Tell whether everything that was asked for was seen, and all of it was right."""
        everything = rows.all_right(self.rows(), self.splits())
        return everything and not self.uncovered() and not self.lost

    @property
    def _judging(self) -> bool:
        return self._clock.monotonic() >= self._judging_from and bool(self._mesh.workloads)

    def _policies(self) -> set[Ref]:
        tables: Iterable[Mapping[str, object]] = (
            self._mesh.peer_policies,
            self._mesh.access_policies,
        )
        return {Ref(key) for table in tables for key in table}

    def _call(self, seen: Seen) -> None:
        self.calls += 1
        verdict = self._verdict(self._mesh, seen)
        if verdict is None:
            return
        before = self._verdict(self._before, seen) or verdict
        if rows.lost(verdict, seen) and (self._judging or rows.lost(before, seen)):
            self.lost.append(f"{seen.caller} to {seen.service}: {seen.outcome}")
        if self._judging:
            if seen.protocol == "HTTP" and (verdict.identity or verdict.fate is Fate.REFUSED):
                self.samples.setdefault(verdict.fate, seen)
            self._ledger.call(self._key(seen, verdict), seen)

    def _key(self, seen: Seen, verdict: Verdict) -> Key:
        request = "" if verdict.fate is not Fate.DENIED else f"{seen.method} {_shape(seen.path)}"
        return Key(
            caller=self.application.app_of(seen.caller),
            callee=seen.service,
            port=seen.port,
            protocol=seen.protocol,
            request=request.strip(),
            verdict=verdict,
        )

    def _verdict(self, mesh: Mesh, seen: Seen) -> Verdict | None:
        caller = _workload(mesh, self._pods.get(seen.caller))
        service = self._services.get(seen.service)
        if caller is None or service is None:
            return None
        verdicts = {
            judge(mesh, self._described(seen, caller, callee))
            for callee in self._callees(mesh, seen, service)
        }
        return verdicts.pop() if len(verdicts) == 1 else None

    def _described(self, seen: Seen, caller: Workload, callee: Workload) -> Call:
        target = _target(self._services[seen.service], self._pods[callee.name], seen.port)
        return Call(caller=caller, callee=callee, port=target, method=seen.method, path=seen.path)

    def _callees(self, mesh: Mesh, seen: Seen, service: Service) -> Sequence[Workload]:
        """Return who answered, or all who could have."""
        if answered := _workload(mesh, self._pods.get(seen.instance)):
            return (answered,)
        pods = [pod for pod in self.application.pods if service.selects(pod)]
        return [found for pod in pods if (found := _workload(mesh, pod)) is not None]


def _workload(mesh: Mesh, pod: Pod | None) -> Workload | None:
    key = workload_key(pod.namespace, pod.name) if pod else WorkloadKey("")
    return mesh.workloads.get(key)


def _target(service: Service, pod: Pod, port: int) -> int:
    """Return the workload's own port behind a port of the service."""
    for _, number, target in service.ports:
        if number == port:
            return target if isinstance(target, int) else pod.ports.get(target, port)
    return port


def _shape(path: str) -> str:
    """Return a path with its numbers left out, so that books do not make rows."""
    return "/".join("*" if part.isdigit() else part for part in path.split("/"))
