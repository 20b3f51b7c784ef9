"""Streams: gRPC's framing over HTTP/2, for a relay that passes bytes on.

grpcio would cost every pod 17 MB more, and unpacks each message; the relay only needs headers,
bytes under flow control, and trailers. `h2` speaks the protocol, `connection` moves its bytes.
"""
