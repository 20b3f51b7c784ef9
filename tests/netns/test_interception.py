"""The interception rules in a real kernel: who is caught, who is not, and where it arrives."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.support import netns
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

OUTBOUND, INBOUND = 15001, 15006


@pytest.fixture(params=netns.BACKENDS)
def pod(request: pytest.FixtureRequest) -> Iterator[Pod]:
    with netns.pod(nftables=request.param == "nftables") as made:
        yield made


def arrives(listening: socket.socket, client: socket.socket) -> socket.socket:
    """Return the server's side of `client`, which must have come to `listening`."""
    server = netns.accept(listening)
    client.sendall(b"ping")
    assert server.recv(4) == b"ping"
    return server


def own(pod: Pod, family: int) -> str:
    return pod.address if family == 4 else pod.address6


def test_what_the_application_sends_goes_to_envoy(pod: Pod) -> None:
    pod.lay()
    with (
        closing(pod.listen(OUTBOUND)) as envoy,
        closing(pod.dial(pod.host, 8080)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        assert netns.original(caught) == (pod.host, 8080)


def test_what_is_sent_to_the_application_goes_to_envoy(pod: Pod) -> None:
    pod.lay()
    with (
        closing(pod.listen(INBOUND)) as envoy,
        closing(pod.listen(8080)),
        closing(netns.dial(pod.address, 8080)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        assert netns.original(caught) == (pod.address, 8080)


def test_ipv6_is_no_way_around(pod: Pod) -> None:
    pod.lay()
    with (
        closing(pod.listen(OUTBOUND)) as envoy,
        closing(pod.dial(pod.host6, 8080)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        assert netns.original(caught) == (pod.host6, 8080)
    with (
        closing(pod.listen(INBOUND)) as envoy,
        closing(pod.listen(8080)),
        closing(netns.dial(pod.address6, 8080)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        assert netns.original(caught) == (pod.address6, 8080)


@pytest.mark.parametrize("family", [4, 6])
def test_nothing_leaves_the_pod_while_envoy_is_away(pod: Pod, family: int) -> None:
    host = pod.host if family == 4 else pod.host6
    with closing(netns.listen(0, address=host)) as outside:
        port = outside.getsockname()[1]
        with closing(pod.dial(host, port)) as before, closing(arrives(outside, before)):
            pass  # the control: without rules it gets out
        pod.lay()
        with pytest.raises(ConnectionRefusedError):
            pod.dial(host, port)


@pytest.mark.parametrize("family", [4, 6])
def test_only_the_proxy_itself_gets_out(pod: Pod, family: int) -> None:
    pod.lay()
    host = pod.host if family == 4 else pod.host6
    with (
        closing(netns.listen(0, address=host)) as outside,
        closing(pod.dial(host, outside.getsockname()[1], as_proxy=True)) as client,
        closing(arrives(outside, client)),
    ):
        pass


def test_probes_and_scrapers_reach_their_ports(pod: Pod) -> None:
    pod.lay()
    for port in (15020, 15021, 15090):
        with (
            closing(pod.listen(port)) as direct,
            closing(netns.dial(pod.address, port)) as client,
            closing(arrives(direct, client)),
        ):
            pass


def test_the_workloads_calls_to_itself_by_address_stay_its_own(pod: Pod) -> None:
    pod.lay()
    with closing(pod.listen(8080)) as application:
        for address in ("127.0.0.1", "::1", pod.address, pod.address6):
            with (
                closing(pod.dial(address, 8080)) as client,
                closing(arrives(application, client)),
            ):
                pass


def test_envoys_calls_to_its_own_workload_come_in_through_envoy(pod: Pod) -> None:
    pod.lay()
    with (
        closing(pod.listen(INBOUND)) as envoy,
        closing(pod.dial(pod.address, 8080, as_proxy=True)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        assert netns.original(caught) == (pod.address, 8080)


@pytest.mark.parametrize(("family", "source"), [(4, "127.0.0.6"), (6, "::6")])
def test_what_envoy_passes_on_to_its_workload_does_not_come_back(
    pod: Pod, family: int, source: str
) -> None:
    pod.lay()
    with (
        closing(pod.listen(8080)) as application,
        closing(
            pod.dial(own(pod, family), 8080, as_proxy=True, source=source),
        ) as client,
        closing(arrives(application, client)),
    ):
        pass


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("flags", [(), ("-t", "77", "-r", "78")], ids=["usual", "chosen mark"])
def test_tproxy_keeps_both_addresses(pod: Pod, family: int, flags: tuple[str, ...]) -> None:
    pod.lay("-m", "TPROXY", *flags)
    with (
        closing(pod.listen(INBOUND, transparent=True)) as envoy,
        closing(netns.dial(own(pod, family), 8080)) as client,
        closing(arrives(envoy, client)) as caught,
    ):
        host = pod.host if family == 4 else pod.host6
        said = [
            name[0].removeprefix("::ffff:") for name in (caught.getsockname(), client.getsockname())
        ]
        assert said == [own(pod, family), host]
        assert caught.getsockname()[1] == 8080
        assert caught.getpeername()[1] == client.getsockname()[1]


def test_dns_queries_go_to_the_agent_except_its_own(pod: Pod) -> None:
    pod.lay("--redirect-dns", "--capture-all-dns")

    def server(port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(netns.PATIENCE)
        made.bind(("0.0.0.0" if port == 15053 else pod.host, port))  # noqa: S104
        return made

    def ask() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.settimeout(netns.PATIENCE)
        made.sendto(b"query", (pod.host, 53))
        return made

    with closing(pod.inside(lambda: server(15053))) as agent, closing(pod.inside(ask)) as client:
        query, who = agent.recvfrom(64)
        agent.sendto(b"answer", who)
        assert (query, client.recv(64)) == (b"query", b"answer")
    with closing(server(53)) as upstream, closing(pod.inside(ask, as_proxy=True)):
        assert upstream.recv(64) == b"query"


@pytest.mark.parametrize("flags", [(), ("-m", "TPROXY", "--redirect-dns"), ("-c", "eth0")])
def test_laying_twice_is_laying_once_and_cleaning_leaves_nothing(
    pod: Pod, flags: tuple[str, ...]
) -> None:
    pod.lay(*flags)
    once = pod.rules(), pod.rules(6)
    pod.lay(*flags)
    assert (pod.rules(), pod.rules(6)) == once
    assert "ISTIO_OUTPUT" in once[0]
    assert "ISTIO_OUTPUT" in once[1]
    pod.lay("--cleanup-only", *flags)
    for family in (4, 6):
        assert "ISTIO" not in pod.rules(family)


def test_rules_of_an_older_run_with_other_flags_are_replaced(pod: Pod) -> None:
    pod.lay("-p", "16001", "-z", "16006", "--redirect-dns")
    pod.lay()
    assert "16001" not in pod.rules()
    assert "ISTIO_OUTPUT_DNS" not in pod.rules()


def test_dry_run_prints_and_changes_nothing(pod: Pod) -> None:
    done = pod.init("--dry-run")
    assert "ISTIO_REDIRECT" in done.stdout
    assert done.stdout.startswith("# IPv4\n")
    assert pod.rules() == ""


def test_validation_tells_a_pod_whose_rules_are_missing(pod: Pod) -> None:
    missing = pod.init("--skip-rule-apply", "--run-validation", "--probe-timeout", "300ms")
    assert missing.returncode == 126
    assert "nothing arrived" in missing.stderr
    for flags in ((), ("-m", "TPROXY"), ("-i", "", "-b", ""), ("-x", "192.0.2.0/24")):
        done = pod.init("--run-validation", "--probe-timeout", "30s", *flags)
        assert (done.returncode, done.stderr) == (0, "")


def test_validation_tells_a_pod_whose_ipv6_would_escape(pod: Pod) -> None:
    pod.lay()
    if pod.nftables:
        netns.run(*pod.enter, "nft", "flush", "chain", "ip6", "istio-proxy-nat", "ISTIO_OUTPUT")
    else:
        netns.run(*pod.enter, "ip6tables", "-t", "nat", "-F", "ISTIO_OUTPUT")
    done = pod.init("--skip-rule-apply", "--run-validation", "--probe-timeout", "300ms")
    assert done.returncode == 126
    assert "IPv6 inbound: nothing arrived" in done.stderr


def test_validation_works_in_a_pod_without_ipv4(pod: Pod) -> None:
    netns.run(*pod.enter, "ip", "-4", "addr", "flush", "dev", "eth0")
    done = pod.init("--run-validation", "--probe-timeout", "30s")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_wrong_flag_leaves_the_pod_as_it_was(pod: Pod) -> None:
    assert pod.init("-p", "nonsense").returncode == 2
    assert pod.rules() == ""
