"""`python -m tests.support.world_said SEED COUNT`: prints a digest of what proxies get in a world.

For processes that hash texts in other orders: what they print has to be the same.
"""

import sys
from hashlib import blake2b

from tests.support.histories import CLIENTS, said
from tests.support.worlds import World, pool, shuffled


def digest(seed: int, count: int, order: int = 0) -> str:
    """Return a digest of all resources, by which sets and in which order they are sent."""
    world = World(pool(), seed)
    world.begin(count)
    found = blake2b(digest_size=16)
    for sets in said(CLIENTS, shuffled(world.resources(), order)):
        for type_url in sorted(sets):
            found.update(f"{type_url} {sets[type_url].version}\n".encode())
            for item in sets[type_url].resources.values():
                found.update(repr((item.name, item.body, item.sources)).encode())
    return found.hexdigest()


if __name__ == "__main__":
    sys.stdout.write(digest(int(sys.argv[1]), int(sys.argv[2])))
