"""Accepting: how many waiting connections a worker takes when its socket has some.

Concerns listeners with sockets of their own only; others are handed their connections.
"""

from google.protobuf.wrappers_pb2 import UInt32Value

ONE_AT_A_TIME = UInt32Value(value=1)
"""So that a burst of connections spreads over all workers."""
