import pytest

from libs.runtime.settings import SettingsError, load
from services.agent import addresses
from services.agent.node import downward_labels, node
from services.agent.proxy_config import ProxyConfig, ProxyConfigError, parse, seconds
from services.agent.settings import AgentSettings

POD = {"POD_NAME": "web-1", "POD_NAMESPACE": "shop", "INSTANCE_IP": "10.0.0.7,fd00::7"}


def settings(**environ: str) -> AgentSettings:
    return load(AgentSettings, {**POD, **environ})


def test_durations_are_those_of_go() -> None:
    assert seconds("1h30m") == 5400.0
    assert seconds("24h0m0s") == 86400.0
    assert seconds("250ms") == 0.25
    assert seconds("1.5s") == 1.5
    for wrong in ("", "5", "s", "5 s", "-5s", "5d", "1e9s"):
        with pytest.raises(ValueError, match="duration"):
            seconds(wrong)


def test_proxy_config_is_read_as_injection_writes_it() -> None:
    found = parse(
        '{"discoveryAddress":"istiod:15012","drainDuration":"10s","concurrency":2,'
        '"terminationDrainDuration":"1s","tracing":{"zipkin":{}},'
        '"proxyStatsMatcher":{"inclusionPrefixes":["cluster.outbound"]}}'
    )
    assert (found.discovery_address, found.drain_duration) == ("istiod:15012", 10.0)
    assert (found.concurrency, found.termination_drain_duration) == (2, 1.0)
    assert found.proxy_stats_matcher.inclusion_prefixes == ("cluster.outbound",)
    assert parse("") == ProxyConfig()


@pytest.mark.parametrize(
    "wrong", ["[]", "{", '{"statusPort":"x"}', '{"drainDuration":"x"}', "[" * 60_000, " " * 70_000]
)
def test_a_wrong_proxy_config_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(ProxyConfigError, match="PROXY_CONFIG"):
        parse(wrong)
    with pytest.raises(SettingsError, match="PROXY_CONFIG"):
        settings(PROXY_CONFIG=wrong)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("SECRET_TTL", "a day"),
        ("SECRET_GRACE_PERIOD_RATIO", "1.5"),
        ("ENVOY_STATUS_PORT", "x"),
        ("SEINE_NO_SUCH", "1"),
        ("ISTIO_METAJSON_LABELS", "{"),
        ("ISTIO_KUBE_APP_PROBERS", "{"),
        ("ISTIO_PROMETHEUS_ANNOTATIONS", '{"scrape":"true","port":"15020"}'),
    ],
)
def test_a_wrong_variable_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        settings(**{name: text})


def test_a_pod_must_know_its_name_and_address() -> None:
    with pytest.raises(SettingsError, match="POD_NAME"):
        load(AgentSettings, {"INSTANCE_IP": "10.0.0.7"})


def test_the_node_says_who_it_is() -> None:
    found = node(
        settings(
            ISTIO_META_CLUSTER_ID="Kubernetes",
            ISTIO_META_INTERCEPTION_MODE="REDIRECT",
            ISTIO_METAJSON_LABELS='{"app":"web","istio-locality":"eu.a"}',
            SERVICE_ACCOUNT="web",
            PROXY_CONFIG='{"concurrency":1}',
        ),
        "sidecar",
        domain="shop.svc.cluster.local",
        labels={},
    )
    assert found["id"] == "sidecar~10.0.0.7~web-1.shop~shop.svc.cluster.local"
    assert found["cluster"] == "web.shop"
    assert found["locality"] == {"region": "eu", "zone": "a"}
    metadata = found["metadata"]
    assert metadata["NAMESPACE"] == "shop"
    assert metadata["SERVICE_ACCOUNT"] == "web"
    assert metadata["INSTANCE_IPS"] == "10.0.0.7,fd00::7"
    assert metadata["CLUSTER_ID"] == "Kubernetes"
    assert metadata["INTERCEPTION_MODE"] == "REDIRECT"
    assert metadata["LABELS"]["app"] == "web"
    assert metadata["PROXY_CONFIG"] == {"concurrency": 1}
    assert metadata["SEINE_COUNTS_BYTES"] == "true"


