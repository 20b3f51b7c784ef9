"""Tags of revisions, made as people make them, with a webhook that may do what its roles say."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from typer.testing import CliRunner, Result

from libs.inject import tags
from libs.kube.client import Client
from libs.kube.errors import KubeError, NotFoundError
from services.ctl.app import app
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import running
from tests.support.kube_ca import SYSTEM
from tests.support.kube_discovery import define
from tests.support.kube_webhook import CONFIGURATIONS, RunningWebhook, running_webhook
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pods import pod
from tests.tools import rbac

ROOT = Path(__file__).parents[2]
TAG = f"{CONFIGURATIONS}/istio-revision-tag-prod"
ROLES = "/apis/rbac.authorization.k8s.io/v1"
FOLDERS = {
    "ClusterRole": f"{ROLES}/clusterroles",
    "ClusterRoleBinding": f"{ROLES}/clusterrolebindings",
    "Role": f"{ROLES}/namespaces/{SYSTEM}/roles",
    "RoleBinding": f"{ROLES}/namespaces/{SYSTEM}/rolebindings",
}
JSON_PATCH = "application/json-patch+json"


class World:
    """A cluster with a webhook, and the command line of its administrator."""

    def __init__(self, admin: Client, webhook: RunningWebhook, kubeconfig: Path) -> None:
        self.admin = admin
        self.webhook = webhook
        self._kubeconfig = str(kubeconfig)

    async def tag(self, *words: str) -> Result:
        command = ["tag", *words, "--kubeconfig", self._kubeconfig]
        return await asyncio.to_thread(CliRunner().invoke, app, command)

    async def bundles(self, path: str = TAG) -> set[str]:
        found = await self.admin.get(path)
        return {str(it["clientConfig"].get("caBundle", "")) for it in found["webhooks"]}

    async def spoil(self, path: str = TAG) -> None:
        """Write nonsense into the first bundle of a configuration."""
        nonsense = base64.b64encode(b"nonsense").decode()
        at = "/webhooks/0/clientConfig/caBundle"
        patch = [{"op": "replace", "path": at, "value": nonsense}]
        await self.admin.request("PATCH", path, body=patch, content_type=JSON_PATCH)


@asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[World]:
    (folder / "api").mkdir()
    with running(folder / "api") as server:
        async with kube.client_of(server, folder) as admin:
            await kube.account(admin, SYSTEM, "seine-webhook")
            for document in yaml.safe_load_all((ROOT / rbac.FILE).read_text()):
                await kube.ensure(admin, FOLDERS[document["kind"]], document)
            await define(admin, "proxyconfigs", "gateways")
            token = await kube.token(admin, SYSTEM, "seine-webhook", audiences=())
            own = write_kubeconfig(server, folder / "own", token=token)
            administrator = write_kubeconfig(server, folder / "administrator")
            async with running_webhook(server, folder, admin, kubeconfig=str(own)) as webhook:
                yield World(admin, webhook, administrator)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await holds():  # noqa: ASYNC110  # an API server is asked, nobody could tell
            await asyncio.sleep(0.1)


async def _injected(world: World, namespace: str) -> bool:
    try:
        made = await world.webhook.create(namespace, pod(), dry_run=True)
    except KubeError:
        return False  # an API server that has the configuration, but not the bundle yet
    return "sidecar.istio.io/status" in (made["metadata"].get("annotations") or {})


async def test_a_tag_injects_is_mended_and_goes(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        good = await world.webhook.bundle()
        done = await world.tag("set", "prod", "--revision", "default")
        assert done.exit_code == 0, done.output
        assert await world.bundles() == {good}
        await world.webhook.label("shop", {"istio.io/rev": "prod"})
        await _until(lambda: _injected(world, "shop"))

        await world.spoil()  # with no role but the one that the tag has brought
        await _until(lambda: _is(world.bundles(), {good}))

        listed = await world.tag("list", "-o", "json")
        row = {"tag": "prod", "revision": "default", "namespaces": ["shop"], "fault": ""}
        assert json.loads(listed.stdout) == [row]
        refused = await world.tag("remove", "prod")
        assert refused.exit_code != 0
        assert "shop would get no proxies" in refused.output
        assert (await world.tag("remove", "prod", "--yes")).exit_code == 0
        name = tags.role_name("prod", SYSTEM)
        for path in (TAG, f"{FOLDERS['ClusterRole']}/{name}"):
            with pytest.raises(NotFoundError):
                await world.admin.get(path)


async def test_what_cannot_be_a_tag(tmp_path: Path) -> None:
    async with _world(tmp_path) as world:
        for words, text in (
            (["prod", "--revision", "nobody"], "there is no revision nobody"),
            (["default", "--revision", "default"], "there is a revision of the name default"),
            (["Prod", "--revision", "default"], "is no name of a tag"),
        ):
            done = await world.tag("set", *words)
            assert done.exit_code != 0
            assert text in done.output
        assert (await world.tag("set", "prod", "--revision", "default")).exit_code == 0
        again = await world.tag("set", "prod", "--revision", "default")
        assert "there is a tag prod" in again.output
        over = await world.tag("set", "prod", "--revision", "default", "--overwrite")
        assert over.exit_code == 0, over.output
        assert (await world.tag("remove", "gone")).exit_code != 0


async def test_one_without_its_role_is_left_and_said_until_the_role_comes(tmp_path: Path) -> None:
    """The control: what mends a tag is the role that comes with it, and nothing wider."""
    async with _world(tmp_path) as world:
        good = await world.webhook.bundle()
        generated = await world.tag("generate", "prod", "--revision", "default")
        assert generated.exit_code == 0, generated.output
        role, binding, made = yaml.safe_load_all(generated.stdout)
        await world.admin.request("POST", CONFIGURATIONS, body=made)
        await world.spoil()
        await _until(lambda: _forbidden(1))
        assert await world.bundles() != {good}
        for one in (role, binding):
            await world.admin.request("POST", FOLDERS[one["kind"]], body=one)
        await _until(lambda: _is(world.bundles(), {good}))
        await _until(lambda: _forbidden(0))


async def _is(found: Awaitable[Any], wanted: object) -> bool:
    return bool(await found == wanted)


async def _forbidden(wanted: int) -> bool:
    return REGISTRY.get_sample_value("seine_webhook_forbidden_configurations") == wanted
