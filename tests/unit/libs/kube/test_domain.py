import pytest

from libs.kube.domain import cluster_domain

POD = "nameserver 10.96.0.10\nsearch shop.svc.example.org svc.example.org example.org lan\n"


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        (POD, "example.org"),
        (POD + "options ndots:5\n", "example.org"),
        ("search svc.mesh.local. mesh.local.\n", "mesh.local"),
        ("search SHOP.SVC.Example.ORG\n", "example.org"),
        ("search lan\n", "cluster.local"),
        ("search shop.svc.old\nsearch shop.svc.new\n", "new"),  # the last one counts
        ("# search shop.svc.no\n", "cluster.local"),
        ("search", "cluster.local"),
        ("", "cluster.local"),
    ],
)
def test_the_domain_is_what_pods_search(text: str, domain: str) -> None:
    assert cluster_domain(text) == domain
