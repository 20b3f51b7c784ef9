"""TrafficExtension: a module of WebAssembly, or a script of Lua, in the filter chains of workloads.

None marks the fields for which absence means something else than zero.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.extensions.wasm import (
    FailStrategy,
    ModuleUrl,
    PluginName,
    PluginType,
    PullPolicy,
    SecretName,
    TrafficSelector,
    VmConfig,
)
from libs.api.resource import IstioResource, Message
from libs.api.scalars import Int32, JsonObject
from libs.api.selector import TargetReference, WorkloadSelector


class ExecutionPhase(StrEnum):
    """Before which of the mesh's own filters an extension stands."""

    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class WasmConfig(Message, frozen=True):
    """A module, and how it is fetched and run."""

    url: ModuleUrl
    sha256: str = ""
    image_pull_policy: PullPolicy = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: SecretName | None = None
    verification_key: str = ""
    plugin_config: JsonObject | None = None
    plugin_name: PluginName | None = None
    fail_strategy: FailStrategy = FailStrategy.FAIL_CLOSE
    vm_config: VmConfig | None = None
    type: PluginType = PluginType.UNSPECIFIED_PLUGIN_TYPE


class LuaConfig(Message, frozen=True):
    """A script."""

    inline_code: Annotated[str, Meta(min_length=1, max_length=65536)]


class TrafficExtensionSpec(Message, frozen=True):
    """Fields of the kind; exactly one of `wasm` and `lua` is set."""

    selector: WorkloadSelector | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    phase: ExecutionPhase = ExecutionPhase.UNSPECIFIED
    priority: Int32 | None = None
    match: tuple[TrafficSelector, ...] = ()
    wasm: WasmConfig | None = None
    lua: LuaConfig | None = None


class TrafficExtension(IstioResource, frozen=True):
    """The kind."""

    spec: TrafficExtensionSpec
