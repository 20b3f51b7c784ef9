import json
from typing import Any

import pytest

from libs.api.decode import decode
from libs.api.mesh_config import MeshConfig
from libs.api.mesh_parts import CertificateData
from libs.api.networking.proxy_config import ProxyConfig, ProxyImage
from libs.api.proxy_defaults import ANNOTATION, ProxyDefaults
from libs.api.resource import Metadata
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from libs.translate.proxy_settings import as_json, effective, of_mesh

ROOT = "istio-system"


def _config(name: str, namespace: str, created: str = "2026-01-01", **spec: object) -> ProxyConfig:
    resource, problems = decode(
        {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "ProxyConfig",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": f"{created}T00:00:00Z",
            },
            "spec": spec,
        }
    )
    assert isinstance(resource, ProxyConfig), problems
    return resource


def _pod(annotation: str | None = None, **labels: str) -> Metadata:
    annotations = {} if annotation is None else {ANNOTATION: annotation}
    return Metadata(name="a", namespace="shop", labels=labels, annotations=annotations)


MESH = ProxyDefaults(concurrency=1, proxy_metadata={"A": "mesh", "B": "mesh"})
SELECTED: dict[str, Any] = {"selector": {"matchLabels": {"app": "a"}}}


# proves: ProxyConfig spec.concurrency, spec.selector.matchLabels
@pytest.mark.parametrize(
    ("configs", "annotation", "concurrency"),
    [
        ([], None, 1),
        ([_config("r", ROOT, concurrency=2)], None, 2),
        ([_config("r", ROOT, concurrency=2), _config("n", "shop", concurrency=3)], None, 3),
        ([_config("n", "shop", concurrency=3)], "concurrency: 4", 4),
        ([_config("w", "shop", concurrency=5, **SELECTED)], "concurrency: 4", 5),
        ([_config("o", "other", concurrency=9)], None, 1),
        ([_config("w", "shop", concurrency=9, selector={"matchLabels": {"app": "b"}})], None, 1),
        ([_config("r", ROOT, concurrency=9, **SELECTED)], None, 1),
        ([_config("n", "shop", concurrency=0)], None, 0),
        ([_config("new", "shop", "2026-02-02", concurrency=9), _config("old", "shop")], None, 1),
        ([], "concurrency: many", 1),
        ([], "concurrency: 4\nnoSuchField: 1", 1),
    ],
)
def test_the_nearest_layer_wins(
    configs: list[ProxyConfig], annotation: str | None, concurrency: int
) -> None:
    found = effective(_pod(annotation, app="a"), mesh=MESH, configs=configs, root_namespace=ROOT)
    assert found.concurrency == concurrency


# proves: ProxyConfig spec.environmentVariables
def test_variables_of_all_layers_come_together() -> None:
    configs = [
        _config("r", ROOT, environmentVariables={"B": "root", "C": "root"}),
        _config("w", "shop", environmentVariables={"C": "own"}, **SELECTED),
    ]
    found = effective(
        _pod("{proxyMetadata: {D: pod}}", app="a"), mesh=MESH, configs=configs, root_namespace=ROOT
    )
    assert found.proxy_metadata == {"A": "mesh", "B": "root", "C": "own", "D": "pod"}


# proves: ProxyConfig spec.image.imageType
def test_the_image_of_a_namespace_is_its_own() -> None:
    configs = [_config("n", "shop", image={"imageType": "debug"})]
    found = effective(_pod(), mesh=None, configs=configs, root_namespace=ROOT)
    assert found.image == ProxyImage("debug")


def test_the_agent_gets_what_is_set_and_nothing_else() -> None:
    text = as_json(effective(_pod("drainDuration: 2s"), mesh=MESH, configs=[], root_namespace=ROOT))
    assert json.loads(text) == {
        "concurrency": 1,
        "drainDuration": "2s",
        "proxyMetadata": {"A": "mesh", "B": "mesh"},
    }


def test_of_two_for_the_same_workloads_the_newer_is_told() -> None:
    old, new = _config("old", "shop"), _config("new", "shop", "2026-02-02")
    other = _config("selected", "shop", "2026-03-03", **SELECTED)
    step = apply(initial(MeshSettings()), [Upsert(old), Upsert(new), Upsert(other)])
    assert [(it.ref, it.reason) for it in step.problems] == [(new.ref, "ConflictingPolicy")]


def test_roots_of_other_meshes_are_trusted_by_every_proxy() -> None:
    # proves: MeshConfig caCertificates[].pem
    mesh = MeshConfig(
        default_config=ProxyDefaults(ca_certificates_pem=("a",), concurrency=2),
        ca_certificates=(
            CertificateData(pem="b", trust_domains=("td",)),
            CertificateData(pem="c", cert_signers=("signers.example/x",)),
            CertificateData(spiffe_bundle_url="https://bundle.example"),
        ),
    )
    assert of_mesh(mesh) == ProxyDefaults(ca_certificates_pem=("a", "b"), concurrency=2)
    assert of_mesh(MeshConfig()) is None
