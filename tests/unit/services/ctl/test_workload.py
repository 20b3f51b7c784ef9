"""`seinectl workload`: groups as text, and the files of their machines."""

import json
import shlex
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from libs.api import mesh_config
from libs.api.check import check_raw
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.networking.workload_group import WorkloadGroup
from libs.api.resource import Metadata
from libs.inject.scene import Cluster
from services.ctl import workload_files
from services.ctl.app import app
from services.ctl.workload_files import Wishes

GROUP = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata:
  name: db
  namespace: shop
  annotations:
    proxy.istio.io/config: |
      concurrency: 2
      proxyMetadata: {OF_GROUP: "it's"}
spec:
  metadata:
    labels: {app: db, version: v2}
    annotations:
      proxy.istio.io/config: '{"proxyMetadata": {"OF_ENTRIES": "1"}}'
  template:
    serviceAccount: vm
    network: far
    ports: {tcp: 5432, http: 8080}
  probe:
    periodSeconds: 5
    httpGet: {port: 8080, path: /up}
"""
MESH = """
trustDomain: corp.example
defaultConfig:
  meshId: one
  proxyMetadata: {OF_MESH: "1", OF_GROUP: mesh}
"""


def group(text: str = GROUP) -> WorkloadGroup:
    found, problems = check_raw(yaml.safe_load(text))
    assert isinstance(found, WorkloadGroup), problems
    return found


def mesh(text: str = MESH) -> MeshConfig:
    data = {mesh_config.KEY: text}
    found, problems = mesh_config.read(ConfigMap(Metadata("istio"), data))
    assert found is not None, problems
    return found


def variables(made: WorkloadGroup, wishes: Wishes, of: MeshConfig | None = None) -> dict[str, str]:
    """Return what a shell makes of cluster.env."""
    proxy = workload_files.proxy_of(made, of or mesh(), wishes)
    text = workload_files.cluster_env(made, proxy, wishes)
    pairs = (word.split("=", 1) for word in shlex.split(text))
    return dict(pairs)


def test_a_group_is_printed_as_a_manifest() -> None:
    words = "--name db --namespace shop --labels app=db,tier=data --ports http=8080 -p tcp=5432"
    done = CliRunner().invoke(
        app, ["workload", "group", "create", *words.split(), "--serviceAccount", "vm"]
    )
    assert done.exit_code == 0, done.output
    made = group(done.output)
    assert made.metadata.namespace == "shop"
    assert made.spec.template.ports == {"http": 8080, "tcp": 5432}
    assert made.spec.template.service_account == "vm"
    assert made.spec.metadata is not None
    assert made.spec.metadata.labels == {"app": "db", "tier": "data"}


@pytest.mark.parametrize(
    "words", ["--ports http", "--ports http=0", "--ports http=x", "--labels app", "-l bad!=1"]
)
def test_a_group_that_cannot_be_is_refused(words: str) -> None:
    line = ["workload", "group", "create", "--name", "db", "-n", "shop", *words.split()]
    assert CliRunner().invoke(app, line).exit_code == 2


def test_the_proxys_settings_are_the_meshs_and_the_groups() -> None:
    wishes = Wishes(autoregister=True)
    proxy = workload_files.proxy_of(group(), mesh(), wishes)
    written: dict[str, Any] = yaml.safe_load(workload_files.mesh_yaml(proxy))["defaultConfig"]
    assert written["discoveryAddress"] == "istiod.istio-system.svc:15012"
    assert (written["concurrency"], written["meshId"]) == (2, "one")
    assert written["readinessProbe"] == {
        "periodSeconds": 5,
        "httpGet": {"port": 8080, "path": "/up"},
    }
    said = written["proxyMetadata"]
    assert (said["OF_MESH"], said["OF_GROUP"], said["OF_ENTRIES"]) == ("1", "it's", "1")


def test_the_variables_are_istios() -> None:
    found = variables(group(), Wishes(autoregister=True, cluster=Cluster(cluster_id="c-1")))
    assert json.loads(found.pop("ISTIO_METAJSON_LABELS")) == {
        "app": "db",
        "version": "v2",
        "service.istio.io/canonical-name": "db",
        "service.istio.io/canonical-revision": "v2",
    }
    assert found == {
        "CANONICAL_REVISION": "v2",
        "CANONICAL_SERVICE": "db",
        "ISTIO_INBOUND_PORTS": "5432,8080",
        "ISTIO_LOCAL_EXCLUDE_PORTS": "22,15090,15021,15020",
        "ISTIO_META_AUTO_REGISTER_GROUP": "db",
        "ISTIO_META_CLUSTER_ID": "c-1",
        "ISTIO_META_DNS_CAPTURE": "true",
        "ISTIO_META_MESH_ID": "one",
        "ISTIO_META_NETWORK": "far",
        "ISTIO_META_POD_PORTS": '[{"containerPort":8080,"name":"http"},'
        '{"containerPort":5432,"name":"tcp"}]',
        "ISTIO_META_WORKLOAD_NAME": "db",
        "ISTIO_NAMESPACE": "shop",
        "ISTIO_SERVICE": "db.shop",
        "ISTIO_SERVICE_CIDR": "*",
        "OF_ENTRIES": "1",
        "OF_GROUP": "it's",
        "OF_MESH": "1",
        "POD_NAMESPACE": "shop",
        "SERVICE_ACCOUNT": "vm",
        "TRUST_DOMAIN": "corp.example",
    }


def test_what_is_not_said_is_left_open() -> None:
    least = group(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\n"
        "metadata: {name: vm, namespace: a}\nspec: {template: {}}"
    )
    found = variables(least, Wishes(capture_dns=False), MeshConfig())
    assert found["ISTIO_INBOUND_PORTS"] == "*"
    assert found["SERVICE_ACCOUNT"] == "default"
    assert not {"ISTIO_META_DNS_CAPTURE", "ISTIO_META_AUTO_REGISTER_GROUP"} & found.keys()
    assert not {"ISTIO_SVC_IP", "CA_ADDR", "ISTIO_META_POD_PORTS"} & found.keys()


def test_a_revision_has_its_own_address() -> None:
    cluster = Cluster(revision="v2", system_namespace="mesh")
    wishes = Wishes(cluster=cluster, external_address="192.0.2.7")
    found = variables(group(), wishes)
    assert found["CA_ADDR"] == "istiod-v2.mesh.svc:15012"
    assert found["ISTIO_SVC_IP"] == "192.0.2.7"
    assert found["REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION"] == "true"
    assert workload_files.hosts("198.51.100.1", cluster) == "198.51.100.1 istiod-v2.mesh.svc\n"
    assert not workload_files.hosts("", cluster)


@pytest.mark.parametrize(
    "words",
    [
        "-o x",
        "--name db -o x",
        "-f g.yaml -o x --internalIP 10.0.0.1 --externalIP 10.0.0.2",
        "-f g.yaml -o x --ingressIP gateway.example",
        "-f g.yaml -o x --tokenDuration 599",
        "-f g.yaml -o x --tokenDuration 86401",
    ],
)
def test_a_command_line_that_makes_no_sense_is_refused(words: str) -> None:
    line = ["workload", "entry", "configure", *words.split()]
    assert CliRunner().invoke(app, line).exit_code == 2
