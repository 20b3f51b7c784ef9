"""Place: namespace and name of a WorkloadEntry, and what is known of the machine that it is for."""

from typing import NamedTuple

from msgspec import Struct

from libs.model.machine import Machine


class Place(NamedTuple):
    """Namespace and name of a WorkloadEntry."""

    namespace: str
    name: str


class Health(Struct, frozen=True):
    """What an agent said of its workload. `observed` in wall seconds."""

    healthy: bool
    message: str
    observed: float


class Present(Struct, frozen=True):
    """A machine that is connected. `since` in wall seconds."""

    machine: Machine
    replica: str  # name of the config-push that has it
    since: float
    health: Health | None = None  # None: nothing was said yet


class Entry(Struct, frozen=True, kw_only=True):
    """A WorkloadEntry as it is now, as far as registration goes."""

    place: Place
    group: str = ""  # by which it was registered
    account: str = "default"
    controller: str = ""
    connected_at: str = ""
    disconnected_at: str = ""
    checked: bool = False  # counts only while it is healthy
    healthy: bool | None = None
    message: str = ""
    version: str = ""  # its resourceVersion, where there is one
    conditions: tuple[dict[str, object], ...] = ()
