"""Each flag of `agent init` in a real kernel: what it catches and what it leaves, in both families.

A connection is made, and whoever accepts it says where it went. Every test has its control in
itself: another connection, or the same one laid otherwise, ends elsewhere.
"""

import select
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from ipaddress import ip_address

import pytest

from tests.support import netns
from tests.support.netns import PROXY, Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

OUTBOUND, INBOUND, TUNNEL = 15001, 15006, 15008
WEB, OTHER = 8080, 9090
STRANGER = 4242
CLOSED = 9999
BOTH = pytest.mark.parametrize("family", [4, 6])


class Wire:
    """A pod in which every place where a connection might end has a listener, and so outside."""

    def __init__(self, pod: Pod, stack: ExitStack) -> None:
        self.pod = pod
        self._stack = stack
        self._places: dict[socket.socket, str] = {}
        self.listen(OUTBOUND, "outbound")
        self.listen(INBOUND, "inbound")
        for port in (WEB, OTHER, TUNNEL):
            self.listen(port, "application")
            for host in (pod.host, pod.host6):
                self._add(netns.listen(port, address=host), "outside")

    def listen(self, port: int, name: str) -> None:
        """Listen inside; what arrives there ends at `name`."""
        self._add(self.pod.listen(port), name)

    def out(self, family: int, port: int = WEB, *, user: int = 0, to: str = "") -> str:
        """Say where a connection of the application to the outside ends."""
        host = to or (self.pod.host if family == 4 else self.pod.host6)
        return self._end(lambda: self.pod.dial(host, port, user=user))

    def come(self, family: int, port: int = WEB, *, to: str = "") -> str:
        """Say where a connection from outside to the application ends."""
        address = to or (self.pod.address if family == 4 else self.pod.address6)
        return self._end(lambda: netns.dial(address, port))

    def call_itself(self, family: int, *, user: int = 0) -> str:
        """Say where a connection from inside to the pod's own address ends."""
        return self.out(family, user=user, to=self._own(family))

    def _own(self, family: int) -> str:
        return self.pod.address if family == 4 else self.pod.address6

    def _add(self, listening: socket.socket, name: str) -> None:
        self._places[self._stack.enter_context(closing(listening))] = name

    def _end(self, dial: Callable[[], socket.socket]) -> str:
        with closing(dial()):
            ready, _, _ = select.select(list(self._places), [], [], 5)
            (listening,) = ready
            netns.accept(listening).close()
            return self._places[listening]


@pytest.fixture(params=netns.BACKENDS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    nftables = request.param == "nftables"
    with netns.pod(nftables=nftables) as pod, ExitStack() as stack:
        yield Wire(pod, stack)


def away(family: int, last: int = 7) -> str:
    """Return an address where nobody is: only a redirect can answer."""
    return f"192.0.2.{last}" if family == 4 else f"2001:db8::{last}"


def stray(pod: Pod, family: int) -> str:
    """Send SYN with FIN to a closed port, which is of no connection; say what comes back.

    An honest SYN follows it, whose reset tells that the answer would have been here.
    """
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    here, there = (pod.host, pod.address) if family == 4 else (pod.host6, pod.address6)
    ports = []
    with closing(socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_TCP)) as raw:
        raw.settimeout(netns.PATIENCE)
        raw.bind((here, 0))
        for source, flags in ((40001, 0x03), (40002, 0x02)):
            raw.sendto(segment(here, there, (source, CLOSED), flags), (there, 0))
        while 40002 not in ports:
            got = raw.recv(256)
            ports.append(struct.unpack_from("!H", got, 22 if family == 4 else 2)[0])
    return "reset" if 40001 in ports else "silence"


