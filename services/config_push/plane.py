"""The plane: connections, push loop and receipts, joined. Knows no ports and no credentials."""

from collections.abc import Callable, Mapping

from libs.model.delta import Delta
from libs.model.mesh import Mesh
from libs.runtime.clock import Clock
from libs.xds import affects
from libs.xds.stream.events import Event
from libs.xds.stream.responses import Responses
from services.config_push import metrics
from services.config_push.classes import Classes, Generator
from services.config_push.connection import Applied, Connection
from services.config_push.connections import Connections
from services.config_push.credentials import CredentialDesk
from services.config_push.findings import Findings
from services.config_push.machines import MachineBook
from services.config_push.push import Pusher, Round, Shared, Worker
from services.config_push.receipts import ReceiptBook

CONTROL_PLANE = "seine-config-push"


class Plane:
    """What streams and pages need of the rest of the process."""

    def __init__(
        self,
        generators: Mapping[str, Generator],
        *,
        clock: Clock,
        worker: Worker,
        history: int = 512,
        shared: Shared | None = None,
    ) -> None:
        self.connections = Connections()
        self.machines = MachineBook(clock)
        self.responses = Responses(control_plane=CONTROL_PLANE)
        self.book = ReceiptBook(clock=clock, history=history)
        self.pusher = Pusher(
            self.connections,
            Classes(generators, affects.types),
            clock=clock,
            worker=worker,
            on_round=self._on_round,
            shared=shared,
        )
        self.findings = Findings(self.connections, clock, patched=self._is_patched)
        self.findings.moved = self.book.note_patches
        self.book.patches = self.findings.of
        self.credentials: CredentialDesk | None = None
        self._latest: Mesh | None = None
        self._on_mesh: list[Callable[[Mesh], None]] = []

    @property
    def mesh(self) -> Mesh | None:
        """The mesh that is served, or None while there is none."""
        return self._latest

    async def for_machines(self, namespace: str, account: str) -> bool:
        """Tell whether machines of some WorkloadGroup may have an account."""
        groups = self._latest.machine_groups.items() if self._latest else ()
        return any(
            key.startswith(f"{namespace}/") and group.service_account == account
            for key, group in groups
        )

    def on_mesh(self, callback: Callable[[Mesh], None]) -> None:
        """Call `callback` with each mesh from now on."""
        self._on_mesh.append(callback)

    def change(self, mesh: Mesh, delta: Delta) -> None:
        """Serve `mesh` from now on, and push it to everyone whom it concerns."""
        self._latest = mesh
        self.pusher.on_change(mesh, delta)
        for callback in self._on_mesh:
            callback(mesh)

    def connect(self, connection: Connection) -> None:
        """Let a new proxy have everything."""
        self.pusher.on_connect(connection)

    def disconnect(self, connection: Connection) -> None:
        """Forget a proxy."""
        self.pusher.on_disconnect(connection)
        self.book.left(connection)
        self.findings.note()
        if self.credentials:
            self.credentials.leave(connection)

    def observe(self, connection: Connection, what: Applied | Event) -> None:
        """Record what happened on a stream."""
        self.book.observe(connection, what)
        self.findings.note()
        if isinstance(what, Applied):
            self.look_for_credentials(connection)

    def look_for_credentials(self, connection: Connection) -> None:
        """Serve the credentials that a proxy asks for, as far as it may have them."""
        if self.credentials:
            self.credentials.look(connection)

    def _is_patched(self) -> bool:
        return self._latest is not None and bool(self._latest.patches)

    def _on_round(self, round_: Round) -> None:
        self.book.begin(round_, self.connections)
        metrics.CLASSES.set(len({one.digest for one in self.connections}))
