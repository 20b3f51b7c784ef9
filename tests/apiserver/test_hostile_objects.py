"""Objects that are meant to hurt, stored in a real API server that asks no webhook about them.

Admission is a courtesy: an API server may have been told to ask nobody, or have asked while nobody
answered. So discovery has to stand whatever is stored: it goes on, follows honest changes, and says
what is wrong. How long its event loop stood still at worst is printed.
"""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.api import registry
from libs.kube.client import Client
from libs.kube.errors import InvalidError
from libs.runtime.tasks import background
from libs.runtime.watchdog import Watchdog
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import SYSTEM, running_apps
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import apply, define, on_cluster, put, readiness, subscribed

NESTED = "[" * 120_000
ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
BACKTRACKS = "(a+)+$"
PROGRAM = "((a{100}){100}){100}"
WIDE = "|".join(f"x{n}" for n in range(20_000))
HONEST = """
apiVersion: v1
kind: Service
metadata: {{name: honest-{number}, namespace: shop}}
spec: {{ports: [{{name: http, port: 80}}]}}
"""


def _object(api: str, kind: str, name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    metadata = {"name": name, "namespace": "shop", **fields.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **fields}


def _annotated_pod(name: str, annotation: str, text: str) -> dict[str, Any]:
    spec = {"serviceAccountName": "default", "containers": [{"name": "app", "image": "app"}]}
    return _object("v1", "Pod", name, spec=spec, metadata={"annotations": {annotation: text}})


def _mesh(text: str) -> dict[str, Any]:
    made = _object("v1", "ConfigMap", "istio", data={"mesh": text})
    made["metadata"]["namespace"] = SYSTEM
    return made


def _routes(name: str, regex: str) -> dict[str, Any]:
    rule = {"match": [{"uri": {"regex": regex}}], "route": [{"destination": {"host": "web"}}]}
    spec = {"hosts": ["web.example"], "http": [rule]}
    return _object("networking.istio.io/v1", "VirtualService", name, spec=spec)


def _patch(name: str, match: dict[str, Any], value: object) -> dict[str, Any]:
    patch = {"operation": "MERGE", "value": value}
    spec = {"configPatches": [{"applyTo": "CLUSTER", "match": match, "patch": patch}]}
    return _object("networking.istio.io/v1alpha3", "EnvoyFilter", name, spec=spec)


def _deep(depth: int) -> Any:  # noqa: ANN401
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


def _condition(name: str, text: str) -> dict[str, Any]:
    spec = {"accessLogging": [{"filter": {"expression": text}}]}
    return _object("telemetry.istio.io/v1", "Telemetry", name, spec=spec)


HOSTILE = [
    _annotated_pod("nested", "proxy.istio.io/config", NESTED),
    _annotated_pod("aliases", "proxy.istio.io/config", ALIASES),
    _annotated_pod("json", "sidecar.istio.io/userVolume", NESTED),
    _mesh(NESTED),
    _mesh(ALIASES),
    _mesh("extensionProviders: " + NESTED),
    _routes("backtracks", BACKTRACKS),
    _routes("program", PROGRAM),
    _routes("wide", WIDE),
    _patch("version", {"proxy": {"proxyVersion": WIDE}}, {}),
    _patch("backtracking-version", {"proxy": {"proxyVersion": BACKTRACKS}}, {}),
    _patch("deep", {}, _deep(900)),
    _condition("parentheses", "(" * 30_000 + "true"),
    _condition("brackets", "[" * 30_000),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
async def admin(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        for name in ("shop", SYSTEM):
            await kube.namespace(client, name)
        await kube.account(client, "shop", "default")
        await define(client)
        yield client


def _path(body: dict[str, Any]) -> str:
    metadata, version = body["metadata"], body["apiVersion"]
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    plural = registry.BY_NAME[registry.split(version)[0], body["kind"]].plural
    return f"{root}/namespaces/{metadata['namespace']}/{plural}"


async def test_discovery_stands_whatever_is_stored(
    server: ApiServer, admin: Client, tmp_path: Path
) -> None:
    stored, watchdog = 0, Watchdog()
    async with (
        running_apps(tmp_path) as apps,
        on_cluster(apps, server) as bound,
        subscribed(apps) as mesh,
        background(watchdog.run()),
    ):
        for number, body in enumerate(HOSTILE):
            try:
                await put(admin, _path(body), body)
            except InvalidError:
                continue  # the schema of the kind itself keeps it out
            stored += 1
            await apply(admin, HONEST.format(number=number))
            key = f"shop/honest-{number}.shop.svc.cluster.local"
            await mesh.until(lambda: key in mesh.mesh.services, seconds=120)  # noqa: B023
        assert (await readiness(bound))[0] == 200
        assert {"InvalidRegex", "TooDeep"} <= mesh.reasons
    assert stored >= 8
    sys.stdout.write(f"{stored} stored, the loop stood still for {watchdog.worst * 1e3:.0f} ms\n")


async def test_discovery_starts_on_them(server: ApiServer, admin: Client, tmp_path: Path) -> None:
    """Restarting must not be what they can prevent either."""
    for body in HOSTILE:
        try:
            await put(admin, _path(body), body)
        except InvalidError:
            continue
    await apply(admin, HONEST.format(number="start"))
    async with running_apps(tmp_path) as apps, on_cluster(apps, server), subscribed(apps) as mesh:
        key = "shop/honest-start.shop.svc.cluster.local"
        await mesh.until(lambda: key in mesh.mesh.services, seconds=120)


def test_the_negative_control_an_ordinary_parser_dies_of_it() -> None:
    program = f"import yaml; yaml.load({'['!r} * {len(NESTED)}, Loader=yaml.CSafeLoader)"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert done.returncode != 0
    assert b"yaml.parser" not in done.stderr  # it did not refuse, it was killed