def segment(here: str, there: str, ports: tuple[int, int], flags: int) -> bytes:
    """Return a TCP header with its checksum."""
    head = struct.pack("!HHIIBBHHH", *ports, 1, 0, 5 << 4, flags, 1024, 0, 0)
    pseudo = ip_address(here).packed + ip_address(there).packed + struct.pack("!II", 20, 6)
    total = sum(struct.unpack(f"!{len(pseudo + head) // 2}H", pseudo + head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]


@BOTH
def test_without_rules_everything_passes_by_envoy(wire: Wire, family: int) -> None:
    """The control of all that follows: what escapes is seen."""
    assert wire.out(family) == "outside"
    assert wire.come(family) == "application"
    assert wire.call_itself(family, user=PROXY) == "application"


@BOTH
def test_excluded_outbound_ports_are_the_only_ones_to_get_out(wire: Wire, family: int) -> None:
    wire.pod.lay("-o", f"{OTHER},9999")
    assert wire.out(family, OTHER) == "outside"
    assert wire.out(family, WEB) == "outbound"


@BOTH
def test_excluded_ranges_are_the_only_ones_to_get_out(wire: Wire, family: int) -> None:
    wire.pod.lay("-x", f"{wire.pod.host}/32,{wire.pod.host6}/128")
    assert wire.out(family) == "outside"
    assert wire.out(family, to=away(family)) == "outbound"


@BOTH
def test_included_ranges_are_the_only_ones_caught(wire: Wire, family: int) -> None:
    wire.pod.lay("-i", "192.0.2.0/24,2001:db8::/32")
    assert wire.out(family, to=away(family)) == "outbound"
    assert wire.out(family) == "outside"


@BOTH
def test_what_is_excluded_stays_so_within_an_included_range(wire: Wire, family: int) -> None:
    wire.pod.lay("-i", "*", "-x", f"{wire.pod.host},{wire.pod.host6}")
    assert wire.out(family) == "outside"


@BOTH
def test_included_outbound_ports_are_caught_whatever_the_range(wire: Wire, family: int) -> None:
    wire.pod.lay("-i", "", "-q", str(OTHER))
    assert wire.out(family, OTHER) == "outbound"
    assert wire.out(family, WEB) == "outside"


@BOTH
def test_named_inbound_ports_are_the_only_ones_caught(wire: Wire, family: int) -> None:
    wire.pod.lay("-b", str(WEB))
    assert wire.come(family, WEB) == "inbound"
    assert wire.come(family, OTHER) == "application"


@BOTH
def test_no_inbound_ports_leave_only_outbound_to_envoy(wire: Wire, family: int) -> None:
    wire.pod.lay("-b", "")
    assert wire.come(family) == "application"
    assert wire.out(family) == "outbound"


@BOTH
def test_excluded_inbound_ports_do_not_expose_the_others(wire: Wire, family: int) -> None:
    wire.pod.lay("-d", str(OTHER))
    assert wire.come(family, OTHER) == "application"
    assert wire.come(family, WEB) == "inbound"


@BOTH
@pytest.mark.parametrize("mode", ["REDIRECT", "TPROXY"])
def test_the_proxys_own_ports_are_never_caught(wire: Wire, family: int, mode: str) -> None:
    """Kubelet and Prometheus come in, also where the user excludes ports of their own."""
    for port in (15020, 15021, 15090):
        wire.listen(port, f"direct {port}")
    wire.pod.lay("-m", mode, "-d", str(OTHER))
    for port in (15020, 15021, 15090):
        assert wire.come(family, port) == f"direct {port}"


@BOTH
def test_tunnels_arrive_where_they_are_told(wire: Wire, family: int) -> None:
    wire.pod.lay()
    assert wire.come(family, TUNNEL) == "application"
    wire.pod.lay("-e", str(OTHER))
    assert wire.come(family, OTHER) == "application"
    assert wire.come(family, TUNNEL) == "inbound"


@BOTH
def test_envoy_may_listen_elsewhere(wire: Wire, family: int) -> None:
    wire.listen(16001, "outbound elsewhere")
    wire.listen(16006, "inbound elsewhere")
    wire.pod.lay("-p", "16001", "-z", "16006")
    assert wire.out(family) == "outbound elsewhere"
    assert wire.come(family) == "inbound elsewhere"


@BOTH
def test_an_excluded_interface_is_no_business_of_envoys(wire: Wire, family: int) -> None:
    wire.pod.lay("-c", "other0")
    assert (wire.out(family), wire.come(family)) == ("outbound", "inbound")
    wire.pod.lay("-c", "eth0")
    assert (wire.out(family), wire.come(family)) == ("outside", "application")


@BOTH
def test_what_a_virtual_machine_sends_is_outbound(wire: Wire, family: int) -> None:
    wire.pod.lay("-i", "*", "-k", "eth0")
    assert wire.come(family) == "outbound"
    wire.pod.lay("-i", "192.0.2.0/24,2001:db8::/32", "-k", "eth0")
    assert wire.come(family) == "application"


@BOTH
def test_the_proxys_users_are_who_the_flags_say(wire: Wire, family: int) -> None:
    """With the wrong user Envoy's own connections come back to it: the loop that must not be."""
    wire.pod.lay("-u", str(STRANGER), "-g", str(STRANGER))
    assert wire.out(family, user=PROXY) == "outbound"
    assert wire.out(family, user=STRANGER) == "outside"
    wire.pod.lay("-u", f"{PROXY},{STRANGER}")
    assert wire.out(family, user=PROXY) == "outside"
    assert wire.out(family, user=STRANGER) == "outside"
    assert wire.out(family, user=STRANGER + 1) == "outbound"


@BOTH
def test_the_loop_breaker(wire: Wire, family: int) -> None:
    """The application reaches itself directly; Envoy, on its behalf, through the way in."""
    wire.pod.lay()
    assert wire.call_itself(family) == "application"
    assert wire.call_itself(family, user=PROXY) == "inbound"
    wire.pod.lay("-u", str(STRANGER), "-g", str(STRANGER))
    assert wire.call_itself(family, user=PROXY) == "application"


@BOTH
def test_groups_decide_whose_connections_are_caught(wire: Wire, family: int) -> None:
    wire.pod.lay("--owner-groups-exclude", str(STRANGER))
    assert wire.out(family, user=STRANGER) == "outside"
    assert wire.out(family, user=STRANGER + 1) == "outbound"
    wire.pod.lay("--owner-groups", str(STRANGER))
    assert wire.out(family, user=STRANGER) == "outbound"
    assert wire.out(family, user=STRANGER + 1) == "outside"


@BOTH
def test_packets_of_no_connection_are_dropped_on_request(wire: Wire, family: int) -> None:
    """A stray packet makes the kernel reset what it takes for a stranger's connection."""
    wire.pod.lay("-d", str(CLOSED))
    assert stray(wire.pod, family) == "reset"
    wire.pod.lay("-d", str(CLOSED), "--drop-invalid")
    assert stray(wire.pod, family) == "silence"


@BOTH
def test_cleaning_up_gives_the_workload_back_its_network(wire: Wire, family: int) -> None:
    wire.pod.lay()
    assert wire.out(family) == "outbound"
    wire.pod.lay("--cleanup-only")
    assert (wire.out(family), wire.come(family)) == ("outside", "application")
