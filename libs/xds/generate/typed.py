"""Typed configuration: the one way a message becomes an `Any`: equal input gives equal bytes.

Map fields have no order of their own in protobuf; only a deterministic serialisation is stable.
"""

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.listener.v3.listener_components_pb2 import Filter, ListenerFilter
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message


def pack(message: Message) -> Any:
    """Return `message` as an Any, serialised deterministically."""
    packed = Any()
    packed.Pack(message, deterministic=True)
    return packed


def network_filter(name: str, message: Message) -> Filter:
    """Return a network filter configured by `message`."""
    return Filter(name=name, typed_config=pack(message))


def listener_filter(name: str, message: Message) -> ListenerFilter:
    """Return a listener filter configured by `message`."""
    return ListenerFilter(name=name, typed_config=pack(message))


def http_filter(name: str, message: Message) -> hcm.HttpFilter:
    """Return an HTTP filter configured by `message`."""
    return hcm.HttpFilter(name=name, typed_config=pack(message))


def transport_socket(name: str, message: Message) -> TransportSocket:
    """Return a transport socket configured by `message`."""
    return TransportSocket(name=name, typed_config=pack(message))


def milliseconds(amount: int) -> Duration:
    """Return a duration of `amount` milliseconds."""
    duration = Duration()
    duration.FromMilliseconds(amount)
    return duration
