from libs.model import wire
from libs.model.mesh import Table
from libs.model.traffic import ConnectionPool, TrafficPolicy
from tests.support.mesh import host_policy

_SMALL = TrafficPolicy(connection_pool=ConnectionPool(max_connections=1))
_LARGE = TrafficPolicy(connection_pool=ConnectionPool(max_connections=9))


def test_a_policy_for_ports_survives_the_wire() -> None:
    row = host_policy("a", "a.example", policy=TrafficPolicy(ports={80: _SMALL, 443: _LARGE}))
    assert wire.decode(Table.HOST_POLICY, wire.encode(row)) == row


def test_equal_rows_are_equal_bytes_whatever_the_order_of_their_ports() -> None:
    one = host_policy("a", "a.example", policy=TrafficPolicy(ports={80: _SMALL, 443: _LARGE}))
    other = host_policy("a", "a.example", policy=TrafficPolicy(ports={443: _LARGE, 80: _SMALL}))
    assert wire.encode(one) == wire.encode(other)
