"""Each field of MeshConfig's discoverySelectors decides which namespaces count."""

import pytest

from libs.api.kubernetes import ConfigMap, Namespace, Service
from libs.api.resource import Metadata
from libs.translate.apply import Upsert
from services.discovery.selection import Selection

ROOT = "istio-system"


def _counted(selector: str) -> set[str]:
    events = [
        *(Upsert(Namespace(Metadata(name, labels={"env": name}))) for name in ("a", "b", "c")),
        *(Upsert(Service(Metadata("web", name))) for name in ("a", "b", "c")),
        Upsert(ConfigMap(Metadata("istio", ROOT), {"mesh": f"discoverySelectors: [{selector}]"})),
    ]
    found = Selection(ROOT)(events, {})
    resources = (it.resource for it in found if isinstance(it, Upsert))
    return {it.metadata.namespace for it in resources if isinstance(it, Service)}


# proves: MeshConfig discoverySelectors[].matchLabels
# proves: MeshConfig discoverySelectors[].matchExpressions[].key
# proves: MeshConfig discoverySelectors[].matchExpressions[].operator
# proves: MeshConfig discoverySelectors[].matchExpressions[].values
@pytest.mark.parametrize(
    ("selector", "counted"),
    [
        ("{matchLabels: {env: a}}", {"a"}),
        ("{matchLabels: {env: b}}", {"b"}),
        ("{matchExpressions: [{key: env, operator: In, values: [a, b]}]}", {"a", "b"}),
        ("{matchExpressions: [{key: env, operator: In, values: [c]}]}", {"c"}),
        ("{matchExpressions: [{key: env, operator: NotIn, values: [a, b]}]}", {"c"}),
        ("{matchExpressions: [{key: other, operator: Exists}]}", set()),
    ],
)
def test_namespaces_count_by_their_labels(selector: str, counted: set[str]) -> None:
    assert _counted(selector) == counted
