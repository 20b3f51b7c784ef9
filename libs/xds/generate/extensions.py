"""Extensions: users' scripts and modules, each fetched by its filter under a name (ECDS).

So a new version of an extension reaches filters without new listeners, and the agent gets to see
modules, which it fetches for Envoy. Which extensions are for a proxy, and in which order, was
decided in `libs.proxy.additions`; where a phase stands among the mesh's own filters is said by
`filters.order`.
"""

from collections.abc import Iterator, Mapping

from envoy.config.core.v3.base_pb2 import RemoteDataSource
from envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
    ExtensionConfigSource,
)
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.wasm.v3.wasm_pb2 import FailurePolicy, PluginConfig
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import StringValue

from libs.model.extensions import Extension, Failure, Module, Phase, Pull, Traffic
from libs.model.ids import parse_ref
from libs.proxy.scope import InboundScope
from libs.xds import credentials
from libs.xds.generate import typed
from libs.xds.generate.metrics import Direction
from libs.xds.types import EXTENSION, NamedResource, resource

PREFIX = "extensions.istio.io/trafficextension/"
FETCH_CLUSTER = "_"
"""Stands for the agent, which fetches the module before Envoy sees its address."""

AGENT_VARIABLES = "ISTIO_META_"
"""Variables of modules that begin so are for the agent, which takes them out: Istio's names."""
PULL_SECRET = f"{AGENT_VARIABLES}WASM_IMAGE_PULL_SECRET"
PULL_POLICY = f"{AGENT_VARIABLES}WASM_IMAGE_PULL_POLICY"
RESOURCE_VERSION = f"{AGENT_VARIABLES}WASM_PLUGIN_RESOURCE_VERSION"

_FETCH_SECONDS = 30
_RUNTIME = "envoy.wasm.runtime.v8"
_FILE = "file://"
_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
_POLICIES = {
    Failure.CLOSE: FailurePolicy.FAIL_CLOSED,
    Failure.OPEN: FailurePolicy.FAIL_OPEN,
    Failure.RELOAD: FailurePolicy.FAIL_RELOAD,
}


def generate(scope: InboundScope) -> list[NamedResource]:
    """Return the configurations that the filters of a proxy fetch, by name."""
    found = []
    for name, extension in _named(scope).items():
        config = _module(name, extension.module) if extension.module else _script(extension.lua)
        named = TypedExtensionConfig(name=name, typed_config=config)
        body = named.SerializeToString(deterministic=True)
        found.append(resource(name, EXTENSION, body=body, sources=[extension.ref]))
    return sorted(found, key=lambda one: one.name)


def http_filters(
    scope: InboundScope, direction: Direction, port: int
) -> Iterator[tuple[Phase, hcm.HttpFilter]]:
    """Yield the filters of the extensions that see the traffic of a port, in their order.

    `port` is that of the service for outbound traffic, the workload's own for inbound traffic, and
    0 if it can be any.
    """
    for name, extension in _named(scope).items():
        if _sees(extension, direction, port):
            yield extension.phase, _filter(name, extension)


def placement(scope: InboundScope) -> str:
    """Return all that decides which filters `http_filters` yields, as text."""
    return "\n".join(
        f"{name} {one.phase} {bool(one.module)} {one.traffic}"
        for name, one in _named(scope).items()
    )


def _named(scope: InboundScope) -> Mapping[str, Extension]:
    """Return the extensions by name, in their order.

    A WasmPlugin has the name that Istio gives it, unless a TrafficExtension has the same.
    """
    found: dict[str, Extension] = {}
    taken = {_path(one) for one in scope.extensions if _is_plain(one)}
    for one in scope.extensions:
        path = _path(one)
        clash = path in taken and not _is_plain(one)
        found[f"{PREFIX}{path}.wasmplugin" if clash else PREFIX + path] = one
    return found


def _is_plain(one: Extension) -> bool:
    return parse_ref(one.ref)[0] == "TrafficExtension"


def _path(one: Extension) -> str:
    return f"{one.namespace}.{one.name}"


def _sees(extension: Extension, direction: Direction, port: int) -> bool:
    return not extension.traffic or any(_fits(it, direction, port) for it in extension.traffic)


def _fits(traffic: Traffic, direction: Direction, port: int) -> bool:
    side = traffic.server if direction == "inbound" else traffic.client
    return side and (not traffic.ports or port in traffic.ports)


def _filter(name: str, extension: Extension) -> hcm.HttpFilter:
    # A module that may be skipped is replaced by a filter that lets everything through.
    kinds = (_url(Wasm), f"type.googleapis.com/{_RBAC}") if extension.module else (_url(Lua),)
    source = ConfigSource(
        ads=AggregatedConfigSource(),
        initial_fetch_timeout=Duration(),
        resource_api_version=ApiVersion.V3,
    )
    return hcm.HttpFilter(
        name=name,
        config_discovery=ExtensionConfigSource(config_source=source, type_urls=kinds),
    )


def _url(kind: type[Wasm] | type[Lua]) -> str:
    return f"type.googleapis.com/{kind.DESCRIPTOR.full_name}"


def _script(code: str) -> Any:
    lua = Lua()
    lua.default_source_code.inline_string = code
    return typed.pack(lua)


def _module(name: str, module: Module) -> Any:
    config = PluginConfig(name=name, root_id=module.name, failure_policy=_POLICIES[module.failure])
    if module.config:
        text = StringValue(value=module.config.decode())
        config.configuration.CopyFrom(typed.pack(text))
    machine = config.vm_config
    machine.runtime = _RUNTIME
    if module.host_environment:
        machine.environment_variables.host_env_keys.extend(module.host_environment)
    for key, value in sorted({**_own(module), **_for_agent(module)}.items()):
        machine.environment_variables.key_values[key] = value
    if module.url.startswith(_FILE):
        machine.code.local.filename = module.url.removeprefix(_FILE)
    else:
        machine.code.remote.CopyFrom(_remote(module))
    return typed.pack(Wasm(config=config))


def _own(module: Module) -> Mapping[str, str]:
    """Return the variables that users set; those that speak to the agent are not theirs."""
    return {
        key: value
        for key, value in module.environment.items()
        if not key.startswith(AGENT_VARIABLES)
    }


def _for_agent(module: Module) -> Mapping[str, str]:
    """Return what tells the agent when to fetch, and with which Secret, of which only the name."""
    if module.url.startswith(_FILE):
        return {}
    found = {PULL_POLICY: module.pull.value} if module.pull is Pull.ONCE else {}
    if module.generation:
        found[RESOURCE_VERSION] = str(module.generation)
    if module.pull_secret:
        found[PULL_SECRET] = credentials.registry_name(module.pull_secret)
    return found


def _remote(module: Module) -> RemoteDataSource:
    found = RemoteDataSource(sha256=module.sha256)
    found.http_uri.uri = module.url
    found.http_uri.cluster = FETCH_CLUSTER
    found.http_uri.timeout.FromSeconds(_FETCH_SECONDS)
    return found
