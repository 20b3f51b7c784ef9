"""A machine's files, and what the agent is told by them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from services.agent.machine import command, environment
from services.agent.machine.environment import BroughtError, Host, Places, in_folder

ROOT = Path(__file__).parents[5]
VARIABLES = """\
ISTIO_INBOUND_PORTS='8080'
ISTIO_METAJSON_LABELS='{"app":"db"}'
ISTIO_META_DNS_CAPTURE='true'
ISTIO_META_NETWORK=''
ISTIO_NAMESPACE='shop'
QUOTED='it'"'"'s'
SERVICE_ACCOUNT='vm'
TRUST_DOMAIN=''
"""
MESH = """\
defaultConfig:
  discoveryAddress: 127.0.0.1:15012
  proxyMetadata:
    POD_NAMESPACE: shop
  readinessProbe:
    httpGet:
      port: 8080
"""


@pytest.fixture(name="places")
def brought(tmp_path: Path) -> Places:
    (tmp_path / "cluster.env").write_text(VARIABLES)
    (tmp_path / "mesh.yaml").write_text(MESH)
    (tmp_path / "istio-token").write_text("token")
    (tmp_path / "root-cert.pem").write_text("roots")
    return in_folder(tmp_path)


def told(places: Places) -> dict[str, str]:
    return environment.environment(
        places,
        environment.variables(places.variables),
        environment.proxy_config(places.mesh),
        host=Host("vm-7", "10.0.0.7"),
    )


def test_the_files_make_the_variables_that_a_pod_would_have(places: Places) -> None:
    found = told(places)
    assert (found["POD_NAME"], found["POD_NAMESPACE"]) == ("vm-7", "shop")
    assert (found["INSTANCE_IP"], found["SERVICE_ACCOUNT"]) == ("10.0.0.7", "vm")
    assert json.loads(found["PROXY_CONFIG"])["readinessProbe"] == {"httpGet": {"port": 8080}}
    assert json.loads(found["ISTIO_METAJSON_LABELS"]) == {"app": "db"}
    assert found["QUOTED"] == "it's"
    assert found["SEINE_TOKEN_FILE"] == str(places.token)
    assert found["PROV_CERT"] == found["OUTPUT_CERTS"]
    assert not {"TRUST_DOMAIN", "ISTIO_META_NETWORK"} & found.keys()  # said empty is not said


def test_an_address_that_was_given_is_the_machines(places: Places) -> None:
    places.variables.write_text(f"{VARIABLES}ISTIO_SVC_IP='192.0.2.7'\n")
    assert told(places)["INSTANCE_IP"] == "192.0.2.7"


@pytest.mark.parametrize(
    "text", ["NAME", "rm -rf /", "A='1", "1A=x", "A=1 && B", pytest.param("x" * 300_000, id="long")]
)
def test_what_is_no_variable_is_refused(places: Places, text: str) -> None:
    places.variables.write_text(text)
    with pytest.raises(BroughtError, match=r"cluster\.env"):
        environment.variables(places.variables)


@pytest.mark.parametrize("text", ["", "[]", "defaultConfig: x", "{", "[" * 5000])
def test_settings_that_are_none_are_refused(places: Places, text: str) -> None:
    places.mesh.write_text(text)
    with pytest.raises(BroughtError, match=r"mesh\.yaml"):
        environment.proxy_config(places.mesh)


def test_roots_that_are_brought_later_replace_those_that_were_kept(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    kept = places.kept / "root-cert.pem"
    command.bring_roots(places)
    assert kept.read_text() == "roots"
    kept.write_text("renewed")
    os.utime(places.roots, (1, 1))
    command.bring_roots(places)
    assert kept.read_text() == "renewed"
    places.roots.write_text("brought again")
    os.utime(places.roots, (4e9, 4e9))
    command.bring_roots(places)
    assert kept.read_text() == "brought again"


def test_roots_that_were_copied_where_they_are_kept_stay(places: Places, tmp_path: Path) -> None:
    """As Istio's documents have it: everything is in `/etc/certs`."""
    together = structs.replace(places, kept=tmp_path)
    command.bring_roots(together)
    assert together.roots.read_text() == "roots"
    together.roots.unlink()
    with pytest.raises(BroughtError, match=r"root-cert\.pem"):
        command.bring_roots(together)


def test_the_process_becomes_the_command(places: Places, tmp_path: Path) -> None:
    """As a user sees it: the settings, and the rules, that follow from the files."""
    work = tmp_path / "work"
    work.mkdir()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "services.agent", "machine", *words]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}  # noqa: TID251  # a child's
        return subprocess.run(
            line, check=False, capture_output=True, text=True, env=environ, cwd=work, timeout=60
        )

    folder = ("--folder", str(tmp_path))
    settings = json.loads(run("proxy", *folder, "--print-settings").stdout)
    assert settings["INSTANCE_IP"] == "127.0.0.1"  # with which it speaks to the control plane
    assert settings["POD_NAMESPACE"] == "shop"
    assert (work / "certs/root-cert.pem").read_text() == "roots"
    rules = run("init", *folder, "--dry-run").stdout
    assert "-p tcp --dport 8080 -j ISTIO_IN_REDIRECT" in rules
    assert "-j REDIRECT --to-ports 15053" in rules
    missing = run("proxy", "--folder", "/nowhere")
    assert (missing.returncode, "/nowhere/cluster.env" in missing.stderr) == (2, True)
