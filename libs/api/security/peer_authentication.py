"""PeerAuthentication: who must speak mutual TLS to a workload."""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message
from libs.api.selector import WorkloadSelector


class Mode(StrEnum):
    """What a server accepts; UNSET inherits from the wider scope."""

    UNSET = "UNSET"
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class MutualTls(Message, frozen=True):
    """The mode of a workload or of one port."""

    mode: Mode = Mode.UNSET


class PeerAuthenticationSpec(Message, frozen=True):
    """Fields of the kind; `port_level_mtls` is keyed by the workload's port."""

    selector: WorkloadSelector | None = None
    mtls: MutualTls | None = None
    port_level_mtls: Annotated[dict[int, MutualTls], Meta(min_length=1)] = {}


class PeerAuthentication(IstioResource, frozen=True):
    """The kind."""

    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
