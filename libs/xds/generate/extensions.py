"""Extensions: users' scripts and modules, each fetched by its filter under a name (ECDS).

Modules filter requests, or the bytes of connections; scripts filter requests.

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
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.http.lua.v3.lua_pb2 import Lua
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm
from envoy.extensions.wasm.v3.wasm_pb2 import FailurePolicy, PluginConfig
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from libs.model.extensions import Extension, Failure, Module, Phase, Pull, Traffic
from libs.model.ids import parse_ref
from libs.proxy.scope import InboundScope
from libs.xds import credentials
from libs.xds.generate import typed
from libs.xds.generate.metrics import Direction
from libs.xds.types import EXTENSION, NamedResource, resource

PREFIX = "extensions.istio.io/trafficextension/"
_OF_CONNECTIONS = "/network"  # no name of a resource has a slash
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
_POLICIES = {
    Failure.CLOSE: FailurePolicy.FAIL_CLOSED,
    Failure.OPEN: FailurePolicy.FAIL_OPEN,
    Failure.RELOAD: FailurePolicy.FAIL_RELOAD,
}
# A module that may be skipped is replaced by a filter that lets everything through.
_IN_PLACE = RBAC()
_IN_PLACE_OF_CONNECTIONS = network_rbac.RBAC(stat_prefix="skipped_module.")


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
        if not _is_for_connections(extension) and _sees(extension, direction, port):
            kinds = (Wasm(), _IN_PLACE) if extension.module else (Lua(),)
            source = _discovery(extension, *kinds)
            yield extension.phase, hcm.HttpFilter(name=name, config_discovery=source)


def network_filters(
    scope: InboundScope, direction: Direction, port: int
) -> Iterator[tuple[Phase, Filter]]:
    """Yield the filters of the modules that see the bytes of a port; arguments as above."""
    for name, extension in _named(scope).items():
        if _is_for_connections(extension) and _sees(extension, direction, port):
            source = _discovery(extension, network_wasm.Wasm(), _IN_PLACE_OF_CONNECTIONS)
            yield extension.phase, Filter(name=name, config_discovery=source)


def placement(scope: InboundScope) -> str:
    """Return all that decides which filters there are, as text."""
    return "\n".join(
        f"{name} {one.phase} {_kind(one)} {one.traffic}" for name, one in _named(scope).items()
    )


def _named(scope: InboundScope) -> Mapping[str, Extension]:
    """Return the extensions by name, in their order.

    A WasmPlugin has the name that Istio gives it, unless a TrafficExtension has the same. What
    filters connections never has the name of what filters requests: a module that comes to be the
    other would be refused by the filter that it was, and never be asked for by the one that it is.
    """
    found: dict[str, Extension] = {}
    taken = {_path(one) for one in scope.extensions if _is_plain(one)}
    for one in scope.extensions:
        path = _path(one)
        clash = path in taken and not _is_plain(one)
        name = f"{PREFIX}{path}.wasmplugin" if clash else PREFIX + path
        found[f"{name}{_OF_CONNECTIONS}" if _is_for_connections(one) else name] = one
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


def _kind(one: Extension) -> str:
    return f"{one.module.connections} {one.module.failure}" if one.module else ""


def _is_for_connections(extension: Extension) -> bool:
    return extension.module is not None and extension.module.connections


def _discovery(
    extension: Extension, kind: Message, in_place: Message | None = None
) -> ExtensionConfigSource:
    """Return where the configuration of a filter comes from.

    The listener waits for it. What Envoy refuses ends the waiting: without a configuration the
    filter lets nothing through, or everything, if it may be skipped.
    """
    source = ConfigSource(
        ads=AggregatedConfigSource(),
        initial_fetch_timeout=Duration(),
        resource_api_version=ApiVersion.V3,
    )
    found = ExtensionConfigSource(config_source=source)
    for one in (kind, in_place):
        if one is not None:
            found.type_urls.append(f"type.googleapis.com/{one.DESCRIPTOR.full_name}")
    module = extension.module
    if in_place is not None and module is not None and module.failure is Failure.OPEN:
        found.default_config.CopyFrom(typed.pack(in_place))
    return found


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
    made = network_wasm.Wasm(config=config) if module.connections else Wasm(config=config)
    return typed.pack(made)


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
