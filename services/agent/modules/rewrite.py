"""Rewrite: responses about extensions, with files in place of the addresses of modules.

A module that cannot be had, or that Envoy would refuse as the judge knows: if it may be skipped, a
filter that lets everything through stands in its place; if not, its configuration becomes one that
Envoy refuses in words that say why, so that Envoy goes on with what it has, and the refusal reaches
the control plane as any other does. So it is with scripts. What the control plane tells the agent
among a module's variables is taken out of them.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from pathlib import Path
from time import perf_counter

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from libs.protos.xds.v1 import module_pb2, relay_pb2
from services.agent import metrics
from services.agent.modules.errors import ModuleError
from services.agent.modules.source import Source

logger = logging.getLogger(__name__)

EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
WASM = f"{_FILTERS}.http.wasm.v3.Wasm"
CONNECTION_WASM = f"{_FILTERS}.network.wasm.v3.Wasm"
LETS_THROUGH = f"{_FILTERS}.http.rbac.v3.RBAC"
LETS_CONNECTIONS_THROUGH = f"{_FILTERS}.network.rbac.v3.RBAC"

# Envoy refuses a filter of connections without a name for its counters.
_SKIPPED = module_pb2.ConnectionRules(stat_prefix="skipped_module.").SerializeToString()
_IN_PLACE_OF = {WASM: (LETS_THROUGH, b""), CONNECTION_WASM: (LETS_CONNECTIONS_THROUGH, _SKIPPED)}
"""Modules of requests and of connections, and the filter that does nothing in their place."""

_MAX_REASON = 300

_OURS = "ISTIO_META_"
_POLICY = f"{_OURS}WASM_IMAGE_PULL_POLICY"
_ONCE = "IfNotPresent"
_PULL_SECRET = f"{_OURS}WASM_IMAGE_PULL_SECRET"

FileOf = Callable[[Source], Awaitable[Path]]
"""Returns the file of a module; raises ModuleError."""

Refusals = Callable[[Sequence[Any]], Awaitable[list[str]]]
"""Returns for each configuration why Envoy refuses it, or nothing."""

Refuse = Callable[[module_pb2.NamedExtension, str], None]


async def nobody(configs: Sequence[Any]) -> list[str]:
    """Know of no refusals."""
    return [""] * len(configs)


async def rewritten(
    message: bytes, *, delta: bool, file_of: FileOf, refusals: Refusals = nobody
) -> bytes:
    """Return a response in which every module is a file. What cannot be read stays as it is.

    `refusals` is not asked without deltas: what Envoy would refuse cannot be kept from it there.
    """
    kind = relay_pb2.DeltaResponse if delta else relay_pb2.SotwResponse
    try:
        response = kind.FromString(message)
        changed, good = False, list[tuple[Any, module_pb2.NamedExtension]]()
        for item in response.resources:
            resource = item.resource if isinstance(item, relay_pb2.Resource) else item
            named = module_pb2.NamedExtension.FromString(resource.value)
            given = await _rewrite(named, file_of, refuse=_by_name if delta else _by_path)
            if given is not Given.AS_IT_WAS:
                changed, resource.value = True, named.SerializeToString()
            if given is not Given.NOTHING:
                good.append((resource, named))
        if delta:
            changed |= await _judge(good, refusals)
    except DecodeError:
        logger.warning("response about extensions cannot be read")
        return message
    return response.SerializeToString() if changed else message


class Given(Enum):
    """What Envoy is given of an extension."""

    AS_IT_WAS = 0
    FILE = 1
    NOTHING = 2


async def _judge(
    found: Sequence[tuple[Any, module_pb2.NamedExtension]], refusals: Refusals
) -> bool:
    """Give up what Envoy would refuse; tell whether there is any."""
    changed = False
    reasons = await refusals([named.typed_config for _, named in found])
    for (resource, named), reason in zip(found, reasons, strict=True):
        if reason:
            changed = True
            _give_up(named, f"{named.name}: {reason}", refuse=_by_name)
            resource.value = named.SerializeToString()
    return changed


async def _rewrite(named: module_pb2.NamedExtension, file_of: FileOf, *, refuse: Refuse) -> Given:
    """Put a file into the configuration of one extension, if it needs one.

    `refuse` makes it one that Envoy refuses, with the reason in its words.
    """
    if named.typed_config.type_url not in _IN_PLACE_OF:
        return Given.AS_IT_WAS
    plugin = module_pb2.WasmFilter.FromString(named.typed_config.value)
    code = plugin.config.vm_config.code
    if not code.HasField("remote"):
        metrics.WASM_CONVERSIONS.labels("no_remote_load").inc()
        return Given.AS_IT_WAS
    told = _taken_out(plugin.config.vm_config)
    source = Source(
        code.remote.http_uri.uri,
        code.remote.sha256,
        once=told.get(_POLICY) == _ONCE,
        pull_secret=told.get(_PULL_SECRET, ""),
    )
    started = perf_counter()
    given = Given.FILE
    try:
        path = await file_of(source)
    except ModuleError as error:
        metrics.WASM_CONVERSIONS.labels("fetch_failure").inc()
        metrics.MODULES_FAILED.inc()
        named.typed_config.value = plugin.SerializeToString()
        _give_up(named, f"module {source.url}: {error}", refuse=refuse)
        given = Given.NOTHING
    else:
        metrics.MODULES_FETCHED.inc()
        metrics.WASM_CONVERSIONS.labels("success").inc()
        code.local.filename = str(path.absolute())
        named.typed_config.value = plugin.SerializeToString()
    metrics.WASM_MILLISECONDS.observe(1e3 * (perf_counter() - started))
    return given


def _taken_out(machine: module_pb2.WasmMachine) -> dict[str, str]:
    """Take what is for the agent out of the variables of a module; return it."""
    variables = machine.environment_variables
    told = {key: value for key, value in variables.key_values.items() if key.startswith(_OURS)}
    for key in told:
        del variables.key_values[key]
    if told and not (variables.key_values or variables.host_env_keys):
        machine.ClearField("environment_variables")
    return told


def _give_up(named: module_pb2.NamedExtension, reason: str, *, refuse: Refuse) -> None:
    may_be_skipped = _may_be_skipped(named.typed_config)
    logger.warning(
        "envoy does not get an extension",
        extra={"extension": named.name, "reason": reason, "skipped": may_be_skipped},
    )
    if may_be_skipped:
        config = named.typed_config
        config.type_url, config.value = _IN_PLACE_OF[config.type_url]
        return
    refuse(named, _printable(reason))


def _may_be_skipped(config: Any) -> bool:
    if config.type_url not in _IN_PLACE_OF:
        return False
    plugin = module_pb2.WasmFilter.FromString(config.value)
    return plugin.config.failure_policy == module_pb2.FAIL_OPEN


def _by_name(named: module_pb2.NamedExtension, reason: str) -> None:
    """Name the configuration by the reason: Envoy repeats names that it did not ask for.

    It refuses them before it notes the configuration. One that is noted and then refused would
    make it refuse every listener that has the filter, whatever changes in it.
    """
    named.name = reason


def _by_path(named: module_pb2.NamedExtension, reason: str) -> None:
    """Name a file that is not there, which Envoy repeats as well.

    Without deltas, the name says whom the configuration is for.
    """
    plugin = module_pb2.WasmFilter.FromString(named.typed_config.value)
    plugin.config.vm_config.code.local.filename = f"/not fetched/{reason}"
    named.typed_config.value = plugin.SerializeToString()


def _printable(reason: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in reason)[:_MAX_REASON]
