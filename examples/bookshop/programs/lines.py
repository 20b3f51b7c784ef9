"""The inventory's protocol: one line of text asks, one line answers, then the connection ends.

STOCK 7         ->  OK 12 inventory-v1
TAKE 7 2        ->  OK 10 inventory-v1
PUT 7 2         ->  OK 12 inventory-v1      (only on port 7001)
"""

import asyncio

from examples.bookshop.programs import place

SERVICE = "inventory"
STOCK_PORT = 7000
RESTOCK_PORT = 7001


async def ask(port: int, request: str) -> tuple[place.Trail, int]:
    """Return what became of one request, and the stock that the inventory answered with."""
    try:
        async with asyncio.timeout(10):
            answer = await _exchange(port, request)
        status, number, instance = answer.split()
        result, stock = ("ok" if status == "OK" else answer), int(number)
        trail = {"instance": instance, "version": "v1", "caller": "", "calls": []}
    except (OSError, TimeoutError, ValueError) as error:
        result, stock, trail = str(error) or type(error).__name__, 0, {}
    return place.outcome((SERVICE, port, "TCP"), request="", result=result, answer=trail), stock


async def _exchange(port: int, request: str) -> str:
    reader, writer = await asyncio.open_connection(place.host(SERVICE), port)
    try:
        writer.write(f"{request}\n".encode())
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        message = "closed before an answer"
        raise ConnectionError(message)
    return line.decode().strip()
