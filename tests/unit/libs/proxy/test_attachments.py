import pytest

from libs.model.settings import MeshSettings
from libs.proxy.attachments import CLASS_LABEL, GATEWAY_LABEL, attaches
from tests.support import mesh as rows

OF_G = rows.workload("pod", labels={GATEWAY_LABEL: "g", CLASS_LABEL: "istio"})


@pytest.mark.parametrize(
    ("target", "namespace", "expected"),
    [
        ("Gateway/g", "shop", True),
        ("Gateway/g", "bank", False),
        ("Gateway/g", "istio-system", False),
        ("Gateway/h", "shop", False),
        ("GatewayClass/istio", "istio-system", True),
        ("GatewayClass/istio", "shop", False),
        ("GatewayClass/other", "istio-system", False),
        ("Gateway/istio", "shop", False),
    ],
)
def test_whom_a_target_names(target: str, namespace: str, expected: bool) -> None:
    policy = rows.token_policy("p", namespace, targets=(target,))
    assert attaches(policy, OF_G, MeshSettings()) is expected


def test_a_sidecar_is_no_gateway() -> None:
    policy = rows.access_policy("p", targets=("Gateway/g", "Gateway/"))
    assert not attaches(policy, rows.workload("pod"), MeshSettings())
