"""Poison: an object of each kind on which our rules crash, and hundreds of hostile ones.

There is no webhook, and CRDs have no schema: whatever people write gets to discovery.
"""

import copy
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from libs.api import reasons
from libs.api.registry import Kind
from libs.api.resource import Resource
from libs.kube.client import Client
from libs.kube.errors import InvalidError
from libs.translate import apply as applying
from libs.translate.rules import RULES, Rule
from libs.translate.state import Derived
from libs.translate.view import View
from tests.faults.figures import CLOCK, Figure, Length, Note, seconds_until
from tests.support import kube_accounts as kube
from tests.support.broken import Fault, _odd, read_kinds, sample
from tests.support.control_plane_apps import running_apps
from tests.support.kube_apiserver import running
from tests.support.kube_discovery import on_cluster, put, subscribed, until_ready_says
from tests.tools.crds import files as crd_files

RECIPE = "poison"
HOSTILE = 200
SERVICES = "/api/v1/namespaces/shop/services"


class BugError(Exception):
    """Nobody thought of this."""


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Write what is good, then have every rule crash on some of it and write what is hostile."""
    del length
    (folder / "api").mkdir()
    with running(folder / "api") as server:
        async with (
            running_apps(folder) as apps,
            kube.client_of(server, folder) as client,
        ):
            await kube.namespace(client, "shop")
            await kube.namespace(client, "istio-system")
            await _define(client)
            poisons = [made for kind in _kinds() if (made := _good(kind, "poison"))]
            for kind, made in poisons:
                await put(client, _folder(kind, made), made)
            await put(client, SERVICES, _service("well", "1"))
            async with on_cluster(apps, server) as bound, subscribed(apps) as mesh:
                await until_ready_says(bound, 200)
                await mesh.until(lambda: _label(mesh) == "1")
                rows = {name: set(mesh.mesh.rows(name)) for name in mesh.mesh.tables}
                applying.RULES = tuple(map(_poisoned, RULES))  # type: ignore[misc]
                try:
                    started = CLOCK.monotonic()
                    for kind, made in poisons:
                        made["metadata"]["labels"] = {"v": "2"}
                        await put(client, _folder(kind, made), made)
                    stored = await _hostile(client)
                    written = CLOCK.monotonic()
                    await put(client, SERVICES, _service("well", "2"))
                    await mesh.until(lambda: _label(mesh) == "2", 60)
                    heard = CLOCK.monotonic() - written
                    await mesh.until(lambda: reasons.INTERNAL_ERROR in mesh.reasons, 60)
                    status = await seconds_until(lambda: _has_condition(client), 60)
                finally:
                    applying.RULES = RULES  # type: ignore[misc]
                lost = sum(len(keys - set(mesh.mesh.rows(name))) for name, keys in rows.items())
    value = (
        f"{len(poisons)} kinds crash, {stored} hostile objects in {written - started:.1f} s: "
        f"a good object changed meanwhile is heard of after {heard:.2f} s, rows lost {lost}, "
        f"condition on the poisoned VirtualService after {status:.1f} s more"
    )
    note(Figure(RECIPE, "rules that crash, and hostile objects", value, lost == 0))


def _kinds() -> list[Kind]:
    return [kind for kind in read_kinds() if kind.group.endswith("istio.io")]


async def _define(client: Client) -> None:
    """Install the CRDs without what they say of their objects."""
    loose = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    for path, text in crd_files().items():
        if "istio.io" not in path:
            continue
        definition = yaml.safe_load(text)
        for version in definition["spec"]["versions"]:
            version["schema"] = loose
        await kube.define(client, definition)


def _good(kind: Kind, name: str) -> tuple[Kind, dict[str, Any]] | None:
    found = sample(kind, Fault.DECODE)
    if found is None:
        return None
    made = copy.deepcopy(found[0])
    made["metadata"] = {"name": name, "namespace": "shop"}
    made.pop("status", None)
    return kind, made


def _folder(kind: Kind, made: dict[str, Any]) -> str:
    return f"/apis/{made['apiVersion']}/namespaces/shop/{kind.plural}"


def _service(name: str, label: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"v": label}}
    spec = {"ports": [{"name": "http", "port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _label(mesh: Any) -> str:  # noqa: ANN401  # a subscriber
    found = mesh.mesh.services.get("shop/well.shop.svc.cluster.local")
    return found.labels.get("v", "") if found else ""


async def _hostile(client: Client) -> int:
    """Write objects in which something is odd; return how many the API server took."""
    stored = 0
    for number, (kind, made) in enumerate(itertools.islice(_bad(), 4 * HOSTILE)):
        made["metadata"] = {"name": f"hostile-{number}", "namespace": "shop"}
        try:
            await put(client, _folder(kind, made), made)
        except InvalidError:
            continue
        stored += 1
        if stored == HOSTILE:
            break
    return stored


def _bad() -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Take turns between kinds."""
    each = [
        zip(itertools.repeat(kind), _odd(found[1]), strict=False)
        for kind in _kinds()
        if (found := _good(kind, "hostile"))
    ]
    for row in itertools.zip_longest(*each):
        yield from (one for one in row if one is not None)


def _poisoned(rule: Rule) -> Rule:
    def derive(view: View, resource: Resource) -> Derived:
        if resource.metadata.name == "poison":
            raise BugError("unforeseen")
        found: Derived = rule.derive(view, resource)
        return found

    return rule._replace(derive=derive)


async def _has_condition(client: Client) -> bool:
    path = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/poison"
    found = await client.get(path)
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(reasons.INTERNAL_ERROR in str(it) for it in conditions)
