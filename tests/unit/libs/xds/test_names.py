import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.xds.names import ClusterName, parse_cluster

hosts = st.from_regex(r"[a-z0-9*.-]{1,60}", fullmatch=True)
subsets = st.from_regex(r"[a-z0-9-]{0,20}", fullmatch=True)


@given(st.integers(0, 65535), subsets, hosts)
def test_what_is_written_can_be_read(port: int, subset: str, host: str) -> None:
    name = ClusterName(port, subset, host)
    assert parse_cluster(str(name)) == name


@pytest.mark.parametrize(
    "name",
    ["", "PassthroughCluster", "inbound|80||", "outbound|80||", "outbound|x||h", "outbound|²||h"],
)
def test_other_clusters_are_no_outbound_ones(name: str) -> None:
    assert parse_cluster(name) is None


def test_the_server_name_of_mesh_tls() -> None:
    assert ClusterName(80, "v1", "a.b").sni == "outbound_.80_.v1_.a.b"
