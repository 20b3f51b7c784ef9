"""A caller that asks `URL` `RATE` times a second, and never twice for one answer.

Each second it prints how many calls it made of which kind, as JSON: `{"ok": 12, "failed": 0}`; and
each call that failed: `{"at": …, "call": "POST /", "outcome": …}`. One in three calls is a POST,
one in twenty takes two seconds.
"""

import asyncio
import itertools
import json
import sys
import time
from collections import Counter

from aiohttp import ClientError, ClientSession, ClientTimeout


def say(**fields: object) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


class Caller:
    """Calls, and counts."""

    def __init__(self, client: ClientSession, url: str) -> None:
        self._client = client
        self._url = url
        self._seen = Counter(ok=0, failed=0)
        self._began = time.monotonic()

    async def call(self, number: int) -> None:
        """Make one call."""
        method = "POST" if number % 3 == 0 else "GET"
        path = "/?seconds=2" if number % 20 == 0 else "/"
        began, outcome = time.monotonic(), ""
        try:
            async with self._client.request(method, self._url + path) as answer:
                text = await answer.text()
                if answer.status != 200:
                    outcome = f"{answer.status} {text[:200]}"
        except (ClientError, OSError, TimeoutError) as error:
            outcome = f"{type(error).__name__}: {error}"
        self._seen["failed" if outcome else "ok"] += 1
        if outcome:
            say(at=round(began - self._began, 3), call=f"{method} {path}", outcome=outcome)

    async def tell(self) -> None:
        """Print the counts, for ever."""
        while True:
            await asyncio.sleep(1)
            say(**self._seen)


async def main(url: str, rate: float) -> None:
    """Call for ever."""
    timeout = ClientTimeout(total=60)
    async with ClientSession(timeout=timeout) as client, asyncio.TaskGroup() as group:
        caller = Caller(client, url)
        group.create_task(caller.tell())
        for number in itertools.count():
            group.create_task(caller.call(number))
            await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
