from libs.api.decode import decode
from libs.api.networking.destination_rule import DestinationRule
from libs.api.networking.virtual_service import Body
from libs.api.proxy_defaults import ConnectionSettings, ProxyDefaults, Topology
from libs.api.resource import Metadata
from libs.api.scalars import Timestamp
from libs.api.written import written


def test_durations_are_texts_and_choices_their_words() -> None:
    settings = ProxyDefaults(
        drain_duration=45_000,  # type: ignore[arg-type]
        file_flush_interval=1_250,  # type: ignore[arg-type]
        concurrency=0,
        gateway_topology=Topology(num_trusted_proxies=2),
        connection_settings=ConnectionSettings(http_merge_slashes=False),
    )
    assert written(settings) == {
        "drainDuration": "45s",
        "fileFlushInterval": "1.25s",
        "concurrency": 0,
        "gatewayTopology": {"numTrustedProxies": 2},
        "connectionSettings": {"httpMergeSlashes": False},
    }


def test_what_is_written_is_read_as_the_same() -> None:
    spec = {
        "host": "a",
        "trafficPolicy": {
            "connectionPool": {"tcp": {"connectTimeout": "0.5s"}},
            "loadBalancer": {"simple": "RANDOM"},
            "outlierDetection": {"consecutive5xxErrors": 0},
        },
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
    }
    raw = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "a", "namespace": "b", "creationTimestamp": "2026-01-31T08:00:00Z"},
        "spec": spec,
    }
    resource, problems = decode(raw)
    assert isinstance(resource, DestinationRule)
    assert not problems
    assert written(resource)["spec"] == spec


def test_bytes_are_base64_and_times_are_rfc_3339() -> None:
    body = Body(bytes_=b"a")
    assert written(body) == {"bytes": "YQ=="}
    made = Timestamp(1769846400)
    assert written(Metadata(name="a", creation_timestamp=made)) == {
        "name": "a",
        "creationTimestamp": "2026-01-31T08:00:00Z",
    }
