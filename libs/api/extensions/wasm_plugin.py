"""WasmPlugin: a module of WebAssembly in the filter chains of workloads.

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


class PluginPhase(StrEnum):
    """Before which of the mesh's own filters a module stands."""

    UNSPECIFIED_PHASE = "UNSPECIFIED_PHASE"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class WasmPluginSpec(Message, frozen=True):
    """Fields of the kind."""

    url: ModuleUrl
    selector: WorkloadSelector | None = None
    target_ref: TargetReference | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    sha256: str = ""
    image_pull_policy: PullPolicy = PullPolicy.UNSPECIFIED_POLICY
    image_pull_secret: SecretName | None = None
    verification_key: str = ""
    plugin_config: JsonObject | None = None
    plugin_name: PluginName | None = None
    phase: PluginPhase = PluginPhase.UNSPECIFIED_PHASE
    priority: Int32 | None = None
    fail_strategy: FailStrategy = FailStrategy.FAIL_CLOSE
    vm_config: VmConfig | None = None
    match: tuple[TrafficSelector, ...] = ()
    type: PluginType = PluginType.UNSPECIFIED_PLUGIN_TYPE


class WasmPlugin(IstioResource, frozen=True):
    """The kind."""

    spec: WasmPluginSpec
