"""A caller from before the mesh: no sidecar, plain text. It prints what became of each attempt.

The storefront still accepts plain text on its port (PeerAuthentication `storefront`), the reviews
do not (PeerAuthentication `default`): the same caller, so that the refusal is the policy's doing.
"""

import asyncio

from examples.bookshop.programs import place, visitors, web

PERIOD = 1 / float(place.setting("RATE", "2"))
ATTEMPTS = (("storefront", "/"), ("reviews", "/reviews/1"))


async def attempt() -> None:
    """Try both services for ever."""
    while True:
        for service, path in ATTEMPTS:
            async with web.session() as client:  # a new connection: policies act on those
                call = await web.call(client, "GET", service, path=path)
            visitors.report(program="legacy", visit=f"GET {path}", call=web.told(call)[0])
        await asyncio.sleep(PERIOD)


async def main() -> None:
    """Try until told to end."""
    attempting = asyncio.get_running_loop().create_task(attempt())
    await web.until_told()
    attempting.cancel()
    await asyncio.gather(attempting, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
