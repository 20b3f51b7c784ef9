"""The mesh on a real cluster, from the image to the refused call."""

import json
import re
import time
from collections import Counter
from collections.abc import Mapping

import pytest

from services.local import accesslog, trails
from services.local.trails import Seen
from tests.support.kind_cluster import SYSTEM, Cluster, containers, eventually, named
from tests.support.mesh_report import Report

pytestmark = pytest.mark.timeout(900)
SHOP = "bookshop"
WEIGHTS = {"v1": 60, "v2": 30, "v3": 10}
WEIGHTED = "examples/bookshop/manifests/reviews-weights.yaml"
ROUTES = ("virtualservice", "reviews", "-n", SHOP)
EVERYONE = re.compile(r"(\d+) of \1 proxies acknowledged")
SAMPLE = 300


def calls_of(cluster: Cluster, program: str, since: float = 0) -> list[Seen]:
    lines = cluster.logs(SHOP, f"deployment/{program}-v1", program, since)
    return [call for line in lines for call in trails.calls(line)]


def test_everything_is_ready_and_nothing_was_restarted(cluster: Cluster, report: Report) -> None:
    pods = cluster.pods(SYSTEM) + cluster.pods(SHOP)
    states = [state for pod in pods for state in pod["status"]["containerStatuses"]]
    assert all(state["ready"] for state in states)
    report.note(f"{len(pods)} pods, {sum(state['restartCount'] for state in states)} restarts")


def test_pods_of_a_labelled_namespace_have_a_sidecar(cluster: Cluster) -> None:
    pods = cluster.pods(SHOP)
    legacy = named(pods, "legacy")
    assert "istio-proxy" not in containers(legacy)
    assert all("istio-proxy" in containers(pod) for pod in pods if pod is not legacy)


def test_calls_prove_identities_over_mutual_tls(cluster: Cluster, report: Report) -> None:
    found = eventually(
        lambda: calls_of(cluster, "visitors"), lambda calls: len(calls) > SAMPLE, seconds=90
    )
    report.calls(found)
    good = [call for call in found if call.ok and call.protocol != "TCP"]
    assert good
    for call in good:
        account = call.caller.partition("-")[0]
        assert call.proof == f"spiffe://cluster.local/ns/{SHOP}/sa/{account}"


def test_plain_text_is_refused_where_mutual_tls_is_required(
    cluster: Cluster, report: Report
) -> None:
    found = eventually(lambda: calls_of(cluster, "legacy"), lambda calls: len(calls) > 10)
    report.calls(found)
    to_reviews = [call for call in found if call.service == "reviews"]
    assert to_reviews
    assert not any(call.ok for call in to_reviews)


def test_the_same_caller_is_served_where_plain_text_is_accepted(cluster: Cluster) -> None:
    found = eventually(lambda: calls_of(cluster, "legacy"), lambda calls: len(calls) > 10)
    to_storefront = [call for call in found if call.service == "storefront"]
    assert any(call.ok for call in to_storefront)
    assert not any(call.proof for call in to_storefront)


def _versions(calls: list[Seen]) -> Counter[str]:
    return Counter(call.version for call in calls if call.service == "reviews" and call.ok)


def test_a_virtual_service_splits(cluster: Cluster, report: Report) -> None:
    began = time.monotonic()
    seen = eventually(
        lambda: _versions(calls_of(cluster, "visitors", time.monotonic() - began)),
        lambda found: found.total() > SAMPLE,
        seconds=120,
    )
    total = seen.total()
    report.note(f"split of the reviews, asked {WEIGHTS}, seen {dict(seen)}")
    for version, weight in WEIGHTS.items():
        share = weight / 100
        spread = 4.5 * (share * (1 - share) / total) ** 0.5
        assert abs(seen[version] / total - share) < spread


