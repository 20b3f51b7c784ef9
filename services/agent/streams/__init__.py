"""Streams: gRPC's framing over HTTP/2, for a relay that passes bytes on.

grpcio would cost every pod ten megabytes more, and hold each message whole; the relay only needs
headers, bytes under flow control, and trailers. `h2` speaks the protocol, `connection` moves its
bytes.
"""
