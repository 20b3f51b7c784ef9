"""The client of libs/kube against a real API server: answers, errors, credentials that change."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from libs.kube import access
from libs.kube.client import Client
from libs.kube.errors import (
    AccessError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki import root

MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


def _access(server: ApiServer, folder: Path, token: str = "") -> access.Access:
    return access.load(str(write_kubeconfig(server, folder / "kubeconfig", token=token)))


def _config_map(name: str, **data: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": data,
    }


async def test_objects_are_created_read_patched_and_deleted(
    server: ApiServer, tmp_path: Path
) -> None:
    async with Client(_access(server, tmp_path)) as client:
        made = await client.request("POST", MAPS, body=_config_map("a", one="1"))
        assert made["data"] == {"one": "1"}
        patch = {"data": {"two": "2"}}
        kind = "application/merge-patch+json"
        await client.request("PATCH", f"{MAPS}/a", body=patch, content_type=kind)
        applied = await client.request(
            "PATCH",
            f"{MAPS}/a",
            params={"fieldManager": "test", "force": "true"},
            body=_config_map("a", three="3"),
            content_type="application/apply-patch+yaml",
        )
        assert applied["data"] == {"one": "1", "two": "2", "three": "3"}
        found = await client.get(MAPS, {"limit": 1, "fieldSelector": "metadata.name=a"})
        assert [it["metadata"]["name"] for it in found["items"]] == ["a"]
        raw = await client.read(f"{MAPS}/a")
        assert json.loads(raw)["data"] == applied["data"]
        await client.request("DELETE", f"{MAPS}/a")
        with pytest.raises(NotFoundError, match='configmaps "a" not found'):
            await client.get(f"{MAPS}/a")


async def test_text_is_text(server: ApiServer, tmp_path: Path) -> None:
    async with Client(_access(server, tmp_path)) as client:
        assert await client.get("/readyz") == "ok"


async def test_refusals_say_what_they_are(server: ApiServer, tmp_path: Path) -> None:
    async with Client(_access(server, tmp_path)) as client:
        await client.request("POST", MAPS, body=_config_map("twice"))
        with pytest.raises(ConflictError) as conflict:
            await client.request("POST", MAPS, body=_config_map("twice"))
        assert conflict.value.reason == "AlreadyExists"
        with pytest.raises(InvalidError, match=r"metadata\.name"):
            await client.request("POST", MAPS, body=_config_map("Not A Name"))
        with pytest.raises(NotFoundError):
            await client.get("/apis/none.example/v1/things")


async def test_who_may_not_is_told_what(server: ApiServer, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    assert server.create(path, account)[0] == 201
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = server.create(f"{path}/nobody/token", request)[1]["status"]["token"]
    async with Client(_access(server, tmp_path, token)) as client:
        with pytest.raises(ForbiddenError, match='cannot list resource "configmaps"'):
            await client.get(MAPS)


async def test_a_credential_that_was_replaced_is_read_again(
    server: ApiServer, tmp_path: Path
) -> None:
    async with Client(_access(server, tmp_path, "stale")) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(MAPS)
        write_kubeconfig(server, tmp_path / "kubeconfig")
        assert (await client.get(MAPS))["kind"] == "ConfigMapList"


async def test_an_authority_that_was_replaced_is_read_again(
    server: ApiServer, tmp_path: Path
) -> None:
    config = write_kubeconfig(server, tmp_path / "kubeconfig")
    content = yaml.safe_load(config.read_text())
    authority = tmp_path / "ca.crt"
    authority.write_bytes(root().root_pem)
    content["clusters"][0]["cluster"]["certificate-authority"] = str(authority)
    config.write_text(yaml.safe_dump(content))
    async with Client(access.load(str(config))) as client:
        with pytest.raises(UnreachableError):
            await client.get(MAPS)
        authority.write_bytes(server.authority.read_bytes())
        assert (await client.get(MAPS))["kind"] == "ConfigMapList"


async def test_a_pods_service_account_is_enough(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
    (tmp_path / "ca.crt").write_bytes(server.authority.read_bytes())
    (tmp_path / "token").write_text("stale\n")
    async with Client(access.InCluster(tmp_path)) as client:
        with pytest.raises(UnauthorizedError):
            await client.get(MAPS)
        (tmp_path / "token").write_text(server.token + "\n")
        assert (await client.get(MAPS))["kind"] == "ConfigMapList"


async def test_nobody_at_the_address_is_unreachable(server: ApiServer, tmp_path: Path) -> None:
    gone = ApiServer(1, server.token, server.authority)
    async with Client(_access(gone, tmp_path)) as client:
        with pytest.raises(UnreachableError):
            await client.get(MAPS)


async def test_without_a_kubeconfig_and_a_pod_that_is_said(tmp_path: Path) -> None:
    for found in (access.InCluster(tmp_path), access.load(str(tmp_path / "none"))):
        with pytest.raises(AccessError):
            async with Client(found):
                pass
