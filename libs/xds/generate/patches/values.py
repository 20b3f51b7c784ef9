"""Values: the JSON of a patch as a message of Envoy's, or the reason for which it is none.

Envoy's types are loaded by the name that `@type` gives, when a patch first names them: all of them
together would take more memory than everything else.
"""

import pkgutil
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import import_module

import msgspec
from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf import json_format, symbol_database
from google.protobuf.message import Message

from libs.xds.generate.patches.notation import in_seconds

MESSAGES: Mapping[str, type[Message]] = {
    "LISTENER": Listener,
    "LISTENER_FILTER": ListenerFilter,
    "FILTER_CHAIN": FilterChain,
    "NETWORK_FILTER": Filter,
    "HTTP_FILTER": hcm.HttpFilter,
    "ROUTE_CONFIGURATION": RouteConfiguration,
    "VIRTUAL_HOST": VirtualHost,
    "HTTP_ROUTE": Route,
    "CLUSTER": Cluster,
    "EXTENSION_CONFIG": TypedExtensionConfig,
    "BOOTSTRAP": Bootstrap,
}
"""What a patch's value is, by what it applies to."""

MAX_BYTES = 1 << 20
_MAX_REASON = 500
_PACKED = re.compile(rb"type\.googleapis\.com/([A-Za-z0-9_.]+)")
_TYPE = re.compile(r"(?:[a-z0-9.-]+/)?((?:envoy|udpa|xds)(?:\.[a-z0-9_]+)+)\.[A-Z][A-Za-z0-9]*")


class Misfit(Exception):  # noqa: N818 - it is a finding about a patch, not an error of ours
    """The value of a patch is not what Envoy knows; the message says where and why."""


@lru_cache(maxsize=1024)
def read(target: str, value: bytes) -> tuple[Message | None, str]:
    """Return the message of a patch, None if it has none, and what was left out of it.

    The message is shared: copy it before it is put anywhere.

    Raises:
        Misfit: the value is no such message.

    """
    if not value:
        return None, ""
    if len(value) > MAX_BYTES:
        message = f"value: longer than {MAX_BYTES} bytes"
        raise Misfit(message)
    kind = MESSAGES.get(target)
    if kind is None:
        message = f"nothing is known of {target}"
        raise Misfit(message)
    try:
        load_types(value)
        return _parse(kind, value), ""
    except json_format.ParseError as error:
        return _without_unknown(kind, value), _reason(error)
    except (RecursionError, ValueError) as error:
        raise Misfit(_reason(error)) from error


def _parse(kind: type[Message], value: bytes) -> Message:
    """Durations of Go's make the first try fail; few patches have one."""
    try:
        return json_format.Parse(value, kind())
    except json_format.ParseError:
        return json_format.Parse(_in_seconds(kind, value), kind())


def _in_seconds(kind: type[Message], value: bytes) -> bytes:
    raw = msgspec.json.decode(value)
    return msgspec.json.encode(in_seconds(raw, kind, message_type))


def _without_unknown(kind: type[Message], value: bytes) -> Message:
    """Fields that Envoy's types do not have are left out, as Istio does."""
    try:
        return json_format.Parse(_in_seconds(kind, value), kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, RecursionError) as error:
        raise Misfit(_reason(error)) from error


def _reason(error: Exception) -> str:
    return f"value: {str(error).strip()[:_MAX_REASON]}"


def load_types(value: bytes) -> None:
    """Load the types that a text of JSON names."""
    for named in type_urls(msgspec.json.decode(value)):
        if found := _TYPE.fullmatch(named):
            _load(found[1])


def type_urls(value: object) -> set[str]:
    """Return the types that JSON data names, at any depth."""
    return set(_type_urls(value))


def _type_urls(value: object) -> Iterator[str]:
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            named = item.get("@type")
            if isinstance(named, str):
                yield named
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


@lru_cache(maxsize=1024)
def _load(package: str) -> None:
    """Import the modules of a package of protos; one that is not there has no types."""
    try:
        folder = import_module(package)
    except ImportError:
        return
    for module in pkgutil.iter_modules(folder.__path__):
        if module.name.endswith("_pb2"):
            import_module(f"{package}.{module.name}")


def message_type(type_url: str) -> type[Message] | None:
    """Return the class of a type by its URL, or None if it is not Envoy's."""
    name = type_url.rpartition("/")[2]
    found = _TYPE.fullmatch(name)
    if found:
        _load(found[1])
    try:
        kind: type[Message] = symbol_database.Default().GetSymbol(name)
    except KeyError:
        return None
    return kind


def load_types_in(body: bytes) -> None:
    """Load the types that a serialised message names, whoever put them there."""
    for name in set(_PACKED.findall(body)):
        message_type(name.decode())
