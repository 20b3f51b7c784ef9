"""HTTP/1.1 on h11 and asyncio streams, as little of it as an agent needs; aiohttp costs 15 MB."""
