from libs.model.traffic import (
    ConnectionPool,
    HostPolicy,
    LoadBalancing,
    OutlierDetection,
    Simple,
    Subset,
    TrafficPolicy,
)
from libs.proxy.policies import MergedPolicy, PolicyIndex, at_port
from tests.support.mesh import fqdn, host_policy

HOST = fqdn("reviews")


def limit(connections: int) -> TrafficPolicy:
    return TrafficPolicy(connection_pool=ConnectionPool(max_connections=connections))


def followed(
    *policies: HostPolicy, client: str = "client", labels: dict[str, str] | None = None
) -> MergedPolicy | None:
    index = PolicyIndex(policies, ("*",), "istio-system")
    return index.find(client=client, labels=labels or {}, host=HOST, owner="shop")


def names(found: MergedPolicy | None) -> list[str]:
    return [ref.rsplit("/", 1)[1] for ref in found.refs] if found else []


def test_the_clients_namespace_comes_before_the_services_and_the_root() -> None:
    client = host_policy("c", HOST, namespace="client")
    owner = host_policy("s", HOST, namespace="shop")
    root = host_policy("r", HOST, namespace="istio-system")
    assert names(followed(client, owner, root)) == ["c"]
    assert names(followed(owner, root)) == ["s"]
    assert names(followed(root)) == ["r"]
    assert names(followed(host_policy("x", HOST, namespace="elsewhere"))) == []


def test_a_client_in_the_root_namespace_follows_public_root_policies_last() -> None:
    owner = host_policy("s", HOST, namespace="shop")
    public = host_policy("r", "*.cluster.local", namespace="istio-system")
    private = host_policy("p", "*.cluster.local", namespace="istio-system", export_to=(".",))
    assert names(followed(owner, public, client="istio-system")) == ["s"]
    assert names(followed(owner, private, client="istio-system")) == ["p"]


def test_the_most_specific_host_wins_whatever_its_age() -> None:
    wild = host_policy("wild", "*.cluster.local", namespace="shop", created=1)
    longer = host_policy("longer", "*.shop.svc.cluster.local", namespace="shop", created=2)
    exact = host_policy("exact", HOST, namespace="shop", created=3)
    assert names(followed(wild, longer, exact)) == ["exact"]
    assert names(followed(wild, longer)) == ["longer"]


def test_policies_of_one_host_are_one_policy() -> None:
    older = host_policy("older", HOST, created=1, subsets=(Subset("a", {"v": "1"}),))
    newer = host_policy(
        "newer",
        HOST,
        created=2,
        policy=limit(1),
        subsets=(Subset("a", {"v": "2"}), Subset("b", {"v": "3"})),
    )
    newest = host_policy("newest", HOST, created=3, policy=limit(2))
    found = followed(newest, newer, older)
    assert found is not None
    assert names(found) == ["older", "newer", "newest"]
    assert [(subset.name, subset.labels["v"]) for subset in found.subsets] == [
        ("a", "1"),
        ("b", "3"),
    ]
    assert found.policy == limit(1), "the first that has one"


def test_with_different_audiences_the_newest_counts() -> None:
    private = host_policy("private", HOST, namespace="client", export_to=(".",), created=1)
    public = host_policy("public", HOST, namespace="client", export_to=("*",), created=2)
    assert names(followed(private, public)) == ["public"]


def test_a_private_policy_of_the_service_is_not_for_clients_elsewhere() -> None:
    assert names(followed(host_policy("s", HOST, namespace="shop", export_to=(".",)))) == []
    assert names(followed(host_policy("s", HOST, namespace="shop", export_to=("client",)))) == ["s"]


def test_a_policy_with_a_selector_is_for_its_clients_only_and_before_others() -> None:
    everybody = host_policy("all", HOST, namespace="client", created=1)
    chosen = host_policy("few", HOST, namespace="client", created=2, selector={"app": "a"})
    assert names(followed(everybody, chosen, labels={"app": "a", "x": "y"})) == ["few"]
    assert names(followed(everybody, chosen, labels={"app": "b"})) == ["all"]
    far = host_policy("far", HOST, namespace="shop", selector={"app": "a"})
    assert names(followed(far, labels={"app": "a"})) == []


RANDOM = LoadBalancing(simple=Simple.RANDOM)


def test_a_port_entry_replaces_the_whole_policy() -> None:
    host = TrafficPolicy(
        load_balancing=RANDOM,
        connection_pool=ConnectionPool(max_connections=1),
        ports={80: limit(2)},
    )
    assert at_port(host, None, 80) == limit(2)
    assert at_port(host, None, 81).load_balancing == RANDOM


def test_a_subset_lies_over_its_host_block_by_block() -> None:
    pool = ConnectionPool(max_connections=1, max_retries=1)
    host = TrafficPolicy(load_balancing=RANDOM, connection_pool=pool)
    subset = TrafficPolicy(connection_pool=ConnectionPool(max_retries=9))
    found = at_port(host, subset, 80)
    assert found.load_balancing == RANDOM
    assert found.connection_pool == ConnectionPool(max_retries=9), "the pool is one block"


def test_a_hosts_port_entry_applies_below_subsets() -> None:
    host = TrafficPolicy(load_balancing=RANDOM, ports={80: limit(2)})
    subset = TrafficPolicy(outlier_detection=OutlierDetection(consecutive_5xx=1))
    found = at_port(host, subset, 80)
    assert found.connection_pool == ConnectionPool(max_connections=2)
    assert found.load_balancing is None


def test_a_subsets_port_entry_falls_back_to_defaults_and_not_to_the_host() -> None:
    host = TrafficPolicy(load_balancing=RANDOM)
    subset = TrafficPolicy(ports={80: limit(2)})
    assert at_port(host, subset, 80) == limit(2)
    assert at_port(host, subset, 81).load_balancing == RANDOM