def test_a_policy_denies_and_the_sidecar_names_its_rule(cluster: Cluster, report: Report) -> None:
    tried = [call for call in calls_of(cluster, "visitors") if call.method == "DELETE"]
    to_reviews = [call for call in tried if call.service == "reviews"]
    assert any(call.outcome.startswith("403") for call in to_reviews)
    assert not any(call.ok for call in to_reviews)
    pods = [pod["metadata"]["name"] for pod in cluster.pods(SHOP)]
    logs = [
        line
        for name in pods
        if name.startswith("reviews-")
        for line in cluster.logs(SHOP, f"pod/{name}", "istio-proxy")
    ]
    rules = {entry.rule for line in logs if (entry := accesslog.parse(line)) and entry.rule}
    report.note(f"denied by {', '.join(sorted(rules))}")
    assert f"ns[{SHOP}]-policy[reviews-read-only]-rule[0]" in rules


def test_a_bad_object_is_refused_with_the_path_of_its_mistake(
    cluster: Cluster, report: Report
) -> None:
    route = [{"destination": {"host": "ratings"}}]
    good = {"hosts": ["ratings"], "http": [{"route": route}]}
    bad = {"hosts": ["ratings"], "http": [{"route": route, "retries": {"attempts": -1}}]}
    said = cluster.refused("apply", "-f", "-", text=_virtual_service(bad))
    report.note(f"refused: {said.strip()}")
    assert "spec.http[0].retries" in said
    cluster.kubectl("apply", "--dry-run=server", "-f", "-", text=_virtual_service(good))


def _virtual_service(spec: Mapping[str, object]) -> str:
    metadata = {"name": "ratings", "namespace": SHOP}
    kind = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
    return json.dumps({**kind, "metadata": metadata, "spec": spec})


def test_seinectl_sees_the_whole_mesh_with_nothing_but_a_kubeconfig(
    cluster: Cluster, report: Report
) -> None:
    pods = [pod for pod in cluster.pods(SHOP) if "istio-proxy" in containers(pod)]
    names = {f"{pod['metadata']['name']}.{SHOP}" for pod in pods}
    rows = eventually(
        lambda: json.loads(cluster.seinectl("proxy-status", "-o", "json", "-n", SHOP)),
        lambda found: {row["proxy"] for row in found} == names,
    )
    report.note(
        f"seinectl: {len(rows)} proxies at {len({row['replica'] for row in rows})} replicas"
    )
    one = min(names)
    clusters = json.loads(cluster.seinectl("proxy-config", "cluster", one, "-o", "json"))
    sources = {source for item in clusters for source in item.get("sources", ())}
    assert f"Service/{SHOP}/reviews" in sources
    secrets = json.loads(cluster.seinectl("proxy-config", "secret", one, "-o", "json"))
    assert f"spiffe://cluster.local/ns/{SHOP}/sa/" in json.dumps(secrets)
    looked = json.loads(cluster.seinectl("check", "-o", "json"))
    report.note(f"seinectl check: {len(looked)} findings, all good")
    assert cluster.execute(one, "python", "-c", "print(6 * 7)").strip() == "42"


def _programmed(cluster: Cluster) -> str:
    conditions = cluster.get(*ROUTES)["status"]["conditions"]
    return {one["type"]: str(one["message"]) for one in conditions}.get("Programmed", "")


def test_a_change_takes_effect_and_its_status_says_for_whom(
    cluster: Cluster, report: Report
) -> None:
    only_v3 = [{"route": [{"destination": {"host": "reviews", "subset": "v3"}}]}]
    patch = json.dumps({"spec": {"http": only_v3}})
    try:
        with report.step("from a change of a route to nothing but the new version in a log"):
            cluster.kubectl("patch", *ROUTES, "--type=merge", "-p", patch)
            seen = eventually(
                lambda: _versions(calls_of(cluster, "visitors", 2)),
                lambda found: found.total() > 10 and set(found) == {"v3"},
            )
        assert set(seen) == {"v3"}
        said = eventually(lambda: _programmed(cluster), lambda text: bool(EVERYONE.fullmatch(text)))
        report.note(f"status of the route: {said}")
        assert EVERYONE.fullmatch(said)
    finally:
        cluster.kubectl("apply", "-f", WEIGHTED)
