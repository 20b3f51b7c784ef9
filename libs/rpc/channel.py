"""Channels to our own services: found by address, checked by name.

`server_name` is the DNS name that the peer's certificate must carry, `<account>.<namespace>.svc`,
whatever address led to it. Dead peers are noticed by keepalive, and reconnects back off.
"""

import grpc
import grpc.aio

from libs.rpc.limits import Option

KEEPALIVE_SECONDS = 30
_OPTIONS: list[Option] = [
    ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    ("grpc.enable_http_proxy", 0),  # the mesh's own channels never follow http_proxy
    ("grpc.use_local_subchannel_pool", 1),  # a new certificate gets a new connection
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),  # a snapshot of a large mesh
]


def connect(
    address: str, *, credentials: grpc.ChannelCredentials | None, server_name: str = ""
) -> grpc.aio.Channel:
    """Return a channel that connects when it is first used; close it, or use `async with`.

    Args:
        address: `host:port` or `unix:<path>`.
        credentials: None only for a Unix socket.
        server_name: the name that the peer's certificate must carry, if the address is not it.

    Raises:
        ValueError: a network address without credentials.

    """
    if credentials is None:
        if not address.startswith("unix:"):
            message = f"{address} would be spoken to in plain text"
            raise ValueError(message)
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    options = list(_OPTIONS)
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return grpc.aio.secure_channel(address, credentials, options=options)
