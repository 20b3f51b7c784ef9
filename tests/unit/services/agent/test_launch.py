"""What Envoy is started with: settings of the mesh reach its bootstrap and its command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from libs.api import mesh_config
from libs.api.kubernetes import ConfigMap
from libs.api.resource import Metadata
from libs.runtime.clock import SystemClock
from services.agent import launch
from services.agent.launch import Launch, Levels
from services.agent.node import node
from services.agent.patches import Asked, Asker
from services.agent.settings import AgentSettings
from services.agent.streams.client import Target
from tests.support.pods import pod, proxy, result, variables

SOCKETS = (Path("xds"), Path("sds"), Path("etc/TALLY"))
PATCH = '{"admin": {"profile_path": "/tmp/profile"}}'


class Answer(Asker, frozen=True):
    """A control plane that says this at once, or nothing."""

    answer: Asked | None = None

    async def ask(self, seconds: float) -> Asked | None:
        """Return what was given."""
        del seconds
        return self.answer


@pytest.fixture
def envoy(tmp_path: Path) -> Callable[[str], str]:
    """Return the path of a program in Envoy's place: it says something and ends."""

    def make(script: str) -> str:
        path = tmp_path / "envoy"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o700)
        return str(path)

    return make


def settings_of(folder: Path, text: str = "", **given: object) -> AgentSettings:
    """Return an agent's settings as injection writes them for a mesh whose MeshConfig is `text`."""
    config, problems = mesh_config.read(
        ConfigMap(Metadata("istio", "istio-system"), {"mesh": text})
    )
    assert config is not None, problems
    written = json.loads(variables(proxy(result(pod(), native=False, mesh=config)))["PROXY_CONFIG"])
    return AgentSettings(
        pod_name="web-1",
        pod_namespace="shop",
        instance_ip="10.0.0.7",
        metadata={"WORKLOAD_NAME": "web"},
        json_metadata={"LABELS": '{"app": "shop", "service.istio.io/canonical-name": "store"}'},
        proxy_config=json.dumps({**written, "configPath": str(folder)}),
        **{"envoy_binary": "/bin/true", **given},  # type: ignore[arg-type]
    )


def launch_of(settings: AgentSettings, answer: Asked | None = None) -> Launch:
    introduced = node(settings, "sidecar", domain="shop.svc.cluster.local", labels={})
    target = Target("127.0.0.1:1", "istiod", "/nowhere")
    asker = Answer(target, lambda: "", introduced, "Kubernetes", SystemClock(), answer)
    levels = Levels("warning", "misc:error")
    return Launch(settings, levels, asker, given=launch.given(settings, introduced, paths=SOCKETS))


def config(folder: Path) -> dict[str, Any]:
    """Return the bootstrap that was written."""
    found: dict[str, Any] = json.loads((folder / "envoy-rev.json").read_text())
    return found


async def started(folder: Path, text: str) -> tuple[list[str], dict[str, Any]]:
    """Return the command line, and the bootstrap without the node's own copy of its settings."""
    line = await launch_of(settings_of(folder, text, bootstrap_patches=False)).prepared()
    if not (folder / "envoy-rev.json").exists():
        return line, {}
    found = config(folder)
    del found["node"]["metadata"]["PROXY_CONFIG"]
    return line, found


SERVICE = "address: collector.obs.svc:9000"
TLS = f"{SERVICE}, tlsSettings: "
MUTUAL = "mode: MUTUAL, clientCertificate: /c.pem, privateKey: /k.pem"


# proves: MeshConfig defaultConfig.tracingServiceName, defaultConfig.statsdUdpAddress
# proves: MeshConfig defaultConfig.customConfigFile, defaultConfig.runtimeValues
# proves: MeshConfig defaultConfig.extraStatTags, defaultConfig.statsCompression
# proves: MeshConfig defaultConfig.fileFlushInterval, defaultConfig.fileFlushMinSizeKb
# proves: MeshConfig defaultConfig.connectionSettings.globalDownstreamConnectionLimit
@pytest.mark.parametrize(
    "field",
    [
        "tracingServiceName: APP_LABEL_AND_NAMESPACE",
        "tracingServiceName: CANONICAL_NAME_ONLY",
        "tracingServiceName: CANONICAL_NAME_AND_NAMESPACE",
        "statsdUdpAddress: 127.0.0.1:8125",
        "customConfigFile: /etc/mine.json",
        "runtimeValues: {overload.test: 'true'}",
        "extraStatTags: [flavour]",
        "statsCompression: false",
        "fileFlushInterval: 3s",
        "fileFlushMinSizeKb: 7",
        "connectionSettings: {globalDownstreamConnectionLimit: 77}",
    ],
)
async def test_each_setting_changes_what_envoy_is_started_with(tmp_path: Path, field: str) -> None:
    with_it = await started(tmp_path / "with", f"defaultConfig: {{{field}}}")
    without = await started(tmp_path / "without", "")
    different = "APP_LABEL_AND_NAMESPACE" not in field  # which is the default
    assert (_placeless(with_it) != _placeless(without)) is different


