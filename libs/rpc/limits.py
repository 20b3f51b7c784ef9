"""Limits: what a peer may cost a server before and after it has proved who it is. Set once, here.

Two megabytes of headers, a handshake that never ends, ten thousand pings: nobody honest sends it.
"""

from msgspec import Struct

Option = tuple[str, int | str]


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of a server; beyond them a connection or call is refused, and only that one."""

    handshake_seconds: float = 5.0
    """Time to finish TLS and the HTTP/2 preface; gRPC's own default is 120."""
    connections: int = 8192
    """Open connections in all; further ones are closed at once."""
    streams: int = 100
    """Concurrent streams of one connection."""
    message_bytes: int = 4 * 1024 * 1024
    """Received messages; Istio's limit too."""
    metadata_bytes: int = 24 * 1024
    """Headers of one call: a token of 8 KiB and room for a node's own."""
    ping_interval_seconds: float = 10.0
    """A peer that pings more often than this without data gets strikes."""
    ping_strikes: int = 2
    """Strikes until the connection is closed."""
    idle_seconds: float = 300.0
    """A connection without a call is closed after this."""
    age_seconds: float = 1800.0
    """A connection is asked to leave after this ± 10 %: long streams prove themselves again."""
    age_grace_seconds: float = 300.0
    """Calls that are still open then are ended."""

    def options(self) -> list[Option]:
        """Return gRPC's channel arguments for a server."""
        return [
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_seconds)),
            ("grpc.max_allowed_incoming_connections", self.connections),
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.max_receive_message_length", self.message_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes),
            ("grpc.http2.max_ping_strikes", self.ping_strikes),
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.ping_interval_seconds)),
            ("grpc.max_connection_idle_ms", _ms(self.idle_seconds)),
            ("grpc.max_connection_age_ms", _ms(self.age_seconds)),
            ("grpc.max_connection_age_grace_ms", _ms(self.age_grace_seconds)),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            # Our own channels ping between calls; otherwise that is a strike within two hours.
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.so_reuseport", 0),  # a second process on a port is a mistake, not a partner
        ]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