@pytest.mark.parametrize(("text", "told"), [("5m", False), ("soon", True)])
def test_an_idle_timeout_that_is_none_is_told(
    text: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    asked = settings(ISTIO_META_IDLE_TIMEOUT=text)
    found = node(asked, "sidecar", domain="d", labels={})
    assert found["metadata"]["IDLE_TIMEOUT"] == text
    assert ("ISTIO_META_IDLE_TIMEOUT has no effect" in caplog.text) is told


def test_labels_of_the_downward_api_win() -> None:
    labels = downward_labels('app="web"\nnote="a \\"quoted\\" = sign"\n\n')
    assert labels == {"app": "web", "note": 'a "quoted" = sign'}
    found = node(settings(ISTIO_METAJSON_LABELS='{"app":"x"}'), "router", domain="d", labels=labels)
    assert found["metadata"]["LABELS"] == labels


def test_servers_must_prove_the_name_by_which_they_are_reached() -> None:
    inside = settings()
    assert addresses.discovery(inside).server_name == "istiod.istio-system.svc"
    assert addresses.order(inside).server_name == "istiod.istio-system.svc"
    assert addresses.order(settings(CA_ADDR="ca.pki.svc:15012")).server_name == "ca.pki.svc"


def test_behind_a_number_the_name_is_that_of_the_systems_account() -> None:
    for host in ("127.0.0.1", "[::1]", "localhost"):
        local = settings(
            PROXY_CONFIG=f'{{"discoveryAddress":"{host}:15012"}}', CA_ADDR=f"{host}:15013"
        )
        assert addresses.discovery(local).server_name == "istiod.istio-system.svc"
        assert addresses.order(local).server_name == "seine-ca.istio-system.svc"
    named = settings(ISTIOD_SAN="a.svc", SEINE_CA_SERVER_NAME="b.svc", CA_ADDR="10.0.0.1:1")
    assert addresses.discovery(named).server_name == "a.svc"
    assert addresses.order(named).server_name == "b.svc"


def test_the_pod_says_whom_it_expects_to_be() -> None:
    found = addresses.order(settings(SERVICE_ACCOUNT="web", TRUST_DOMAIN="corp.example"))
    assert found.identity == "spiffe://corp.example/ns/shop/sa/web"
    with pytest.raises(SettingsError, match="trust domain"):
        settings(TRUST_DOMAIN="Not A Domain")


def test_envoy_finds_the_agent_where_it_listens() -> None:
    assert addresses.status(settings()) == "127.0.0.1"
    assert addresses.status(settings(SEINE_LISTEN_ADDRESS="127.3.2.1")) == "127.3.2.1"


def test_the_control_plane_hears_that_queries_are_answered() -> None:
    asked = settings(ISTIO_META_DNS_CAPTURE="true")
    assert asked.dns_capture
    assert node(asked, "sidecar", domain="d", labels={})["metadata"]["DNS_CAPTURE"] == "true"
    assert "DNS_CAPTURE" not in node(asked, "router", domain="d", labels={})["metadata"]
    assert not settings().dns_capture
    for address in ("15053", ":15053", "localhost", "localhost:x", "localhost:70000"):
        with pytest.raises(SettingsError, match="DNS_PROXY_ADDR"):
            settings(DNS_PROXY_ADDR=address)


def test_without_envoy_there_must_be_a_place_for_certificates() -> None:
    assert settings(DISABLE_ENVOY="true", OUTPUT_CERTS="/certs").disable_envoy
    with pytest.raises(SettingsError, match="OUTPUT_CERTS"):
        settings(DISABLE_ENVOY="true")
