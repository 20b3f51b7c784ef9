"""ConfigMaps in the namespace `default` of a real API server: what followers are tested with."""

import asyncio
import random
from typing import Any

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from tests.support.kube_follow import MAPS, Seen

PATH = MAPS.paths[0]
ALL_AT_ONCE = 25


async def put(client: Client, name: str, value: str) -> None:
    await client.request(
        "PATCH",
        f"{PATH}/{name}",
        params={"fieldManager": "test", "force": "true"},
        body={
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {"value": value},
        },
        content_type="application/apply-patch+yaml",
    )


async def delete(client: Client, name: str) -> None:
    await client.request("DELETE", f"{PATH}/{name}")


async def fill(client: Client, count: int) -> None:
    for start in range(0, count, ALL_AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for number in range(start, min(start + ALL_AT_ONCE, count)):
                group.create_task(put(client, f"m{number}", "0"))


async def there(client: Client) -> dict[str, Any]:
    items = (await client.get(PATH))["items"]
    return {it["metadata"]["name"]: it.get("data") for it in items}


async def agree(seen: Seen, client: Client, seconds: float = 20) -> None:
    wanted = await there(client)
    await seen.until(lambda: seen.data == wanted, seconds)


async def change(client: Client, name: str, chance: random.Random) -> None:
    if chance.random() < 0.6:
        await put(client, name, str(chance.random()))
        return
    try:
        await delete(client, name)
    except NotFoundError:
        return