def _placeless(found: tuple[list[str], dict[str, Any]]) -> str:
    line, written = found
    text = json.dumps([line, written])
    return text.replace("/without/", "/").replace("/with/", "/")


# proves: MeshConfig defaultConfig.envoyAccessLogService.address
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.mode
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.clientCertificate
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.privateKey
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.caCertificates
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.caCrl
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.subjectAltNames
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.sni
# proves: MeshConfig defaultConfig.envoyAccessLogService.tlsSettings.insecureSkipVerify
# proves: MeshConfig defaultConfig.envoyAccessLogService.tcpKeepalive.probes
# proves: MeshConfig defaultConfig.envoyAccessLogService.tcpKeepalive.time
# proves: MeshConfig defaultConfig.envoyAccessLogService.tcpKeepalive.interval
# proves: MeshConfig defaultConfig.envoyMetricsService.address
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.mode
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.clientCertificate
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.privateKey
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.caCertificates
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.caCrl
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.subjectAltNames
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.sni
# proves: MeshConfig defaultConfig.envoyMetricsService.tlsSettings.insecureSkipVerify
# proves: MeshConfig defaultConfig.envoyMetricsService.tcpKeepalive.probes
# proves: MeshConfig defaultConfig.envoyMetricsService.tcpKeepalive.time
# proves: MeshConfig defaultConfig.envoyMetricsService.tcpKeepalive.interval
@pytest.mark.parametrize("service", ["envoyAccessLogService", "envoyMetricsService"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", SERVICE),
        (SERVICE, f"{TLS}{{mode: SIMPLE}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: ISTIO_MUTUAL}}"),
        (f"{TLS}{{{MUTUAL}}}", f"{TLS}{{{MUTUAL.replace('/c.pem', '/other.pem')}}}"),
        (f"{TLS}{{{MUTUAL}}}", f"{TLS}{{{MUTUAL.replace('/k.pem', '/other.pem')}}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: SIMPLE, caCertificates: /ca.pem}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: SIMPLE, caCrl: /crl.pem}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: SIMPLE, subjectAltNames: [logs]}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: SIMPLE, sni: logs}}"),
        (f"{TLS}{{mode: SIMPLE}}", f"{TLS}{{mode: SIMPLE, insecureSkipVerify: true}}"),
        (SERVICE, f"{SERVICE}, tcpKeepalive: {{probes: 3}}"),
        (SERVICE, f"{SERVICE}, tcpKeepalive: {{time: 60s}}"),
        (SERVICE, f"{SERVICE}, tcpKeepalive: {{interval: 10s}}"),
    ],
)
async def test_services_of_envoys_own_are_called_as_the_mesh_says(
    tmp_path: Path, service: str, before: str, after: str
) -> None:
    one = await started(tmp_path / "with", f"defaultConfig: {{{service}: {{{before}}}}}")
    other = await started(tmp_path / "without", f"defaultConfig: {{{service}: {{{after}}}}}")
    assert _placeless(one) != _placeless(other)


async def test_a_setting_that_nobody_reads_changes_nothing(tmp_path: Path) -> None:
    one = await started(tmp_path / "with", "defaultConfig: {binaryPath: /envoy}")
    other = await started(tmp_path / "without", "")
    assert _placeless(one) == _placeless(other)


async def test_a_file_of_the_users_own_is_all_that_envoy_gets(tmp_path: Path) -> None:
    line, written = await started(tmp_path, "defaultConfig: {customConfigFile: /etc/mine.json}")
    assert line[line.index("--config-path") + 1] == "/etc/mine.json"
    assert "--config-yaml" not in line
    assert not written


