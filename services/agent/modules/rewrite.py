"""Rewrite: responses about extensions, with files in place of the addresses of modules.

A module that cannot be had: if it may be skipped, a filter that lets everything through stands in
its place; if not, its configuration becomes one that Envoy refuses in words that say why, so that
Envoy goes on with what it has, and the refusal reaches the control plane as any other does.
"""

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError

from libs.protos.xds.v1 import module_pb2, relay_pb2
from services.agent import metrics
from services.agent.modules.fetch import ModuleError

logger = logging.getLogger(__name__)

WASM = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
LETS_THROUGH = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
_MAX_REASON = 300

FileOf = Callable[[str, str], Awaitable[Path]]
"""Returns the file of the module of a URL and a digest; raises ModuleError."""


async def rewritten(message: bytes, *, delta: bool, file_of: FileOf) -> bytes:
    """Return a response in which every module is a file. What cannot be read stays as it is."""
    kind = relay_pb2.DeltaResponse if delta else relay_pb2.SotwResponse
    try:
        response = kind.FromString(message)
        changed = False
        for item in response.resources:
            resource = item.resource if isinstance(item, relay_pb2.Resource) else item
            changed |= await _rewrite(resource, file_of)
    except DecodeError:
        logger.warning("response about extensions cannot be read")
        return message
    return response.SerializeToString() if changed else message


async def _rewrite(resource: Any, file_of: FileOf) -> bool:
    """Put a file into the configuration of one extension; False if it needs none."""
    named = module_pb2.NamedExtension.FromString(resource.value)
    if named.typed_config.type_url != WASM:
        return False
    plugin = module_pb2.WasmFilter.FromString(named.typed_config.value)
    code = plugin.config.vm_config.code
    if not code.HasField("remote"):
        return False
    url = code.remote.http_uri.uri
    try:
        path = await file_of(url, code.remote.sha256)
    except ModuleError as error:
        _give_up(named, plugin, f"module {url}: {error}")
    else:
        metrics.MODULES_FETCHED.inc()
        code.local.filename = str(path.absolute())
        named.typed_config.value = plugin.SerializeToString()
    resource.value = named.SerializeToString()
    return True


def _give_up(named: module_pb2.NamedExtension, plugin: module_pb2.WasmFilter, reason: str) -> None:
    metrics.MODULES_FAILED.inc()
    may_be_skipped = plugin.config.failure_policy == module_pb2.FAIL_OPEN
    logger.warning(
        "module not fetched",
        extra={"extension": named.name, "reason": reason, "skipped": may_be_skipped},
    )
    if may_be_skipped:
        named.typed_config.value = b""
        named.typed_config.type_url = LETS_THROUGH
        return
    # Envoy repeats the path of a file that is not there when it refuses a configuration.
    plugin.config.vm_config.code.local.filename = f"/not fetched/{_printable(reason)}"
    named.typed_config.value = plugin.SerializeToString()


def _printable(reason: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in reason)[:_MAX_REASON]
