"""Each row of deploy/rbac.toml alone gives what it says: without it just that is gone.

That all of it is used, and nothing else, is what `test_rbac` shows; here an API server is asked
what an account may, with every row taken out of the generated roles in its turn.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from libs.kube.access_review import PATH as REVIEWS
from libs.kube.client import Client
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SYSTEM, until
from tests.tools import rbac
from tests.tools.rbac import Grant

API = "/apis/rbac.authorization.k8s.io/v1"
AT_ONCE = 8


class Right(Struct, frozen=True, order=True):
    """One thing that an account may do."""

    service: str
    place: str  # a namespace; empty: all of them
    group: str
    resource: str
    verb: str
    name: str


def rights(row: Grant) -> set[Right]:
    place = "" if row.place == rbac.CLUSTER else row.place
    return {
        Right(row.service, place, group, resource, verb, name)
        for group, resource in row.pairs
        for verb in row.verbs
        for name in row.names or ("",)
    }


def rights_of(table: list[Grant], service: str) -> set[Right]:
    found = [rights(row) for row in table if row.service == service]
    return set().union(*found)


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="admin")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await kube.namespace(client, SYSTEM)
        yield client


def path_of(document: Mapping[str, Any]) -> str:
    space = document["metadata"].get("namespace")
    folder = f"{document['kind'].lower()}s"
    return f"{API}/namespaces/{space}/{folder}" if space else f"{API}/{folder}"


async def put(admin: Client, documents: list[Mapping[str, Any]]) -> None:
    for document in documents:
        path = path_of(document)
        found = await kube.ensure(admin, path, dict(document))
        if found.get("rules") != document.get("rules"):
            body = {**document, "rules": document["rules"]}
            await admin.request("PUT", f"{path}/{document['metadata']['name']}", body=body)


async def may(admin: Client, right: Right) -> bool:
    resource, _, sub = right.resource.partition("/")
    asked = {
        "namespace": right.place,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": sub,
        "name": right.name,
    }
    user = f"system:serviceaccount:{SYSTEM}:{right.service}"
    spec = {"user": user, "resourceAttributes": asked}
    answer = await admin.request("POST", REVIEWS, body={"spec": spec})
    return answer["status"].get("allowed") is True


async def denied(admin: Client, wanted: set[Right]) -> set[Right]:
    room = asyncio.Semaphore(AT_ONCE)

    async def ask(right: Right) -> tuple[Right, bool]:
        async with room:
            return right, await may(admin, right)

    answers = await asyncio.gather(*(ask(right) for right in sorted(wanted)))
    return {right for right, allowed in answers if not allowed}


def without(table: list[Grant], row: Grant) -> list[Mapping[str, Any]]:
    """Return the roles and bindings of the row's place, without what it grants."""
    kept = [one for one in table if (one.service, one.place) == (row.service, row.place)]
    documents = rbac.documents([one for one in kept if one != row])
    if documents:
        return documents
    return [{**one, "rules": []} for one in rbac.documents(kept) if "rules" in one]


@pytest.mark.timeout(400)
async def test_without_a_row_just_what_it_gives_is_gone(admin: Client) -> None:
    table = rbac.grants()
    everything = {row.service: rights_of(table, row.service) for row in table}
    await put(admin, rbac.documents(table))
    for wanted in everything.values():
        await until(lambda wanted=wanted: _is_none(admin, wanted))  # type: ignore[misc]
    for row in table:
        lost = rights(row)
        await put(admin, without(table, row))
        await until(lambda lost=lost: _is_all(admin, lost))  # type: ignore[misc]
        assert await denied(admin, everything[row.service]) == lost, row.why
        await put(admin, rbac.documents(table))
        await until(lambda lost=lost: _is_none(admin, lost))  # type: ignore[misc]
    asked = sum(map(len, everything.values()))
    sys.stdout.write(f"rbac: {len(table)} rows, {asked} rights, each of one row alone\n")


async def _is_none(admin: Client, wanted: set[Right]) -> bool:
    """Whether all is allowed: authorizers hear of roles by a watch."""
    return not await denied(admin, wanted)


async def _is_all(admin: Client, wanted: set[Right]) -> bool:
    return await denied(admin, wanted) == wanted


def test_no_two_rows_give_the_same() -> None:
    table = rbac.grants()
    for position, row in enumerate(table):
        others = table[:position] + table[position + 1 :]
        assert not rights(row) & rights_of(others, row.service), row.why
