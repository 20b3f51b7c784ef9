"""Extensions: scripts and modules that users put into the filter chains of workloads."""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref


class Phase(StrEnum):
    """Before which of the mesh's own filters an extension stands."""

    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"
    UNSPECIFIED = "UNSPECIFIED"


class Failure(StrEnum):
    """What becomes of traffic when a module cannot be had, or fails."""

    CLOSE = "FAIL_CLOSE"
    OPEN = "FAIL_OPEN"
    RELOAD = "FAIL_RELOAD"


class Pull(StrEnum):
    """When a module is fetched that was fetched before."""

    EACH_TIME = "Always"
    ONCE = "IfNotPresent"


class Traffic(Struct, frozen=True, gc=False, omit_defaults=True):
    """Traffic that an extension sees. No ports are all ports."""

    client: bool = True
    server: bool = True
    ports: tuple[int, ...] = ()


class Module(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A module of WebAssembly."""

    url: str
    connections: bool = False  # it filters bytes of connections, not requests
    sha256: str = ""
    name: str = ""
    config: bytes = b""  # JSON that the module reads
    failure: Failure = Failure.CLOSE
    environment: dict[str, str] = {}
    host_environment: tuple[str, ...] = ()  # variables of the proxy's own
    pull: Pull = Pull.EACH_TIME
    generation: int = 0  # of the resource, where a change of it means to fetch again
    pull_secret: str = ""  # with what registries of images are asked: `<namespace>/<name>`


class Extension(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One extension: a module, or else a script of Lua."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}
    targets: tuple[str, ...] = ()  # gateways, `<kind>/<name>`; with targets there is no selector
    phase: Phase = Phase.UNSPECIFIED
    priority: int = 0
    traffic: tuple[Traffic, ...] = ()  # none is all traffic
    lua: str = ""
    module: Module | None = None