async def test_an_empty_runtime_value_takes_ours_away(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        {
            "defaultConfig": {
                "runtimeValues": {
                    "re2.max_program_size.error_level": "",
                    "a": "true",
                    "b": "12",
                    "c": "words",
                    "d": "Infinity",
                }
            }
        }
    )
    _, written = await started(tmp_path, text)
    layer = written["layered_runtime"]["layers"][0]["static_layer"]
    assert layer == {"a": True, "b": 12, "c": "words", "d": "Infinity"}


async def test_an_address_that_has_no_name_leaves_statsd_out(tmp_path: Path) -> None:
    _, written = await started(tmp_path, "defaultConfig: {statsdUdpAddress: 'no.invalid:8125'}")
    assert not written["stats_sinks"]


async def test_patches_are_tried_laid_over_and_told_to_be_used(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    settings = settings_of(tmp_path, envoy_binary=envoy("exit 0"))
    made = launch_of(settings, Asked("7", PATCH))
    line = await made.prepared()
    assert line[line.index("--config-yaml") + 1] == PATCH
    assert config(tmp_path)["node"]["metadata"]["SEINE_BOOTSTRAP"] == "7"
    assert made.patched


async def test_patches_that_envoy_does_not_take_are_left_out_and_said(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    script = "echo '[critical] error initializing configuration: no such field' >&2; exit 1"
    made = launch_of(settings_of(tmp_path, envoy_binary=envoy(script)), Asked("7", PATCH))
    line = await made.prepared()
    assert "--config-yaml" not in line
    told = config(tmp_path)["node"]["metadata"]
    assert told["SEINE_BOOTSTRAP"] == ""
    assert told["SEINE_BOOTSTRAP_REFUSED"] == ("7 error initializing configuration: no such field")
    assert not made.patched


async def test_an_envoy_that_never_answers_keeps_nobody_waiting(
    tmp_path: Path, envoy: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TRY_SECONDS", 0.2)
    made = launch_of(
        settings_of(tmp_path, envoy_binary=envoy("exec sleep 1000")), Asked("7", PATCH)
    )
    assert "--config-yaml" not in await made.prepared()
    assert "within 0.2 s" in config(tmp_path)["node"]["metadata"]["SEINE_BOOTSTRAP_REFUSED"]


async def test_patches_with_which_envoy_does_not_stay_up_are_left_out(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    made = launch_of(settings_of(tmp_path, envoy_binary=envoy("exit 0")), Asked("7", PATCH))
    await made.prepared()
    assert "--config-yaml" not in made.without_patches("it fell over")
    told = config(tmp_path)["node"]["metadata"]
    assert (told["SEINE_BOOTSTRAP"], told["SEINE_BOOTSTRAP_REFUSED"]) == ("", "7 it fell over")


async def test_without_an_answer_the_patches_of_the_last_start_count(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    settings = settings_of(tmp_path, envoy_binary=envoy("exit 0"))
    assert "--config-yaml" not in await launch_of(settings, None).prepared()
    await launch_of(settings, Asked("7", PATCH)).prepared()
    assert "--config-yaml" in await launch_of(settings, None).prepared()
    await launch_of(settings, Asked()).prepared()  # nobody patches any more
    assert "--config-yaml" not in await launch_of(settings, None).prepared()


async def test_the_pods_own_piece_lies_over_the_patches(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"admin": {"profile_path": "/own"}, "stats_sinks": [{"name": "own"}]}')
    text = '{"admin": {"profile_path": "/patch"}, "stats_sinks": [{"name": "patch"}]}'
    settings = settings_of(tmp_path, envoy_binary=envoy("exit 0"), bootstrap_override=str(own))
    line = await launch_of(settings, Asked("7", text)).prepared()
    laid = json.loads(line[line.index("--config-yaml") + 1])
    assert laid["admin"]["profile_path"] == "/own"
    assert [one["name"] for one in laid["stats_sinks"]] == ["patch", "own"]


async def test_beside_a_piece_that_is_no_json_patches_are_left_out(
    tmp_path: Path, envoy: Callable[[str], str]
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("admin: {profile_path: /own}")
    settings = settings_of(tmp_path, envoy_binary=envoy("exit 0"), bootstrap_override=str(own))
    line = await launch_of(settings, Asked("7", PATCH)).prepared()
    assert line[line.index("--config-yaml") + 1] == own.read_text()
    told = config(tmp_path)["node"]["metadata"]["SEINE_BOOTSTRAP_REFUSED"]
    assert "no JSON" in told
