"""WorkloadGroup: what WorkloadEntries that register themselves look like, and how they are probed.

None marks the fields for which absence means something else than zero.
"""

from typing import Annotated

from msgspec import Meta

from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.resource import IstioResource, Message
from libs.api.scalars import UInt32

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class GroupMetadata(Message, frozen=True):
    """Labels and annotations of the entries."""

    labels: Annotated[dict[str, str], Meta(max_length=256)] = {}
    annotations: Annotated[dict[str, str], Meta(max_length=256)] = {}


class HttpHeader(Message, frozen=True):
    """A header of a probe."""

    name: str = ""
    value: str = ""


class HttpProbe(Message, frozen=True):
    """A request whose answer must be good."""

    port: UInt32
    path: str = ""
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpProbe(Message, frozen=True):
    """A connection that must open."""

    port: UInt32
    host: str = ""


class ExecProbe(Message, frozen=True):
    """A command that must end well."""

    command: tuple[Annotated[str, Meta(min_length=1)], ...]


class GrpcProbe(Message, frozen=True):
    """A call of gRPC's health service; a port of None cannot be left out."""

    port: UInt32 | None = None
    service: str = ""


class ReadinessProbe(Message, frozen=True):
    """How the agent finds out whether its workload is ready; exactly one way is set."""

    initial_delay_seconds: Count = 0
    timeout_seconds: Count = 0
    period_seconds: Count = 0
    success_threshold: Count = 0
    failure_threshold: Count = 0
    http_get: HttpProbe | None = None
    tcp_socket: TcpProbe | None = None
    exec: ExecProbe | None = None
    grpc: GrpcProbe | None = None


class WorkloadGroupSpec(Message, frozen=True):
    """Fields of the kind."""

    template: WorkloadEntrySpec
    metadata: GroupMetadata | None = None
    probe: ReadinessProbe | None = None


class WorkloadGroup(IstioResource, frozen=True):
    """The kind."""

    spec: WorkloadGroupSpec
