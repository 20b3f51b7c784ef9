"""What stands in a patch is whatever a user wrote: it is read, or refused in words."""

import json

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from libs.xds.generate.patches.merge import merge
from libs.xds.generate.patches.values import MESSAGES, Misfit, read

OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"

names = st.sampled_from(
    ["name", "type", "@type", "connect_timeout", "typed_config", "filters", "routes", "value", "x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from([OPTIONS, "type.googleapis.com/envoy.nowhere.v3.X", "1s", "EDS"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(sorted(MESSAGES)), st.dictionaries(names, values, max_size=5))
def test_any_value_is_read_or_refused(target: str, value: dict[str, object]) -> None:
    try:
        message, _ = read(target, json.dumps(value, allow_nan=False).encode())
    except (Misfit, ValueError):  # ValueError: numbers that JSON does not know
        return
    assert message is not None
    other = MESSAGES[target]()
    merge(other, message)
    merge(other, message, replace_lists=True)
    assert other == message


@pytest.mark.parametrize("depth", [150, 900, 100_000])
def test_a_value_nested_without_end_is_refused(depth: int) -> None:
    deep = b'{"metadata":{"filter_metadata":{"a":' + b'{"a":' * depth + b"1" + b"}" * (depth + 3)
    with pytest.raises(Misfit):
        read("CLUSTER", deep)


def cluster(value: object) -> Cluster:
    message, left_out = read("CLUSTER", json.dumps(value).encode())
    assert left_out == ""
    assert isinstance(message, Cluster)
    return message


def test_what_is_packed_is_merged_if_it_is_of_one_type() -> None:
    def socket(kind: str, **fields: object) -> dict[str, object]:
        config = {"@type": kind, **fields}
        return {"transport_socket": {"name": "tls", "typed_config": config}}

    found = Cluster()
    found.CopyFrom(cluster(socket(TLS, sni="a", allow_renegotiation=True)))
    merge(found, cluster(socket(TLS, sni="b")))
    packed = MessageToDict(found)["transportSocket"]["typedConfig"]
    assert packed == {"@type": TLS, "sni": "b", "allowRenegotiation": True}
    merge(found, cluster(socket(OPTIONS)))
    assert MessageToDict(found)["transportSocket"]["typedConfig"]["@type"] == OPTIONS


def test_durations_and_wrapped_values_are_replaced_whole() -> None:
    found = Cluster()
    found.CopyFrom(cluster({"connect_timeout": "1.5s", "per_connection_buffer_limit_bytes": 5}))
    merge(found, cluster({"connect_timeout": "2s", "per_connection_buffer_limit_bytes": 0}))
    assert found.connect_timeout.nanos == 0
    assert found.HasField("per_connection_buffer_limit_bytes")
    assert found.per_connection_buffer_limit_bytes.value == 0


RATE_LIMIT = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1m", 60), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), (".5s", 0.5), ("1us", 1e-6)],
)
def test_durations_are_read_as_istio_reads_them(text: str, seconds: float) -> None:
    found = cluster({"connectTimeout": text, "name": "1m"})
    assert found.connect_timeout.ToTimedelta().total_seconds() == seconds
    assert found.name == "1m"


def test_and_at_any_depth() -> None:
    bucket = {"max_tokens": 1, "fill_interval": "1m"}
    limit = {"@type": RATE_LIMIT, "stat_prefix": "a", "token_bucket": bucket}
    message, left_out = read(
        "HTTP_FILTER", json.dumps({"name": "x", "typed_config": limit, "nope": 1}).encode()
    )
    assert message is not None
    assert "nope" in left_out
    packed = MessageToDict(message)["typedConfig"]
    assert packed["tokenBucket"]["fillInterval"] == "60s"
    health = [{"timeout": "1m", "no_traffic_interval": "2h"}, {"timeout": "3s"}]
    options = {"a": {"@type": OPTIONS, "common_http_protocol_options": {"idle_timeout": "5m"}}}
    found = cluster({"health_checks": health, "typed_extension_protocol_options": options})
    assert [check.timeout.seconds for check in found.health_checks] == [60, 3]
    assert MessageToDict(found)["typedExtensionProtocolOptions"]["a"][
        "commonHttpProtocolOptions"
    ] == {"idleTimeout": "300s"}


def test_a_text_that_looks_like_a_duration_stays_what_it_is() -> None:
    data = {"a": {"timeout": "1m", "connect_timeout": "1m"}}
    found = cluster({"metadata": {"filter_metadata": data}, "connect_timeout": "1m"})
    assert MessageToDict(found)["metadata"]["filterMetadata"] == data
    with pytest.raises(Misfit):
        cluster({"connect_timeout": "soon"})


def test_a_field_that_envoy_does_not_have_is_left_out_and_said() -> None:
    message, left_out = read("CLUSTER", b'{"name": "a", "nonsense": {"b": 1}}')
    assert isinstance(message, Cluster)
    assert message.name == "a"
    assert "nonsense" in left_out
